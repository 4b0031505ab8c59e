_base_ = ["_base_/b.py", "_base_/sets20.py"]
title = "SMPLer-X B, 20 sets"
