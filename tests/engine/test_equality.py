"""One command line, several ways to run its units: files of the same bytes, predictions of the same numbers.

Both clusters are needed, so this runs in the process that owns Ray's, with a Slurm of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hmtools.cli.app import app
from hmtools.datasets import coco
from hmtools.humandata.predictions import iter_predictions
from tests.datasets.coco_tree import contents
from tests.engine.ray_cluster import TwoNodes
from tests.infer.tiny_weights import write_tiny
from tests.slurm.cluster import Slurm, cluster

pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.slow]

SETS = {
    "mscoco": ("--frames", 8, "--split", "train2017", "--split", "val2017"),
    "pw3d": ("--frames", 5, "--split", "train", "--split", "test"),
}
SAID = ("command", "created")
"""What a manifest says of how and when it was made, and not of what."""


@pytest.fixture(scope="module")
def other_slurm() -> Iterator[Slurm]:
    with cluster(accounting=False) as running:
        yield running


def hmtools(*arguments: object) -> str:
    """Run the command line in this process."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, f"{arguments}: {result.output}{result.stderr}"
    return result.output


def told(folder: Path) -> dict[str, Any]:
    """The manifest of a split."""
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    assert set(SAID) <= set(manifest)
    return {key: value for key, value in manifest.items() if key not in SAID}


@pytest.mark.parametrize("name", SETS)
def test_every_engine_writes_the_same_files(
    name: str, two_nodes: TwoNodes, other_slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coco, "IMAGES_PER_UNIT", 3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    hmtools("synth", name, "--out", "raw", "--size", "320x240", *SETS[name])
    ways = {
        "one": ("--engine", "local", "--workers", 1),
        "two": ("--engine", "local", "--workers", 2),
        "inline": ("--workers", 0),
        "ray": ("--engine", "ray", "--address", two_nodes.address),
        "slurm": ("--engine", "slurm", "--wait"),
    }
    for out, way in ways.items():
        hmtools("convert", name, "--root", "raw", "--out", out, *way)
    splits = sorted(path.name for path in Path("one", name).iterdir())
    assert len(splits) == 2
    for split in splits:
        expected = contents(Path("one", name, split))
        assert len([file for file in expected if "-u" in file]) >= 4, "of several units"
        assert "index.arrow" in expected
        for out in ways:
            assert contents(Path(out, name, split)) == expected, f"{out} {split}"
            assert told(Path(out, name, split)) == told(Path("one", name, split))
    assert (Path("slurm", name) / splits[0] / ".job" / "slurm").is_dir()
    assert "interrupted" not in hmtools("jobs", ".")


def test_every_engine_predicts_the_same(
    two_nodes: TwoNodes, other_slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several units, by a process of its own each; torch may use more threads in one than in another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    hmtools("synth", "pw3d", "--out", "raw", "--size", "320x240", "--frames", 4, "--split", "test")
    hmtools("convert", "pw3d", "--root", "raw", "--out", "shards", "--split", "test", "--workers", 0)
    write_tiny(Path("tiny.safetensors"))
    ways = {
        "local": ("--engine", "local"),
        "ray": ("--engine", "ray", "--address", two_nodes.address),
        "slurm": ("--engine", "slurm", "--wait"),
    }
    for out, way in ways.items():
        hmtools("infer", "tiny.safetensors", "shards", "--gpus", 0, "--out", out, *way)
        said = json.loads(Path(out, "pw3d/test/predictions.json").read_text())
        assert (said["predicted"], said["without"]) == (said["people"], {})
    expected = predictions(Path("local"))
    assert len(expected) >= 2, "of several units"
    assert (Path("slurm", "pw3d/test") / ".job" / "slurm").is_dir()
    for out in ("ray", "slurm"):
        found = predictions(Path(out))
        assert list(found) == list(expected)
        for part, columns in expected.items():
            for name, values in columns.items():
                if values is None or values.dtype == object:
                    np.testing.assert_array_equal(found[part][name], values, err_msg=f"{out} {name}")
                else:
                    rtol = 0 if name.endswith(("_pose", "_orient")) else 1e-4
                    np.testing.assert_allclose(
                        found[part][name], values, rtol=rtol, atol=1e-4, err_msg=f"{out} {name}"
                    )


def predictions(out: Path) -> dict[str, dict[str, Any]]:
    """Name of every table -> its columns."""
    tables = sorted((out / "pw3d/test/predictions").glob("*.parquet"))
    return {path.name: next(iter_predictions(path)) for path in tables}
