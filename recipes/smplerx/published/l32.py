_base_ = ["../l32.py", "../_base_/faults.py"]
title = "SMPLer-X L, 32 sets, with the faults of the published code"
run = dict(precision="fp32")
