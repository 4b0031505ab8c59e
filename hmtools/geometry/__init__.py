"""Pure functions on arrays: boxes and crops now, rotations, cameras and Procrustes with the body models."""
