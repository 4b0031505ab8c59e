"""Small trees in MS COCO's official layout, written from the format's description and not from its reader.

Pictures are position-coded (:func:`picture`): where a stored pixel came from can be read off its colour. The
133 joints of a person are straight lines in x and y (:func:`joints`), so a joint that lands in the place of
another is seen at once. Rows may be given as text, which is how broken ones get into a file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from hmtools.convert.run import convert
from hmtools.core.atomic import file_sha256
from hmtools.core.image import opencv
from hmtools.humandata.manifest import Manifest, read_manifest
from hmtools.shards.reader import open_shards

__all__ = [
    "JOINTS",
    "box",
    "contents",
    "document",
    "drift",
    "image_row",
    "joints",
    "manifest",
    "own_settings",
    "person",
    "picture",
    "records",
    "run",
    "samples",
    "sources",
    "stored_joints",
    "write_labels",
    "write_picture",
    "write_tree",
]

Array: TypeAlias = npt.NDArray[Any]
Row: TypeAlias = dict[str, Any] | str

WIDTH, HEIGHT = 96, 80
JOINTS = {
    "keypoints": range(17),
    "foot_kpts": range(17, 23),
    "face_kpts": range(23, 91),
    "lefthand_kpts": range(91, 112),
    "righthand_kpts": range(112, 133),
}
"""Field of an annotation → its joints in the official order of the 133."""
_PERIODS = (64.0, 90.5)  # pixels; together they repeat only after thousands


def picture(width: int = WIDTH, height: int = HEIGHT) -> Array:
    """RGB image (H, W, 3) whose red tells x and whose green tells y; blue is flat."""
    x, y = np.arange(width, dtype=float), np.arange(height, dtype=float)
    image = np.full((height, width, 3), 90, np.uint8)
    image[..., 0], image[..., 1] = np.rint(_wave(x)), np.rint(_wave(y))[:, None]
    return image


def _wave(at: Array) -> Array:
    waves = [40 * np.sin(2 * np.pi * at / period) for period in _PERIODS]
    return np.asarray(128 + sum(waves))


def _slope(at: Array) -> Array:
    waves = [40 * 2 * np.pi / period * np.cos(2 * np.pi * at / period) for period in _PERIODS]
    return np.asarray(sum(waves))


def drift(image: Array, affine: Array) -> float:
    """How far (px of the source) an affine misplaces any pixel of a stored picture, at most.

    Args:
        image: RGB pixels that show a part of a :func:`picture`.
        affine: float (2, 3), source pixel centres → pixel centres of ``image``.
    """
    height, width = image.shape[:2]
    inverse = np.linalg.inv(np.vstack([affine, [0, 0, 1]]))
    v, u = np.mgrid[: height : height // 128 + 1, : width : width // 128 + 1].reshape(2, -1)
    source = inverse @ np.stack([u, v, np.ones_like(u)])
    worst = 0.0
    for channel, at in enumerate(source[:2]):
        # level = wave(at + a + b u + c v): solve for the misplacement a, b, c where the wave is steep
        slope = _slope(at)
        missing = image[v, u, channel] - _wave(at)
        design = slope[:, None] * np.stack([np.ones_like(at), u, v], axis=1)
        solution = np.linalg.lstsq(design, missing, rcond=None)[0]
        left = missing - design @ solution
        assert np.sqrt(np.mean(left**2)) < 5, "no part of such a picture lies there"
        corners = np.array([[1, x, y] for x in (0, width - 1) for y in (0, height - 1)])
        worst = max(worst, float(np.abs(corners @ solution).max()))
    return worst


def write_picture(path: Path, image: Array | None = None, *parameters: int) -> None:
    """Write a picture in the format of the path's extension; JPEG at quality 95 unless told otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rgb = picture() if image is None else image
    bgr = opencv().cvtColor(rgb, opencv().COLOR_RGB2BGR) if rgb.ndim == 3 else rgb
    assert opencv().imwrite(str(path), bgr, list(parameters))


def image_row(number: int, name: str = "", width: int = WIDTH, height: int = HEIGHT, **cells: Any) -> Row:
    """A row of ``images`` with every field that the official files have."""
    return {
        "license": 4,
        "file_name": name or f"{number:012d}.jpg",
        "coco_url": f"http://images.example.org/{number:012d}.jpg",
        "height": height,
        "width": width,
        "date_captured": "2013-11-19 21:22:42",
        "flickr_url": f"http://farm8.example.org/{number}_z.jpg",
        "id": number,
    } | cells


def joints(number: int) -> Array:
    """x, y, v of the 133 joints of annotation ``number`` in the official order; every third is unlabelled.

    As in the files, v is 0, 1 or 2 for the body and may be any number for the rest.
    """
    order = np.arange(133)
    v = np.where(order % 3 == 2, 0, np.where(order < 17, 2 - order % 3, 0.25))
    return np.stack([4 + 0.5 * order + number % 5, 70 - 0.375 * order, v], axis=1)


