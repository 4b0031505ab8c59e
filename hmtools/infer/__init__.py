"""Predictions of trained networks, for converted shards and for free images."""
