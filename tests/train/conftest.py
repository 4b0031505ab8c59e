from __future__ import annotations

from tests.train.small_runs import small_shards as small_shards
