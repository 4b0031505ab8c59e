_base_ = ["_base_/s.py", "_base_/sets5.py"]
title = "SMPLer-X S, 5 sets"
