_base_ = ["_base_/s.py", "_base_/sets20.py"]
title = "SMPLer-X S, 20 sets"
