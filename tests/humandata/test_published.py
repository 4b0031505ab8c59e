from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

import pytest

from hmtools.core.errors import UsageError
from hmtools.humandata.manifest import Manifest, spec_json
from hmtools.humandata.published import EXAMPLE, contracts, write_contracts
from hmtools.humandata.record import columns
from hmtools.humandata.schema import SCHEMA_VERSION, RecordSpec, mesh_schema, record_schema

SCHEMAS = Path(__file__).parents[2] / "schemas"
NAMES = (
    *("record.json", "mesh.json", "tracks.json", "motion.json"),
    *("predictions.json", "per_sample.json", "report.json", "manifest.json"),
)


def published(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_published_files_are_those_of_the_code(name: str) -> None:
    assert published(name) == contracts()[name], "run: python -m hmtools.humandata.published schemas"


def test_the_command_writes_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hmtools.humandata.published"]
    done = subprocess.run([*command, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(tmp_path / name) for name in NAMES]
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == (SCHEMAS / name).read_bytes()
    for arguments in ([], [tmp_path / "nowhere"]):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr


def test_writing_replaces_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("old")
    written = write_contracts(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(written)
    assert json.loads(written[0].read_text(encoding="utf-8")) == published("record.json")


def test_a_missing_folder_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        write_contracts(tmp_path / "nowhere")


def test_readme_names_every_file() -> None:
    text = (SCHEMAS / "README.md").read_text(encoding="utf-8")
    assert all(f"({name})" in text for name in NAMES)


def test_record_lists_every_column_in_order() -> None:
    content = published("record.json")
    assert content["schema_version"] == SCHEMA_VERSION
    listed = content["columns"]
    assert [entry["name"] for entry in listed] == [column.name for column in columns()]
    assert [entry["arrow"] for entry in listed] == [str(field.type) for field in record_schema(EXAMPLE)]
    assert not any(entry["arrow"] == "null" for entry in listed), "the example set fills every column"
    by_name = {entry["name"]: entry for entry in listed}
    assert by_name["keypoints2d_original"]["convention"] == EXAMPLE.keypoints2d
    assert by_name["bbox_xywh"]["filled_by"] == "the dataset's reader"
    assert by_name["offset"]["filled_by"] == "common code"
    assert by_name["smplx_transl"]["unit"] == "m"
    assert {key: content["example"][key] for key in spec_json(EXAMPLE)} == spec_json(EXAMPLE)


def test_meshes_are_described_as_they_are_written() -> None:
    content = published("mesh.json")
    example = content["example"]
    schema = mesh_schema(example["family"], example["vertices"])
    assert [entry["name"] for entry in content["columns"]] == schema.names == ["part_row", "vertices"]
    assert [entry["arrow"] for entry in content["columns"]] == [str(field.type) for field in schema]
    metadata = {key.decode(): value.decode() for key, value in schema.field("vertices").metadata.items()}
    entry = content["columns"][1]
    assert metadata == {"unit": entry["unit"], "frame": entry["frame"], "family": example["family"]}
    assert entry["unit"] == "m"


def manifest(**values: Any) -> dict[str, Any]:
    """A manifest as it is written, with empty entries unless given."""
    empty: dict[str, Any] = {"str": "", "int": 1, "dict": {}, "list": []}
    required = {
        field.name: empty[str(field.type).partition("[")[0]]
        for field in fields(Manifest)
        if field.default is MISSING and field.default_factory is MISSING
    }
    spec = spec_json(RecordSpec("mini", "val"))
    found: dict[str, Any] = json.loads(json.dumps(asdict(Manifest(**{**required, "spec": spec, **values}))))
    return found


def problems(stored: dict[str, Any]) -> list[str]:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(published("manifest.json"))
    validator.check_schema(validator.schema)
    return sorted(error.message for error in validator.iter_errors(stored))


def test_manifests_validate() -> None:
    assert problems(manifest()) == []
    files = [{"name": "a.tar", "sha256": "00", "nbytes": 3, "rows": 1}]
    counts = {"records": 1, "official_records": None}
    body = {"family": "smplx", "sha256": "00", "num_betas": 10, "standin": False}
    assert problems(manifest(files=files, counts=counts, body_model=body, needs=["SMPL-X"])) == []


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"schema_version": SCHEMA_VERSION + 1}, "was expected"),
        ({"every": "ten"}, "'ten' is not of type 'integer'"),
        ({"counts": {"records": 1.5}}, "1.5 is not of type 'integer', 'null'"),
        ({"rejected_examples": [{"reason": 3}]}, "3 is not of type 'string'"),
        ({"needs": None}, "None is not of type 'array'"),
        ({"body_model": "smplx"}, "'smplx' is not valid under any of the given schemas"),
        ({"spec": {}}, "'keypoints2d' is a required property"),
    ],
)
def test_the_manifest_schema_refuses(values: dict[str, Any], problem: str) -> None:
    assert any(problem in found for found in problems(manifest(**values)))


def test_the_manifest_schema_refuses_unknown_and_missing_entries() -> None:
    stored = manifest()
    assert "colour" in " ".join(problems({**stored, "colour": "blue"}))
    for name in stored:
        assert problems({key: value for key, value in stored.items() if key != name}) == [
            f"{name!r} is a required property"
        ]


def test_everything_is_described() -> None:
    for name in NAMES:
        content = published(name)
        described = [entry["doc"] for entry in content.get("columns", ())]
        described += [entry["description"] for entry in content.get("properties", {}).values()]
        assert described
        assert all(described)
