_base_ = ["_base_/s.py", "_base_/sets10.py"]
title = "SMPLer-X S, 10 sets"
