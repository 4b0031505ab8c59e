_base_ = ["_base_/h.py", "_base_/sets10.py"]
title = "SMPLer-X H, 10 sets"
