_base_ = ["../ft_agora.py", "../_base_/faults.py"]
title = "SMPLer-X H, fine-tuned for AGORA, with the faults of the published code"
run = dict(precision="fp32")
