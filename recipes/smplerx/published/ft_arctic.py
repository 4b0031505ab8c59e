_base_ = ["../ft_arctic.py", "../_base_/faults.py"]
title = "SMPLer-X H, fine-tuned for ARCTIC, with the faults of the published code"
run = dict(precision="fp32")
