# The synthetic world of `hmtools demo`, for less than a minute.
_base_ = "../_base_/tiny.py"
title = "tiny network on the synthetic world of the demo"
data = dict(strategy="concat", sets=dict(mscoco=dict(split="train2017")))
run = dict(epochs=20, max_steps=120, precision="fp32", checkpoint_every=60, log_every=20)
validate = dict(every=120, sets=[dict(dataset="ehf", split="test")])
