_base_ = ["_base_/l.py", "_base_/sets5.py"]
title = "SMPLer-X L, 5 sets"
optim = dict(lr=2e-5)  # unlike all others
