"""The pipeline that joins datasets, derivation, shards and engine; finalise; validation."""
