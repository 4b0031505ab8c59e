_base_ = ["_base_/h.py", "_base_/sets20.py"]
title = "SMPLer-X H, 20 sets"
