_base_ = ["../s10.py", "../_base_/faults.py"]
title = "SMPLer-X S, 10 sets, with the faults of the published code"
run = dict(precision="fp32")
