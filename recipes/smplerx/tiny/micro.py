# 2000 synthetic crops (`hmtools synth mscoco --render`), minutes on two cores. Validated on synthetic EHF: COCO's
# own validation set has no fits to be measured against.
_base_ = "../_base_/tiny.py"
title = "tiny network on 2000 synthetic people"
data = dict(strategy="concat", sets=dict(mscoco=dict(split="train2017")))
run = dict(epochs=6, precision="fp32", checkpoint_every=250, log_every=25)
validate = dict(every=500, sets=[dict(dataset="ehf", split="test")])
