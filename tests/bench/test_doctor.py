from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hmtools.bench.doctor import diagnose, diagnose_all, protocols_for
from hmtools.bench.protocols.registry import get_protocol
from hmtools.core.errors import UsageError
from hmtools.shards.reader import Shards
from tests.bench.testset_shards import TestSets

LICENSED = {"family": "smplx", "sha256": "a" * 64, "num_betas": 10, "standin": False, "files": {}}
OFFICIAL = {"counts": {"records": 100, "images": 100}, "rejected": {}, "body_model": LICENSED}


def edited(shards: Shards, out: Path, **changes: Any) -> Shards:
    """A copy whose manifest says something else."""
    shutil.copytree(shards.path, out)
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps({**manifest, **changes}))
    return Shards(out)


def test_the_official_set_is_ok(test_sets: TestSets, tmp_path: Path) -> None:
    found = diagnose(edited(test_sets["ehf"], tmp_path / "ehf", **OFFICIAL), get_protocol("ehf"))
    assert found.ok, found.differences
    assert (found.rows, found.note, found.unchecked) == ("official", "", ())


@pytest.mark.parametrize(
    ("changes", "said", "rows"),
    [
        ({"counts": {"records": 99, "images": 100}}, "records: expected 100, found 99", "derived"),
        ({"rejected": {"mesh_other": 1, "broken_row": 2}}, "found 3 (broken_row 2, mesh_other 1)", "derived"),
        ({"rows": "derived"}, "rows: expected official, found derived; put the published", "derived"),
        ({"images": "crop"}, "images: expected full, found crop", "official"),
        ({"every": 2}, "every: expected a divisor of 1, found 2; convert again with --every 1", "derived"),
        ({"options": {"limit": 5, "only": []}}, "--limit: expected none, found 5", "derived"),
        (
            {"health": {"betas_norm_over_15": 7}},
            "absurd shapes (norm above 15): expected 0, found 7",
            "derived",
        ),
        (
            {"body_model": {**LICENSED, "standin": True}},
            "body: expected licensed, found the stand-in",
            "derived",
        ),
        ({"needs": ["smplx_neutral: not there"]}, "found missing smplx_neutral: not there; run", "derived"),
        ({"files": []}, "mesh: expected in every row, found null in 4 of 4", "derived"),
    ],
)
def test_what_differs_is_said_and_stamped(
    changes: dict[str, Any], said: str, rows: str, test_sets: TestSets, tmp_path: Path
) -> None:
    shards = edited(test_sets["ehf"], tmp_path / "ehf", **{**OFFICIAL, **changes})
    found = diagnose(shards, get_protocol("ehf"))
    assert not found.ok
    assert [str(one) for one in found.differences if said in str(one)], found.differences
    assert found.rows == rows
    assert found.note.startswith("not the official set (") is (rows == "derived")


def test_a_body_of_another_family_is_named(test_sets: TestSets) -> None:
    class OfSmplX(get_protocol("3dpw")):  # type: ignore[misc]
        body = "smplx"

    (found,) = [one for one in diagnose(test_sets["pw3d"], OfSmplX).differences if one.what == "bodies"]
    assert str(found) == "bodies: expected smplx, found smpl; convert again with --option body=smplx"


def test_a_split_is_judged_by_every_protocol_that_tests_on_it(test_sets: TestSets, tmp_path: Path) -> None:
    ids = [found.protocol for found in diagnose_all(test_sets["pw3d"])]
    assert ids == ["smplerx@1", "3dpw-official@1", "spin@1", "wham@1"]
    rows = {found.protocol: found.rows for found in diagnose_all(edited(
        test_sets["pw3d"], tmp_path / "pw3d", body_model=LICENSED, rows="derived",
        counts={"records": 35_515}))}  # fmt: skip
    assert rows == {"smplerx@1": "derived", "3dpw-official@1": "official", "spin@1": "official",
                    "wham@1": "official"}  # fmt: skip
    other = edited(test_sets["ehf"], tmp_path / "other", split="tset")
    with pytest.raises(UsageError, match=r"ehf/tset is the test set of no protocol; did you mean 'ehf/test'"):
        protocols_for(other.manifest)


def test_what_nobody_states_is_said(test_sets: TestSets) -> None:
    shards = test_sets["agora"]
    (said,) = diagnose(shards, get_protocol("agora")).unchecked
    assert said == f"nobody states how many people AGORA validation, SMPLer-X has; found {len(shards)}"
