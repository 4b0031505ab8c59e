_base_ = ["../ft_3dpw.py", "../_base_/faults.py"]
title = "SMPLer-X H, fine-tuned for 3DPW, with the faults of the published code"
run = dict(precision="fp32")
