_base_ = ["../l5.py", "../_base_/faults.py"]
title = "SMPLer-X L, 5 sets, with the faults of the published code"
run = dict(precision="fp32")
