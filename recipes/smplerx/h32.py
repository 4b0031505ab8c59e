_base_ = ["_base_/h.py", "_base_/sets32.py"]
title = "SMPLer-X H, 32 sets"
batch = dict(assumed=False)  # published: 16 GPUs
