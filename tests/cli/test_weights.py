"""``hmtools weights``: what people and programs see, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hmtools.cli.complete import weight_names
from hmtools.models.published_weights import PUBLISHED
from tests.cli.conftest import Run
from tests.models.weight_samples import Attack, smplerx_file, state_of, vitpose_file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the setting; it is not there yet."""
    path = tmp_path / "weights"
    monkeypatch.setenv("HMTOOLS_CHECKPOINTS", str(path))
    return path


def test_list_shows_what_was_published_and_where_was_looked(run: Run, folder: Path) -> None:
    lines = run("weights", "list").stdout.splitlines()
    assert max(len(line) for line in lines if not line.startswith("searched")) <= 80
    assert lines[:2] == [
        "SMPLer-X  (S-Lab License, non-commercial)",
        "  https://github.com/caizhongang/SMPLer-X",
    ]
    assert "  smplerx-h32           h  32 datasets                 MPE 63.0 mm  -" in lines
    assert "ViTPose  (Apache-2.0)" in lines
    names = [line.split()[0] for line in lines if line.startswith("  ") and line.endswith(" -")]
    assert names == list(PUBLISHED)
    assert f"searched: {folder} (no such folder)  (setting checkpoints)" in lines
    assert "here:" not in lines


def test_list_as_json_has_every_fact(run: Run, folder: Path) -> None:
    facts = json.loads(run("weights", "list", "--json").stdout)
    assert facts["searched"] == {"path": str(folder), "found": False}
    assert list(facts["published"]) == list(PUBLISHED)
    row = facts["published"]["smplerx-h32"]
    assert len(row.pop("datasets")) == 32
    assert row == {
        "model": "smplerx",
        "size": "h",
        "decoder": None,
        "data": "32 datasets",
        "started_from": None,
        "figure": "MPE 63.0 mm",
        "licence": "S-Lab License, non-commercial",
        "commercial_use": False,
        "page": "https://github.com/caizhongang/SMPLer-X",
        "looked_for": ["smplerx-h32.safetensors", "smpler_x_h32.pth.tar"],
        "file_verified": False,
        "state": "missing",
        "file": None,
    }
    assert facts["others"] == []


