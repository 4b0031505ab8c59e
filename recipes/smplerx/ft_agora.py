_base_ = ["_base_/finetune.py", "_base_/finetune_sets.py"]
title = "SMPLer-X H, fine-tuned for AGORA"
data = dict(use=["agora", "gta_human2", "bedlam", "synbody", "spec"])
loss = dict(camera_only=True)  # as published where AGORA is the only set of the "3D" list
