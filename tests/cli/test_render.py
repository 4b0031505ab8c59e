"""``hmtools render`` and ``hmtools export``: what they say, and what they end with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmtools.core.image import encode_png
from tests.cli.conftest import Run
from tests.infer.outputs.predicted import WIDE, person, write_table


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Predictions of one person in a photograph, of one who is not whole, and one of a lost photograph."""
    (tmp_path / "photo.png").write_bytes(encode_png(np.full((WIDE[1], WIDE[0], 3), 90, np.uint8)))
    rows = [
        person(1, source="photo.png", track_id=None),
        person(2, source="photo.png", track_id=None, smplx_transl=None),
        person(3, source="lost.png", track_id=None),
    ]
    return write_table(tmp_path / "predictions.parquet", rows)


def test_a_photograph_with_its_people(photo: Path, run: Run) -> None:
    result = run("render", "overlay", photo, "--media", photo.parent)
    assert "photo_overlay.png, 1 frame\n" in result.stdout
    assert "left out: 1 media_missing" in result.stdout
    assert "left out: 1 no_body" in result.stdout
    assert [file.name for file in (photo.parent / "render").iterdir()] == ["photo_overlay.png"]
    (photo.parent / "render").rename(photo.parent / "before")
    run("render", "side", photo.parent, "--size", 64)
    assert len(list((photo.parent / "render").iterdir())) == 2, "in the folder of the tables"
    result = run("render", "multiview", photo, "--size", 128, "--out", "views")
    assert "views: 2 files, 2 frames" in result.stdout


def test_render_says_what_it_does_not_take(photo: Path, run: Run) -> None:
    for arguments, error in (
        (("render", "front", photo), "overlay, side, multiview"),
        (("render", "side", photo, "--out", "all.png"), "is one file, the table has 2 scenes"),
        (("render", "overlay", photo, "--media", photo), "2 sources"),
        (("render", "side", photo, "--fps", 0), "--fps"),
        (("render", "overlay", "nothing.parquet"), "no such file or folder"),
        (("export", photo, "--to", "gif", "--out", "x"), "expected tracks, amass, ply, obj, glb, gltf"),
        (("export", photo, "--to", "ply", "--out", photo), "is a file; expected a folder"),
        (("export", photo, "--to", "gltf", "--out", "x", "--fps", -1), "--fps"),
    ):
        assert error in run(*arguments, code=2).stderr


def test_files_for_other_programs(photo: Path, run: Run) -> None:
    result = run("export", photo, "--to", "tracks", "--out", "tracks")
    assert "tracks: 3 files" in result.stdout, "raw numbers, whole or not"
    run("export", photo, "--to", "tracks")
    assert len(list((photo.parent / "export/tracks").iterdir())) == 3
    result = run("export", photo, "--to", "glb", "--out", "meshes", "--biggest")
    assert "meshes: 2 files" in result.stdout
    assert sorted(file.name for file in Path("meshes").iterdir()) == ["lost_0.glb", "photo_0.glb"]
    nobody = write_table(photo.with_name("n.parquet"), [person(1, smplx_transl=None)])
    result = run("export", nobody, "--to", "gltf", "--out", "none", code=1)
    assert "left out: 1 no finite pose and place" in result.stdout
    assert "nothing was written" in result.stderr
