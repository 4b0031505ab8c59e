_base_ = ["../h20.py", "../_base_/faults.py"]
title = "SMPLer-X H, 20 sets, with the faults of the published code"
run = dict(precision="fp32")
