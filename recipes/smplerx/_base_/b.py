# The run of H on 32 sets had 16 GPUs; for the others that number is assumed.
_base_ = "training.py"
model = dict(size="b", init="vitpose-b")
batch = dict(global_batch=512, micro_batch=32, assumed=True)
