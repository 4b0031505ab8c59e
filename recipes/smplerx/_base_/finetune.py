# Fine-tunings of H start from the weights of H on 32 sets, with a fresh optimiser, and train the whole
# network. That they had 16 GPUs is assumed.
_base_ = "training.py"
model = dict(size="h", init="smplerx-h32")
optim = dict(end_lr=5e-7)
batch = dict(global_batch=256, micro_batch=16, assumed=True)
run = dict(epochs=5, parallel="fsdp")
