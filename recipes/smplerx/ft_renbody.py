_base_ = ["_base_/finetune.py", "_base_/finetune_sets.py"]
title = "SMPLer-X H, fine-tuned for RenBody"
data = dict(use=["renbody_hires", "renbody", "bedlam", "synbody", "chi3d"])
