"""Training: recipes, the way from shards to batches, the loop, and where it runs."""
