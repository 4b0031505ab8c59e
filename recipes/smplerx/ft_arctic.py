_base_ = ["_base_/finetune.py", "_base_/finetune_sets.py"]
title = "SMPLer-X H, fine-tuned for ARCTIC"
data = dict(use=["mscoco", "arctic", "bedlam", "egobody_egocentric", "posetrack"])
