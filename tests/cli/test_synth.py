"""``hmtools synth`` as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hmtools.cli.app import app
from hmtools.synth import MARKER, read_truth


def synth(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["synth", *(str(argument) for argument in arguments)])
    assert result.exit_code == code, result.output + result.stderr
    return result


def test_makes_a_world_and_says_what_is_next(tmp_path: Path) -> None:
    root = tmp_path / "MSCOCO"
    shown = synth(
        *("mscoco", "--out", root, "--frames", 4, "--people", 2, "--seed", 7, "--size", "120x100"),
        *("--split", "train2017", "--split", "val2017"),
    )
    truth = read_truth(root)
    assert {image.split for image in truth.images} == {"train2017", "val2017"}
    assert truth.seed == 7
    assert json.loads((root / MARKER).read_text())["size"] == [120, 100]
    assert f"{root}: 8 images, 14 annotations, 6 of them not to be converted (defects, or" in shown.stdout
    assert "synth mscoco: 8/8 units" in shown.stderr
    assert f"next: hmtools convert mscoco --root {root}" in shown.stdout


def test_people_default_to_what_a_set_shows_and_can_be_drawn(tmp_path: Path) -> None:
    synth("ehf", "--out", tmp_path / "EHF", "--frames", 1, "--size", "160x120", "--render")
    marker = json.loads((tmp_path / "EHF" / MARKER).read_text())
    assert (marker["people"], marker["render"]) == (1, True)
    assert not read_truth(tmp_path / "EHF").images[0].colour  # positions cannot be read off it


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mscoko",), "did you mean 'mscoco'"),
        (("mscoco", "--size", "640"), "--size takes width x height in pixels, e.g. 640x480, got '640'"),
        (("mscoco", "--size", "-64x64"), "--size takes width x height"),
        (("mscoco", "--frames", "0"), "frames must be at least 1"),
        (("ehf", "--people", "2"), "--people must be 1, got 2"),
        (("mscoco", "--split", "val"), "split 'val' is not one of train2017, val2017"),
    ],
)
def test_wrong_usage_ends_with_2(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    assert message in synth(*arguments, "--out", tmp_path / "out", code=2).stderr
    assert not (tmp_path / "out").exists()


def test_does_not_write_over_anything(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    shown = synth("mscoco", "--out", tmp_path, code=2)
    assert "is not empty (found mine.txt)" in shown.stderr
    assert "0/20" not in shown.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_module_is_light() -> None:
    code = (
        "import sys, hmtools.cli.synth\n"
        "print([name for name in ('numpy', 'cv2', 'torch', 'pyarrow', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
