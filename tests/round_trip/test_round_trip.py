"""Every dataset: its miniature through the converter and back, every rule broken, every file damaged.

Miniatures are written from facts about the releases, converters likewise, neither from the other. A dataset
has a module ``tests/round_trip/cases/<name>.py`` with a ``CASE``; one without fails here.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import hmtools
from hmtools.convert.run import SplitReport, convert
from hmtools.convert.validate import validate_split
from hmtools.core.errors import HmtoolsError
from hmtools.datasets.registry import all_datasets
from hmtools.shards.reader import Shards
from hmtools.synth import layout_names, make_miniature, read_truth
from tests.round_trip.case import Case
from tests.round_trip.compare import mismatches

PENDING: frozenset[str] = frozenset()
"""Datasets whose miniature is still to be made; the list only ever shrinks."""
OWN_FILES = frozenset({"coco"})
"""Readers of a user's own files: proven with the official set of the same format."""

NAMES = sorted(set(all_datasets()) - PENDING - OWN_FILES)


def case(name: str) -> Case:
    found: Case = importlib.import_module(f"tests.round_trip.cases.{name}").CASE
    return found


MUTATIONS = [(name, mutation) for name in NAMES for mutation in case(name).mutations]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {}


@pytest.fixture
def world(
    request: pytest.FixtureRequest, worlds: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The miniature of the dataset ``name`` of this test, made once."""
    name = request.getfixturevalue("name")
    if name not in worlds:
        worlds[name] = tmp_path_factory.mktemp("world") / name
        make_miniature(name, worlds[name], **{"seed": 5, **case(name).synth})
    return worlds[name]


def run(name: str, root: Path, out: Path, **options: Any) -> list[SplitReport]:
    own = case(name)
    chosen = {"workers": 0, "progress": False, "splits": own.synth["splits"], "every": own.every}
    return convert(name, root=root, out=out, options=own.options, **chosen | options)


def first(name: str) -> list[str]:
    return list(case(name).synth["splits"][:1])


def converted(name: str, root: Path, out: Path, **options: Any) -> dict[str, Shards]:
    reports = run(name, root, out, **options)
    assert all(report.outcome.ok for report in reports), [report.outcome.failed for report in reports]
    return {report.plan.task.split: hmtools.open(report.plan.task.out) for report in reports}


def test_every_dataset_has_a_miniature_or_is_on_the_list() -> None:
    assert set(NAMES) == set(layout_names())
    assert not PENDING & set(layout_names()), "take what is done off the list"
    assert set(all_datasets()) >= PENDING


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_lost_or_moved(name: str, world: Path, tmp_path: Path) -> None:
    found = converted(name, world, tmp_path)
    assert mismatches(world, found) == []
    truth = read_truth(world)
    for split, shards in found.items():
        left_out = sum(p.rejected is not None for p in truth.people if p.split == split)
        manifest = shards.manifest
        assert sum(manifest.rejected.values()) + sum(manifest.filtered.values()) == left_out
        assert manifest.needs == []
        assert manifest.body_model is None or manifest.body_model["standin"]
        assert validate_split(shards.path).problems == []


@pytest.mark.parametrize(("name", "mutation"), MUTATIONS)
def test_every_rule_matters(
    name: str, mutation: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case(name).mutations[mutation](monkeypatch)
    pixels = mutation in case(name).pixels
    # What cannot be seen in pixels is looked for without them, in the split that says most.
    images = {} if pixels else {"images": "none"}
    shown = case(name).elsewhere.get(mutation)
    found = converted(name, world, tmp_path, splits=[shown] if shown else first(name), **images)
    assert mismatches(world, found, pixels=pixels) != []


@pytest.mark.parametrize("name", NAMES)
def test_a_lost_unit_comes_back_as_it_was(name: str, world: Path, tmp_path: Path) -> None:
    folder = run(name, world, tmp_path, splits=first(name))[0].plan.task.out

    def stored() -> dict[str, bytes]:
        files = (path for path in folder.iterdir() if path.is_file() and path.name != "manifest.json")
        return {path.name: path.read_bytes() for path in files}

    before = stored()
    (folder / ".job/done/u00000.json").unlink()
    for lost in folder.glob("*-u00000-*"):
        lost.unlink()
    assert run(name, world, tmp_path, splits=first(name))[0].outcome.ok
    assert stored() == before


@pytest.mark.parametrize("damage", ["cut", "empty", "noise"])
@pytest.mark.parametrize("name", NAMES)
def test_damaged_labels_are_an_error_that_names_them_or_counted(
    name: str, damage: str, world: Path, tmp_path: Path
) -> None:
    kind = all_datasets()[name](case(name).options)
    inputs = kind.inputs(world, first(name)[0])
    for number, source in enumerate({re.sub(r"\d+", "", path.name): path for path in inputs}.values()):
        root = tmp_path / f"{number}"
        shutil.copytree(world, root, copy_function=os.link)
        path = root / source.relative_to(world)
        data = path.read_bytes()
        path.unlink()
        path.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "noise": b"\xff\x00{[" * 50}[damage])
        refused, outcome = "", None
        try:
            outcome = run(name, root, tmp_path / f"out{number}", splits=first(name), images="none")[0].outcome
        except HmtoolsError as error:
            refused = str(error)
        if outcome is None:
            assert path.name in refused
            continue
        counted = outcome.count("rejected") + outcome.count("filtered")
        assert counted or outcome.failed, f"{path.name} {damage}: nobody noticed"
        for reason in outcome.failed.values():
            assert reason.partition(":")[0].endswith(("Error",)), reason
            assert path.name in reason, reason