def test_list_needs_neither_torch_nor_numpy(tmp_path: Path) -> None:
    code = (
        "import sys; from hmtools.models.weights_folder import weights_in; from pathlib import Path\n"
        "import hmtools.cli.weights, hmtools.cli.weights_report\n"
        "weights_in(Path('.')); print(sorted({'torch', 'numpy', 'safetensors'} & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert shown.stdout == "[]\n"


def test_import_then_list_then_check(run: Run, folder: Path, tmp_path: Path) -> None:
    body = {"smplx_layer.v_template": torch.ones(3), "smplx_layer.f": torch.ones(3)}
    source = smplerx_file(tmp_path / "mine.pth.tar", state_of("smplerx") | body)
    out = run("weights", "import", source).stdout.splitlines()
    assert out[0] == f"{source} -> {folder / 'mine.safetensors'}"
    assert out[1].startswith("SMPLer-X, size tiny, ")
    assert out[1].endswith(" MB, left out: optimizer, smplx_layer.* (2)")
    page = run("weights", "list").stdout
    assert "here:\n  mine.safetensors\n    mine, " in page
    assert "epoch 9, from mine.pth.tar, sha256 " in page
    [other] = json.loads(run("weights", "list", "--json").stdout)["others"]
    assert (other["name"], other["imported"], other["card"]["size"]) == ("mine", True, "tiny")
    assert "exists; --force replaces it" in run("weights", "import", source, code=2).stderr
    run("weights", "import", source, "--force")
    for which in ("mine", folder / "mine.safetensors", source):
        lines = run("weights", "check", which).stdout.splitlines()
        assert lines[-1] == "ok"
        assert "network    SMPLer-X, size tiny" in lines
    facts = json.loads(run("weights", "check", "mine", "--json").stdout)
    assert (facts["problems"], facts["epoch"], facts["imported"]) == ([], 9, True)
    assert facts["source"]["file"] == "mine.pth.tar"


def test_files_called_like_published_ones_are_found(run: Run, folder: Path) -> None:
    folder.mkdir()
    (folder / "smpler_x_s32.pth.tar").write_bytes(b"PK")
    (folder / "a.pth").write_bytes(b"PK")
    page = run("weights", "list").stdout
    assert "  smplerx-s32           s  32 datasets                 MPE 82.6 mm  found\n" in page
    assert "    smplerx-s32 by its name, 2 B, not imported\n" in page
    assert "  a.pth\n    2 B; what it is, 'hmtools weights check' tells\n" in page
    facts = json.loads(run("weights", "list", "--json").stdout)
    assert facts["published"]["smplerx-s32"]["state"] == "found"
    assert facts["published"]["smplerx-s32"]["file"]["path"] == str(folder / "smpler_x_s32.pth.tar")
    assert [item["name"] for item in facts["others"]] == ["a"]


def test_check_lists_every_difference_and_ends_with_1(run: Run, folder: Path, tmp_path: Path) -> None:
    state = state_of("vitpose", "simple")
    blocks = [name for name in state if ".blocks.1." in name]
    for name in blocks[1:]:
        del state[name]
    state["backbone.last_norm.bias"][0] = float("inf")
    path = vitpose_file(tmp_path / "x.pth", state)
    result = run("weights", "check", path, code=1)
    assert f"{len(blocks) - 1} missing" in result.stdout
    assert all(name in result.stdout for name in blocks[1:])
    assert "2. NaN or infinite numbers in backbone.last_norm.bias" in result.stdout
    assert result.stdout.endswith("\n2 problems\n")
    facts = json.loads(run("weights", "check", path, "--json", code=1).stdout)
    assert facts["missing"] == blocks[1:]
    assert facts["non_finite"] == ["backbone.last_norm.bias"]


def test_check_of_files_that_cannot_be_read(run: Run, folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    torch.save({"network": Attack(canary)}, tmp_path / "evil.pth")
    (tmp_path / "page.pth").write_text("<!doctype html>")
    for name, expected in (("evil.pth", "asks for posix.system"), ("page.pth", "found a web page")):
        result = run("weights", "check", name, code=1)
        assert expected in result.stdout
        assert result.stdout.endswith("\n1 problem\n")
        assert json.loads(run("weights", "check", name, "--json", code=1).stdout)["problems"]
    assert "asks for posix.system" in run("weights", "import", "evil.pth", code=1).stderr
    assert "found a web page" in run("weights", "import", "page.pth", code=2).stderr
    assert not canary.exists()
    assert not folder.exists()


def test_weights_that_are_not_there(run: Run, folder: Path) -> None:
    assert "get them at https://github.com/caizhongang/SMPLer-X" in run(
        "weights", "check", "smplerx-h32", code=2
    ).stderr  # fmt: skip
    assert "did you mean 'smplerx-h32'" in run("weights", "check", "smplerx_h32", code=2).stderr
    said = run("weights", "import", "nowhere.pth", code=2).stderr
    assert said.startswith("hmtools: nowhere.pth: no such file"), "nothing is said to be read"


def test_a_group_has_help(run: Run) -> None:
    out = run("weights", "--help").stdout
    for name in ("list", "import", "check"):
        assert f"\n  {name} " in out
        own = run("weights", name, "--help").stdout
        assert f"hmtools weights {name}" in own.split("Example")[1]


def test_names_are_completed(run: Run, folder: Path, tmp_path: Path) -> None:
    run("weights", "import", vitpose_file(tmp_path / "smplmine.pth", state_of("vitpose", "simple")))
    assert weight_names("smplerx-h3") == ["smplerx-h32", "smplerx-h32-updated"]
    assert weight_names("smplm") == ["smplmine"]
