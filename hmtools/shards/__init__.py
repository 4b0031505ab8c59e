"""Tar + Arrow shards: writing, reading, indexing, and the query that chooses rows."""
