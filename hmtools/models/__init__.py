"""Networks: the ViT encoder, ViTPose, SMPLer-X, and the files their weights come in."""
