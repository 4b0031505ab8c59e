# The demo: synthetic downloads of COCO (to train on) and of the five benchmark sets, and what is done with them.
# Run it with `hmtools demo`; everything here is an embedded default, so it needs no download and no licence.
_render = dict(seed=7, render=True)
worlds = [
    dict(
        dataset="mscoco",
        synth=dict(frames=60, people=2, size=(640, 480), splits=("train2017",), **_render),
        view=dict(people=24),
    ),
    dict(
        dataset="ehf",
        synth=dict(frames=4, people=1, size=(1600, 1200), splits=("test",), **_render),
        view=dict(people=4),
        testset="EHF",
    ),
    dict(dataset="agora", synth=dict(frames=4, people=2, splits=("validation",), **_render), testset="AGORA"),
    dict(dataset="pw3d", synth=dict(frames=32, people=2, splits=("test",), **_render), testset="3DPW"),
    dict(
        dataset="egobody_egocentric",
        synth=dict(frames=4, people=1, splits=("test",), **_render),
        testset="EgoBody",
    ),
    dict(
        dataset="ubody",  # its benchmark looks at every hundredth annotation
        synth=dict(frames=100, people=1, size=(320, 240), splits=("intra_test",), **_render),
        every=100,
        testset="UBody",
    ),
]
training = dict(recipe="smplerx/tiny/demo")
video = dict(dataset="pw3d", split="test", folder="imageFiles/courtyard_talking_02", fps=12)
# Seconds of each stage on two cores with nothing else to do; results: predictions, benchmarks, page and video.
budgets = {"stand-in body": 40, "downloads": 40, "shards": 20, "training": 60, "results": 60}
