_base_ = ["../ft_egobody.py", "../_base_/faults.py"]
title = "SMPLer-X H, fine-tuned for EgoBody, with the faults of the published code"
run = dict(precision="fp32")
