"""Body models: found and read safely, batched layers, joint sets, neutral shapes, the free stand-in."""
