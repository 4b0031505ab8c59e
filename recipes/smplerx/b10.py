_base_ = ["_base_/b.py", "_base_/sets10.py"]
title = "SMPLer-X B, 10 sets"
