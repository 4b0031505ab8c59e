"""Predictions drawn over images: where the truth is when they are the truth, and words for what cannot be."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import hmtools
from hmtools.bench import pictures as pictures_of
from hmtools.bench.people import Choice
from hmtools.bench.pictures import SIDE, Pictures, reduced
from hmtools.convert.run import convert
from hmtools.core.errors import LayoutError
from hmtools.geometry.crop import apply_affine
from hmtools.humandata.predictions import PredictionSpec, PredictionWriter
from hmtools.shards.reader import Shards
from hmtools.synth import make_miniature
from hmtools.viz.page import Tile

PARTS = (
    *("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose"),
    *("betas", "expression", "transl"),
)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    folder = tmp_path_factory.mktemp("shards")
    make_miniature("mscoco", folder / "raw", 2, 1, 3, (320, 240), ("train2017",), render=True)
    convert(
        "mscoco",
        root=folder / "raw",
        out=folder,
        splits=["train2017"],
        images="full",
        workers=0,
        progress=False,
    )
    return hmtools.open(folder / "mscoco/train2017")


def truth(shards: Shards, row: int, **changes: Any) -> dict[str, Any]:
    """The record as a prediction."""
    record = shards.row(row)
    names = ("key", "gender", "focal_length", "principal_point", *(f"smplx_{part}" for part in PARTS))
    return {name: record[name] for name in names} | changes


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with PredictionWriter(path, PredictionSpec(bodies=("smplx",)), {"model": "m", "standin": True}) as file:
        file.write(rows)
    return path


def decoded(uri: str) -> np.ndarray:
    data = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    assert image is not None
    return image.astype(int)


def drawn(shards: Shards, rows: list[dict[str, Any]], path: Path, row: int = 0) -> tuple[dict[str, str], str]:
    choice = Choice(shards.row(row)["key"], ((0, 50.0),))
    draw = Pictures([shards.path.parents[1]], [[write(path, rows)]], ["mine"]).prepare([choice])
    pictures, note = draw(choice)
    return dict(pictures), note


def virtual(record: dict[str, Any]) -> np.ndarray:
    """The crop whose virtual camera is the camera of the image."""
    scale = 10000 / np.asarray(record["focal_length"], np.float64)
    shift = np.array([192.0, 256.0]) - scale * record["principal_point"]
    return np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])


@pytest.mark.parametrize("camera", ["own", "virtual"])
def test_a_perfect_prediction_covers_the_truth(
    shards: Shards, tmp_path: Path, camera: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures_of, "_TRUE", pictures_of.RUN_COLOURS[0])
    row = truth(shards, 0)
    if camera == "virtual":
        row |= {"focal_length": None, "principal_point": None, "crop_affine": virtual(shards.row(0))}
    pictures, note = drawn(shards, [truth(shards, 1), row], tmp_path / "p.parquet")
    assert note == ""
    assert list(pictures) == ["mine", "truth"]
    mine, true = decoded(pictures["mine"]), decoded(pictures["truth"])
    assert max(mine.shape) <= SIDE
    # Drawn in one colour they are one picture, but for gaze, rounding and the encoding of single pixels.
    assert np.percentile(np.abs(mine - true).max(axis=2), 99.8) < 20


def test_a_shifted_prediction_is_drawn_elsewhere(shards: Shards, tmp_path: Path) -> None:
    moved = truth(shards, 0, smplx_transl=shards.row(0)["smplx_transl"] + np.array([0.5, 0, 0], np.float32))
    places = []
    for i, row in enumerate([truth(shards, 0), moved]):
        mine = decoded(drawn(shards, [row], tmp_path / f"{i}.parquet")[0]["mine"])
        places.append(np.nonzero(mine[..., 2] - mine[..., 0] > 40)[1].mean())
    assert places[1] > places[0] + 5


def test_a_child_is_drawn_as_one(shards: Shards, tmp_path: Path) -> None:
    where = []
    for kid in (None, 0.0, 1.0):
        row = truth(shards, 0, kid=kid)
        mine = decoded(drawn(shards, [row], tmp_path / f"{kid}.parquet")[0]["mine"])
        where.append(mine[..., 2] - mine[..., 0] > 40)
    assert np.array_equal(where[0], where[1])
    assert (where[0] ^ where[2]).sum() > 0.1 * where[0].sum()


def test_a_reduced_picture_keeps_its_places() -> None:
    ramp = np.broadcast_to(np.arange(0, 200, dtype=np.uint8)[None, :, None], (3 * SIDE, 200, 3))
    shift = np.array([[1.0, 0, -40], [0, 1, -30]])  # the picture is a cut that begins at pixel 40, 30
    tile = Tile(key="k", image=ramp, affine=shift, boxes={}, keypoints=None, convention=None, caption={})
    small = reduced(tile)
    assert small.image is not None
    assert small.affine is not None
    assert small.image.shape == (SIDE, 67, 3)
    seen = small.image[5, 1:66, 0].astype(float)  # each pixel says which columns it shows
    placed = apply_affine(small.affine, np.stack([seen + 40, np.full(65, 90.0)], axis=1))[:, 0]
    assert np.abs(placed - np.arange(1, 66)).max() < 0.25
    assert apply_affine(small.affine, np.array([[40.0, 30 + 3 * 7 + 1]]))[0, 1] == pytest.approx(7, abs=1e-6)


def test_what_cannot_be_drawn_is_said(shards: Shards, tmp_path: Path) -> None:
    pictures, note = drawn(shards, [truth(shards, 1)], tmp_path / "p.parquet")
    assert (list(pictures), note) == (["truth"], "mine: prediction not at hand")
    lone = truth(shards, 0, smplx_transl=None)
    pictures, note = drawn(shards, [lone], tmp_path / "q.parquet")
    assert (list(pictures), note) == (["truth"], "mine: not drawn, its row has no smplx_transl")
    blind = truth(shards, 0, focal_length=None)
    assert "neither a camera" in drawn(shards, [blind], tmp_path / "r.parquet")[1]
    draw = Pictures([shards.path], [[]], ["mine"]).prepare([Choice("other/x/y/000000_0", ((0, 1.0),))])
    assert draw(Choice("other/x/y/000000_0", ((0, 1.0),))) == (
        (),
        "its test set is not among the shards given",
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(LayoutError, match="no converted split"):
        Pictures([tmp_path / "empty"], [], [])


def test_shards_that_lost_a_tar_cost_a_picture_not_the_page(shards: Shards, tmp_path: Path) -> None:
    folder = tmp_path / "mscoco/train2017"
    shutil.copytree(shards.path, folder)
    for tar in folder.glob("*.tar"):
        tar.unlink()
    choice = Choice(shards.row(0)["key"], ((0, 1.0),))
    pictures, note = Pictures([folder], [[]], ["mine"]).prepare([choice])(choice)
    assert pictures == ()
    assert "missing, but the index names it" in note
