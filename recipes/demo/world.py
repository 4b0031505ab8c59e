# The demo: a small synthetic world in the official layouts of MS COCO and EHF, converted, validated and shown.
# Run it with `hmtools demo`; everything here is an embedded default, so it needs no download and no licence.
worlds = [
    dict(
        dataset="mscoco",
        synth=dict(frames=24, people=2, seed=7, size=(640, 480), splits=("train2017", "val2017"), render=True),
        view=dict(people=24),
    ),
    dict(
        dataset="ehf",
        synth=dict(frames=6, people=1, seed=7, size=(1600, 1200), splits=("test",), render=True),
        view=dict(people=6),
    ),
]
