from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest

from hmtools.core.errors import LayoutError, SchemaError
from hmtools.humandata.manifest import MANIFEST, Manifest, read_manifest, spec_json, write_manifest
from hmtools.humandata.schema import SCHEMA_VERSION, RecordSpec

SPEC = RecordSpec("mini", "val", "coco_17", None, ("smplx", "smpl"), (("smplx_betas", 16),))


def manifest(spec: RecordSpec = SPEC) -> Manifest:
    return Manifest(
        dataset=spec.dataset,
        split=spec.split,
        role="val",
        card={"title": "Mïni", "licence": "CC0", "commercial_use": True},
        spec=spec_json(spec),
        converter={"hmtools": "0.1.0", "numpy": "2.0.0"},
        options={"images": "full", "limit": None},
        every=1,
        images="full",
        world={"scope": "none", "up": None, "metric": False},
        body_model={"family": "smplx", "sha256": "00", "num_betas": 10, "standin": True},
        needs=["smplx: keypoints2d_smplx"],
        counts={"records": 2, "official_records": None},
        rejected={"box_outside": 1},
        rejected_examples=[{"reason": "box_outside", "source": "a.jpg 3"}],
        filtered={"crowd": 1},
        health={"records": 2},
        files=[{"name": "mini-val-u00000-000.tar", "sha256": "00", "nbytes": 10_240, "rows": 2}],
        created="2026-11-21T00:00:00+00:00",
        command="hmtools convert mini",
    )


def changed(folder: Path, **values: Any) -> Path:
    """A folder with a manifest of which some entries were replaced (``...`` removes one)."""
    stored = asdict(manifest()) | values
    kept = {name: value for name, value in stored.items() if value is not ...}
    (folder / MANIFEST).write_text(json.dumps(kept))
    return folder


@pytest.mark.parametrize(
    "spec", [SPEC, RecordSpec("mini", "val"), RecordSpec("m", "v", None, "h36m_17", ("smplh",))]
)
def test_round_trip(spec: RecordSpec, tmp_path: Path) -> None:
    written = manifest(spec)
    write_manifest(tmp_path, written)
    found = read_manifest(tmp_path)
    assert found == written
    assert found.record_spec() == spec
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST], "no temporary file stays"
    stored = json.loads((tmp_path / MANIFEST).read_text())
    assert set(stored) == {field.name for field in fields(Manifest)}
    assert stored["schema_version"] == SCHEMA_VERSION


def test_writing_replaces(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest())
    write_manifest(tmp_path, replace(manifest(), needs=[], body_model=None))
    assert read_manifest(tmp_path).body_model is None


def test_numbers_must_be_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_manifest(tmp_path, replace(manifest(), world={"metric": float("nan")}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"colour": "blue"}, "TypeError: .*colour"),
        ({"counts": ...}, "TypeError: .*counts"),
        ({"spec": {}}, "KeyError: 'keypoints2d'"),
        ({"spec": []}, "damaged manifest"),
        ({"spec": {**spec_json(SPEC), "widths": {"smplx_betas": "many"}}}, "damaged manifest"),
        ({"spec": {**spec_json(SPEC), "bodies": ["flame"]}}, "'flame' is none of"),
    ],
)
def test_damage_is_a_schema_error(values: dict[str, Any], problem: str, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=problem):
        read_manifest(changed(tmp_path, **values))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"3", b"null", b"\xff\xfe", b'{"schema_version": 1}'])
def test_what_is_no_manifest_is_a_schema_error(text: bytes, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(text)
    with pytest.raises(SchemaError, match=r"manifest\.json: damaged manifest .*; convert the set again"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        (SCHEMA_VERSION + 1, "update hmtools"),
        (SCHEMA_VERSION - 1, "convert the set again"),
        ("1", "convert the set again"),
        (None, "convert the set again"),
        (..., "convert the set again"),
    ],
)
def test_other_schema_versions_are_refused(version: Any, advice: str, tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=f"this hmtools reads {SCHEMA_VERSION}; {advice}"):
        read_manifest(changed(tmp_path, schema_version=version))


def refusal(folder: Path) -> str:
    with pytest.raises(LayoutError) as error:
        read_manifest(folder)
    message = str(error.value)
    assert message.startswith(f"{folder}: ")
    return message.removeprefix(f"{folder}: ")


def test_no_such_folder(tmp_path: Path) -> None:
    assert "no such folder; expected a converted split" in refusal(tmp_path / "nowhere")


def test_no_manifest(tmp_path: Path) -> None:
    assert "no manifest.json here" in refusal(tmp_path)
    (tmp_path / "file").write_text("x")
    assert "no manifest.json here" in refusal(tmp_path / "file")


def test_unfinished(tmp_path: Path) -> None:
    (tmp_path / ".job").mkdir()
    message = refusal(tmp_path)
    assert message.startswith("unfinished conversion")
    assert f"`hmtools jobs {tmp_path}`" in message


@pytest.mark.parametrize("above", ["mini", "."])
def test_several_splits_are_listed(above: str, tmp_path: Path) -> None:
    for split in ("val", "train"):
        folder = tmp_path / "mini" / split
        folder.mkdir(parents=True)
        write_manifest(folder, manifest())
    message = refusal(tmp_path / above)
    assert message.startswith("holds several splits, name one of them:")
    assert message.split()[-2:] == [str(tmp_path / "mini" / "train"), str(tmp_path / "mini" / "val")]
