_base_ = ["_base_/b.py", "_base_/sets5.py"]
title = "SMPLer-X B, 5 sets"
