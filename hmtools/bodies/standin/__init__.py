"""The licence-free stand-in: a plausible person, made by code, in every file format of the SMPL family."""
