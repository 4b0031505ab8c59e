_base_ = ["_base_/s.py", "_base_/sets32.py"]
title = "SMPLer-X S, 32 sets"
