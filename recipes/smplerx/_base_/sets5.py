_base_ = "sets.py"
data = dict(
    epoch_size=750_000,
    use=[
        "mscoco", "agora", "bedlam", "spec", "gta_human2",
    ],
)
