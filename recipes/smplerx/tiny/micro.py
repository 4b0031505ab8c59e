# 2000 synthetic crops (`hmtools synth mscoco`), minutes on two cores: enough to beat the mean pose.
_base_ = "../_base_/tiny.py"
title = "tiny network on 2000 synthetic people"
data = dict(strategy="concat", sets=dict(mscoco=dict(split="train2017")))
run = dict(epochs=10, precision="fp32", checkpoint_every=100, log_every=10)
validate = dict(every=250, sets=[dict(dataset="mscoco", split="val2017")])
