# 2000 synthetic crops (`hmtools synth mscoco --frames 2100 --people 1 --size 320x240 --render`), some minutes on two
# cores. Every 16th person is kept for validation: COCO's own validation set has no fits to be measured against.
#
# Boxes have no weight, hence hands find none of their joints in them: a small encoder that has both to learn
# learns where the body's joints are too late.
_base_ = "../_base_/tiny.py"
title = "tiny network on 2000 synthetic people"
data = dict(strategy="concat", sets=dict(mscoco=dict(split="train2017", query="not every=16")))
loss = dict(bbox=0.0, joint_img=10.0, smplx_joint_img=10.0)
batch = dict(global_batch=16, micro_batch=8)
optim = dict(ema=0.99)
run = dict(epochs=10, precision="fp32", checkpoint_every=500, log_every=50)
validate = dict(every=600, sets=[dict(dataset="mscoco", split="train2017", every=16)])
