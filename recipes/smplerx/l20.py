_base_ = ["_base_/l.py", "_base_/sets20.py"]
title = "SMPLer-X L, 20 sets"
