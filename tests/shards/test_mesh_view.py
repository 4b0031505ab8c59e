"""Meshes on the contact sheet: where the picture shows the person, with the named model or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import hmtools
from hmtools.convert.run import convert
from hmtools.shards.mesh_view import _load, with_mesh
from hmtools.shards.reader import Shards
from hmtools.synth import make_miniature
from hmtools.viz.mesh import person_colour
from hmtools.viz.page import Tile


@pytest.fixture(scope="module", params=["mscoco", "ehf"])
def shards(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """People drawn in the light that meshes get, the first in the second colour: mscoco and ehf."""
    folder = tmp_path_factory.mktemp(request.param)
    split = {"mscoco": "train2017", "ehf": "test"}[request.param]
    make_miniature(request.param, folder / "raw", 2, 1, 3, (320, 240), (split,), render=True)
    convert(
        request.param,
        root=folder / "raw",
        out=folder,
        splits=[split],
        images="full",
        workers=0,
        progress=False,
    )
    return hmtools.open(folder / request.param)


def tile(shards: Shards, row: int) -> Tile:
    sample = shards[row]
    return Tile(
        key=sample.record["key"], image=sample.image, affine=sample.affine, boxes={}, keypoints=None,
        convention=None, caption={},
    )  # fmt: skip


def test_a_mesh_lies_on_its_person(shards: Shards) -> None:
    plain = tile(shards, 0)
    drawn = with_mesh(plain, shards, 0, colour=person_colour(1))
    assert drawn.caption["mesh"] == "smplx, stand-in"
    assert plain.image is not None
    assert drawn.image is not None
    change = np.abs(drawn.image.astype(int) - plain.image.astype(int)).max(axis=2)
    x, y, w, h = (round(v) for v in shards.row(0)["bbox_xywh"][:4])
    outside = np.ones(change.shape, bool)
    outside[max(0, y) : y + h + 1, max(0, x) : x + w + 1] = False
    assert not change[outside].any()
    # The same person in the same light: only the border of the silhouette and the encoding differ.
    assert np.median(change[change > 0]) < 30 if change.any() else False


def test_a_mesh_follows_the_affine_of_a_cut(shards: Shards) -> None:
    whole = tile(shards, 0)
    assert whole.image is not None
    shift = np.array([[1.0, 0, -40], [0, 1, -30]])
    cut = Tile(
        key="k",
        image=whole.image[30:, 40:],
        affine=shift,
        boxes={},
        keypoints=None,
        convention=None,
        caption={},
    )
    one, other = with_mesh(whole, shards, 0), with_mesh(cut, shards, 0)
    assert one.image is not None
    assert other.image is not None
    assert np.abs(one.image[30:, 40:].astype(int) - other.image.astype(int)).max() <= 2


def test_no_mesh_with_another_body_model(shards: Shards, tmp_path: Path) -> None:
    for path in shards.path.iterdir():
        if path.is_file():
            (tmp_path / path.name).symlink_to(path)
    manifest = json.loads((shards.path / "manifest.json").read_text())
    manifest["body_model"]["files"] = dict.fromkeys(manifest["body_model"]["files"], "0" * 64)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    other = hmtools.open(tmp_path)
    plain = tile(other, 0)
    shown = with_mesh(plain, other, 0)
    assert shown.image is plain.image
    assert shown.caption["mesh"] == "not drawn: its body model is not at hand"
    _load.cache_clear()


def test_records_without_a_picture_stay(shards: Shards) -> None:
    empty = Tile(
        key="k",
        image=None,
        affine=None,
        boxes={},
        keypoints=None,
        convention=None,
        caption={},
        note="no image",
    )
    assert with_mesh(empty, shards, 0) is empty
