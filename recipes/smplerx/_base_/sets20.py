_base_ = "sets.py"
data = dict(
    epoch_size=3_000_000,
    use=[
        "mscoco", "agora", "ubody", "pw3d", "bedlam", "spec", "gta_human2", "synbody", "posetrack",
        "egobody_egocentric", "prox", "crowdpose", "egobody_kinect", "mpi_inf_3dhp", "rich", "muco",
        "insta_variety", "behave", "up3d", "arctic",
    ],
)
