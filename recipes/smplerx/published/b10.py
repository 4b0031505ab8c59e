_base_ = ["../b10.py", "../_base_/faults.py"]
title = "SMPLer-X B, 10 sets, with the faults of the published code"
run = dict(precision="fp32")
