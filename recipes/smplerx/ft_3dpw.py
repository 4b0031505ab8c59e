_base_ = ["_base_/finetune.py", "_base_/finetune_sets.py"]
title = "SMPLer-X H, fine-tuned for 3DPW"
data = dict(use=["pw3d", "gta_human2", "egobody_kinect", "insta_variety", "humansc3d"])
