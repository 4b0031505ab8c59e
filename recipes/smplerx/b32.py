_base_ = ["_base_/b.py", "_base_/sets32.py"]
title = "SMPLer-X B, 32 sets"
