_base_ = ["../h10.py", "../_base_/faults.py"]
title = "SMPLer-X H, 10 sets, with the faults of the published code"
run = dict(precision="fp32")
