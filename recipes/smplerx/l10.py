_base_ = ["_base_/l.py", "_base_/sets10.py"]
title = "SMPLer-X L, 10 sets"
