"""SMPLer-X: one ViT and light heads that give a whole SMPL-X body from a crop of a person."""
