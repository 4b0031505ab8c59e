"""The comparison of tracks sees what it is there for; no set with a miniature has tracks yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from hmtools.engine.job import Unit
from hmtools.humandata.record import Record
from hmtools.shards.reader import Shards
from hmtools.synth.truth import PersonTruth
from tests.convert import acted_set
from tests.datasets.coco_tree import run
from tests.round_trip.compare import _tracks


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shards:
    """Two people over three frames of one sequence, each a track."""
    from hmtools.datasets import registry

    read = acted_set.Acted.read

    def tracked(self: acted_set.Acted, root: Path, unit: Unit) -> object:
        for record in read(self, root, unit):
            assert isinstance(record, Record)
            record.track_id = f"t{record.person}"
            record.bbox_xywh = (20, 10, 100, 120, 1)
            yield record

    monkeypatch.setattr(acted_set.Acted, "read", tracked)
    registry.all_datasets()
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    registry.register(acted_set.Acted)
    monkeypatch.setenv("HMTOOLS_BODY_MODELS", str(tmp_path / "none"))
    root = acted_set.write_tree(tmp_path / "raw")
    return Shards(run(root, tmp_path / "out", name="acted", split="train", images="none"))


def truth(frame: int, person: int, track: str | None) -> PersonTruth:
    columns = {"sequence": "s", "frame": frame, "track_id": track}
    return PersonTruth(split="train", file="f", source_id=f"{frame}_{person}", columns=columns)


def test_the_same_tracks(shards: Shards) -> None:
    people = [truth(frame, person, f"t{person}") for frame in range(3) for person in range(2)]
    assert list(_tracks(shards, people)) == []


@pytest.mark.parametrize("damage", ["swapped", "lost", "none"])
def test_other_tracks(shards: Shards, damage: str) -> None:
    people = [truth(frame, person, f"t{person}") for frame in range(3) for person in range(2)]
    if damage == "swapped":
        people[0], people[1] = truth(0, 0, "t1"), truth(1, 1, "t0")
    elif damage == "lost":
        people = people[:-1]
    else:
        people = [truth(frame, person, None) for frame in range(3) for person in range(2)]
    assert list(_tracks(shards, people)) != []
