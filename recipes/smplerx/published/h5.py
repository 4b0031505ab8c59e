_base_ = ["../h5.py", "../_base_/faults.py"]
title = "SMPLer-X H, 5 sets, with the faults of the published code"
run = dict(precision="fp32")
