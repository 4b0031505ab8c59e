_base_ = ["_base_/l.py", "_base_/sets32.py"]
title = "SMPLer-X L, 32 sets"
