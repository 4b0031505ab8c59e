"""What the manifest of a set says to a recipe, and what is said without one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hmtools.train.planned_sets import has_converter, look_at
from hmtools.train.recipe import SetSpec
from tests.train.manifests import pretend_converted

AGORA = SetSpec(dataset="agora", split="train")
BEDLAM = SetSpec(dataset="bedlam", split="training", every=5, people=951_100)
UBODY = SetSpec(dataset="ubody", split="intra_train", every=20, people=683_300)


def test_converted(tmp_path: Path) -> None:
    pretend_converted(tmp_path, "ubody/intra_train", 1000, every=10)
    found = look_at(UBODY, tmp_path)
    assert (found.state, found.people, found.source, found.kept) == ("converted", 1000, "shards", 500)
    assert found.there
    assert not found.problem
    assert found.convert_command() == ""


@pytest.mark.parametrize(
    ("spec", "state", "people", "source", "kept"),
    [
        (UBODY, "not converted", 71_299, "official", 35_649),
        (replace(AGORA, people=106_700), "not converted", 106_700, "SMPLer-X", 106_700),
        (AGORA, "not converted", None, "", None),
        (BEDLAM, "no converter", 951_100, "SMPLer-X", 190_220),
        (replace(BEDLAM, people=None), "no converter", None, "", None),
    ],
)  # fmt: skip
def test_not_converted(
    tmp_path: Path, spec: SetSpec, state: str, people: int | None, source: str, kept: int | None
) -> None:
    found = look_at(spec, tmp_path)
    assert (found.state, found.people, found.source, found.kept) == (state, people, source, kept)
    assert not found.there


def test_commands(tmp_path: Path) -> None:
    assert look_at(UBODY, tmp_path).convert_command() == "hmtools convert ubody --split intra_train"
    assert look_at(BEDLAM, tmp_path).convert_command() == ""
    finer = SetSpec(dataset="ubody", split="intra_train", every=5, options={"frames": "images"})
    assert look_at(finer, tmp_path).convert_command(Path("/big one")) == (
        "hmtools convert ubody --split intra_train --option frames=images --every 5 --out '/big one'"
    )


def test_a_split_that_does_not_exist(tmp_path: Path) -> None:
    found = look_at(SetSpec(dataset="agora", split="training"), tmp_path)
    assert found.problem == "its splits are train, validation, test"
    assert [has_converter(spec) for spec in (found.spec, AGORA, BEDLAM)] == [False, True, False]
    assert found.convert_command() == ""


def test_a_manifest_of_another_version(tmp_path: Path) -> None:
    path = pretend_converted(tmp_path, "ubody/intra_train", 5) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    found = look_at(UBODY, tmp_path)
    assert found.state == "unreadable"
    assert "schema version 99" in found.problem
    assert found.convert_command() == "hmtools convert ubody --split intra_train --overwrite"


@pytest.mark.parametrize(
    ("every", "records", "options", "problem"),
    [
        (3, 5, {}, "keeps every 20, its shards hold every 3: convert it again with --every 20 --overwrite"),
        (1, 0, {}, "its shards hold nobody"),
        (1, 5, {"frames": "videos"}, "wants it converted with frames=images, its shards have frames=videos"),
    ],
)  # fmt: skip
def test_shards_that_differ(
    tmp_path: Path, every: int, records: int, options: dict[str, str], problem: str
) -> None:
    wanted = {"frames": "images"}
    pretend_converted(tmp_path, "ubody/intra_train", records, every=every, options=options or wanted)
    spec = SetSpec(dataset="ubody", split="intra_train", every=20, options=wanted)
    found = look_at(spec, tmp_path)
    assert found.there
    assert problem in found.problem
