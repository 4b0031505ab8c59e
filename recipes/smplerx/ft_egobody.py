_base_ = ["_base_/finetune.py", "_base_/finetune_sets.py"]
title = "SMPLer-X H, fine-tuned for EgoBody"
data = dict(use=["mscoco", "egobody_egocentric", "egobody_kinect", "bedlam", "prox"])
