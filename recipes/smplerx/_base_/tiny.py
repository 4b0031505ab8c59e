# A network nobody publishes, small enough for a laptop without a GPU. It shows that training works, not how
# well.
model = dict(size="tiny", init="random")
batch = dict(global_batch=16, micro_batch=8)
optim = dict(lr=1e-3, end_lr=1e-5)
