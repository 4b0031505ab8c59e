# A network nobody publishes, small enough for a laptop without a GPU. It shows that training works, not how
# well. Its trainings are a minute or some minutes long: small batches, hence many steps, and crops that vary
# little.
model = dict(size="tiny", init="random")
batch = dict(global_batch=8, micro_batch=4)
optim = dict(lr=4e-3, end_lr=1e-5, warmup_steps=20)
augment = dict(scale=0.1, rotation_probability=0.0, colour=0.1)
