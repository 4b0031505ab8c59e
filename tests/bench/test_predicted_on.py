"""Whether predictions are of the shards they are used with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hmtools.bench.predicted_on import CLOSING, other_shards, predicted_on, shards_sha256
from hmtools.shards.reader import Shards
from tests.bench.testset_shards import TestSets


@pytest.fixture(scope="module")
def ehf(test_sets: TestSets) -> Shards:
    return test_sets["ehf"]


def written(folder: Path, **facts: Any) -> Path:
    (folder / "predictions").mkdir(parents=True)
    (folder / "predictions/part.parquet").touch()
    (folder / CLOSING).write_text(json.dumps({"checkpoint_sha256": "a", **facts}))
    return folder


def test_it_is_found_beside_the_tables(tmp_path: Path) -> None:
    for split in ("train", "test"):
        written(tmp_path / "ehf" / split, split=split)
    for path, splits in {
        "ehf": ["test", "train"],
        "ehf/test": ["test"],
        "ehf/test/predictions": ["test"],
        "ehf/test/predictions/part.parquet": ["test"],
        "nowhere": [],
    }.items():
        assert [said["split"] for said in predicted_on(tmp_path / path)] == splits
    (tmp_path / "ehf/test" / CLOSING).write_text("{}")  # of somebody else
    (tmp_path / "mine.parquet").touch()
    assert predicted_on(tmp_path / "ehf/test") == predicted_on(tmp_path / "mine.parquet") == []


def test_other_shards_are_named(ehf: Shards) -> None:
    own = {"dataset": "ehf", "split": "test", "shards_sha256": shards_sha256(ehf.manifest)}
    other = {**own, "shards_sha256": "0", "shards": "/data/ehf/test"}
    here = ehf.path.resolve()
    for said in (own, {**other, "split": "train"}, {**own, "shards_sha256": None}):
        assert other_shards([said], [ehf]) == ""
    remark = "these predictions were made on /data/ehf/test, not on {}; --shards /data/ehf/test takes those"
    assert other_shards([own, other], [ehf]) == remark.format(here)
    again = other_shards([{**other, "shards": str(here)}], [ehf])
    assert again == f"these predictions were made on {here}, which was converted or derived anew since"
