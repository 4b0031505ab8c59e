_base_ = "sets.py"
data = dict(
    epoch_size=1_500_000,
    use=[
        "mscoco", "agora", "bedlam", "spec", "gta_human2", "synbody", "posetrack", "egobody_egocentric",
        "prox", "crowdpose",
    ],
)
