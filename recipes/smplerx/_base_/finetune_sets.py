# The sets fine-tunings are made of. Of the intervals only those of UBody and TalkSHOW are set there.
_base_ = "sets.py"
data = dict(
    epoch_size=1_000_000,
    sets=dict(
        bedlam=dict(every=1),
        egobody_kinect=dict(every=1),
        mpi_inf_3dhp=dict(every=1),
        insta_variety=dict(every=1),
        renbody_hires=dict(every=1),
        arctic=dict(every=1),
        fit3d=dict(every=1),
    ),
)
