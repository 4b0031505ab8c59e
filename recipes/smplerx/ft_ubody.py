_base_ = ["_base_/finetune.py", "_base_/finetune_sets.py"]
title = "SMPLer-X H, fine-tuned for UBody"
data = dict(use=["ubody", "mscoco", "egobody_egocentric", "posetrack", "talkshow"])