def stored_joints(number: int, count: int = 133) -> Array:
    """What the record has to hold of :func:`joints`: float32 (count, 3), confidence 1, zeros where v is 0."""
    found = joints(number)[:count]
    found[:, 2] = found[:, 2] > 0
    return np.where(found[:, 2:] > 0, found, 0).astype(np.float32)


def box(number: int) -> list[float]:
    """A body box well inside a picture."""
    return [10.5 + number % 7, 8.25, 40.5, 60.0]


def person(number: int, image: int, **cells: Any) -> Row:
    """A row of ``annotations`` as COCO-WholeBody has it; a cell given as None is left out."""
    points = joints(number)
    parts = {name: points[list(order)].reshape(-1).tolist() for name, order in JOINTS.items()}
    row = {
        "segmentation": [[10.0, 10.0, 50.0, 10.0, 50.0, 60.0]],
        "num_keypoints": int((points[:17, 2] > 0).sum()),
        "area": 1234.5,
        "iscrowd": 0,
        "image_id": image,
        "bbox": box(number),
        "category_id": 1,
        "id": number,
        **parts,
        "face_box": [20.0, 10.0, 8.0, 9.0],
        "lefthand_box": [40.0, 30.0, 6.0, 7.0],
        "righthand_box": [12.0, 31.0, 5.0, 4.0],
        "face_valid": True,
        "lefthand_valid": True,
        "righthand_valid": True,
        "foot_valid": True,
    } | cells
    return {name: value for name, value in row.items() if value is not None}


def document(images: Sequence[Row], annotations: Sequence[Row]) -> str:
    """The text of a COCO file; NaN and rows that are no JSON are written as they are."""

    def rows(listed: Sequence[Row]) -> str:
        return ",\n".join(row if isinstance(row, str) else json.dumps(row) for row in listed)

    head = '{"info": {"year": 2017}, "licenses": [], "categories": [{"id": 1, "name": "person"}],'
    return f'{head}\n"images": [{rows(images)}],\n"annotations": [{rows(annotations)}]}}'


def write_labels(path: Path, images: Sequence[Row], annotations: Sequence[Row]) -> Path:
    """Write a COCO file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document(images, annotations))
    return path


def write_tree(
    root: Path,
    images: Sequence[Row],
    annotations: Sequence[Row],
    *,
    split: str = "val2017",
    folder: str = "images/",
    labels: Sequence[str] = ("wholebody",),
    pictures: bool = True,
) -> Path:
    """Write an MS COCO download with one split and return its root."""
    names = {
        "wholebody": f"coco_wholebody_{split.removesuffix('2017')}_v1.0.json",
        "body": f"person_keypoints_{split}.json",
    }
    for kind in labels:
        write_labels(root / "annotations" / names[kind], images, annotations)
    pixels = root / f"{folder}{split}"
    pixels.mkdir(parents=True, exist_ok=True)
    (pixels / "LICENCE").touch()  # an empty folder would count as missing
    for row in images if pictures else ():
        if isinstance(row, dict) and isinstance(row.get("file_name"), str):
            write_picture(pixels / row["file_name"], picture(row["width"], row["height"]))
    return root


def run(root: Path, out: Path, *, name: str = "mscoco", split: str = "val2017", **options: Any) -> Path:
    """Convert one split inline (unless ``workers`` says otherwise) and return its folder."""
    chosen: dict[str, Any] = {"workers": 0, "progress": False, "splits": [split]} | options
    (report,) = convert(name, root=root, out=out, **chosen)
    assert report.outcome.ok, report.outcome.failed
    return Path(report.plan.task.out)


def manifest(folder: Path) -> Manifest:
    """The manifest of a finished split."""
    return read_manifest(folder)


def records(folder: Path) -> list[dict[str, Any]]:
    """The rows of a finished split without images."""
    shards = open_shards(folder)
    return [shards.row(index) for index in range(len(shards))]


def sources(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """The annotation ids of some rows."""
    return [int(row["source_id"]) for row in rows]


def contents(folder: Path) -> dict[str, str]:
    """Name → sha256 of every file of a split but the manifest, which holds the time."""
    files = [path for path in folder.iterdir() if path.is_file() and path.name != "manifest.json"]
    return {path.name: file_sha256(path) for path in sorted(files)}


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings file and no variable of the user's counts; relative defaults lie in ``tmp_path``."""
    for name in [name for name in os.environ if name.startswith("HMTOOLS_") and name != "HMTOOLS_SAMPLES"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real data excerpts."""
    folder = os.environ.get("HMTOOLS_SAMPLES")
    if not folder:
        pytest.skip("HMTOOLS_SAMPLES is not set (folder that holds mscoco/)")
    return Path(folder)
