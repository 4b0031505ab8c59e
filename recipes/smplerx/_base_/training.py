# What all published trainings of SMPLer-X share. Everything that is not here is a default of hmtools: the
# weights of the losses, the augmentation, the cosine schedule, the seed (see `hmtools recipes show
# smplerx/h32`).
optim = dict(lr=1e-5, end_lr=1e-6)
run = dict(epochs=10)
# Not among the sets that results are reported on. COCO's own validation set has no fits to be measured against.
validate = dict(sets=[dict(dataset="egobody_egocentric", split="val")])
