# The run of H on 32 sets had 16 GPUs; for the others that number is assumed. FSDP is ours: it saves memory.
_base_ = "training.py"
model = dict(size="h", init="vitpose-h")
batch = dict(global_batch=256, micro_batch=16, assumed=True)
run = dict(parallel="fsdp")
