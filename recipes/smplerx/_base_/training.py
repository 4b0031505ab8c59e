# What all published trainings of SMPLer-X share. Everything that is not here is a default of hmtools: the
# weights of the losses, the augmentation, the cosine schedule, the seed (see `hmtools recipes show
# smplerx/h32`).
optim = dict(lr=1e-5, end_lr=1e-6)
run = dict(epochs=10)
validate = dict(
    # Neither is among the sets that results are reported on.
    sets=[
        dict(dataset="egobody_egocentric", split="val"),
        dict(dataset="mscoco", split="val2017"),
    ]
)
