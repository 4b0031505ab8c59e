# The demo: a small synthetic world in MS COCO's official layout, converted, validated and shown.
# Run it with `hmtools demo`; everything here is an embedded default, so it needs no download and no licence.
dataset = "mscoco"
synth = dict(frames=48, people=3, seed=7, size=(640, 480), splits=("train2017", "val2017"))
view = dict(people=24)
