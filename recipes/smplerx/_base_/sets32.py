_base_ = "sets.py"
data = dict(
    epoch_size=4_500_000,
    use=[
        "mscoco", "agora", "ubody", "pw3d", "mpii", "human36m", "bedlam", "spec", "gta_human2",
        "synbody", "posetrack", "egobody_egocentric", "prox", "crowdpose", "egobody_kinect",
        "mpi_inf_3dhp", "rich", "muco", "insta_variety", "behave", "up3d", "arctic", "ochuman", "chi3d",
        "renbody_hires", "mtp", "humansc3d", "renbody", "fit3d", "talkshow", "ssp3d", "lspet",
    ],
)
