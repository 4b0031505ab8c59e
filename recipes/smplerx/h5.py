_base_ = ["_base_/h.py", "_base_/sets5.py"]
title = "SMPLer-X H, 5 sets"
