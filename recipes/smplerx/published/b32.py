_base_ = ["../b32.py", "../_base_/faults.py"]
title = "SMPLer-X B, 32 sets, with the faults of the published code"
run = dict(precision="fp32")
