# The synthetic world of `hmtools demo`, for about a minute.
_base_ = "../_base_/tiny.py"
title = "tiny network on the synthetic world of the demo"
data = dict(strategy="concat", sets=dict(mscoco=dict(split="train2017")))
run = dict(epochs=20, precision="fp32", checkpoint_every=20, log_every=5)
validate = dict(every=20, sets=[dict(dataset="ehf", split="test")])
