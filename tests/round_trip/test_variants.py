"""Other trees and options of a set give the same people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hmtools
from hmtools.convert.run import convert
from hmtools.datasets.registry import get_dataset
from hmtools.synth import make_miniature, read_truth
from tests.round_trip.compare import mismatches

TREES = [("mscoco", "flat", 3), ("mscoco", "osx", 3), ("ehf", "osx", 1)]


@pytest.mark.parametrize(("name", "variant", "people"), TREES)
def test_other_trees_hold_the_same(name: str, variant: str, people: int, tmp_path: Path) -> None:
    splits = list(get_dataset(name).splits)
    make_miniature(name, tmp_path / "raw", 7, people, 6, (320, 240), splits, variant=variant)
    reports = convert(name, root=tmp_path / "raw", out=tmp_path / "out", workers=0, progress=False)
    found = {report.plan.task.split: hmtools.open(report.plan.task.out) for report in reports}
    assert set(found) == set(splits)
    assert mismatches(tmp_path / "raw", found) == []


def test_body_labels_alone_give_the_same_bodies(tmp_path: Path) -> None:
    make_miniature("mscoco", tmp_path / "raw", 6, 3, 5, (320, 240), ("val2017",))
    options = {"labels": "body"}
    convert("mscoco", root=tmp_path / "raw", out=tmp_path, workers=0, progress=False, options=options)
    shards = hmtools.open(tmp_path / "mscoco")
    people = {p.source_id: p for p in read_truth(tmp_path / "raw").people}
    assert shards.manifest.spec["keypoints2d"] == "coco_17"
    assert len(shards) > 5
    for index in range(len(shards)):
        row = shards.row(index)
        body = people[row["source_id"]].columns["keypoints2d_original"][:17]
        np.testing.assert_allclose(row["keypoints2d_original"], body, atol=1e-3)
