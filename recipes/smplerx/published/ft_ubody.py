_base_ = ["../ft_ubody.py", "../_base_/faults.py"]
title = "SMPLer-X H, fine-tuned for UBody, with the faults of the published code"
run = dict(precision="fp32")
