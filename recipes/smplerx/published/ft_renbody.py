_base_ = ["../ft_renbody.py", "../_base_/faults.py"]
title = "SMPLer-X H, fine-tuned for RenBody, with the faults of the published code"
run = dict(precision="fp32")
