"""Self-contained HTML pages: the contact sheet of people.

A page is one file without any external load (its Content-Security-Policy forbids them): thumbnails are data
URIs, overlays are inline SVG, style and script stand in the file and are pinned by their hashes. Nothing in
it depends on the time or the machine, so equal input gives equal bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
import numpy.typing as npt

from hmtools.core.atomic import write_bytes
from hmtools.core.errors import UsageError
from hmtools.geometry.crop import compose_affine, crop_window
from hmtools.viz.overlay import (
    COLOURS,
    LOW_CONFIDENCE,
    Mark,
    box_marks,
    check_image,
    seen_joints,
    skeleton_marks,
)

__all__ = ["THUMBNAIL_SIDE", "Tile", "about_person", "contact_sheet", "page_template", "thumbnail_uri"]

THUMBNAIL_SIDE = 384
"""Longest side, in pixels, of an embedded image; smaller ones are not enlarged."""

_JPEG_QUALITY = 85
_SURROUNDINGS = 1.6  # side of the window of about_person over the long side of the body box
_SHAPES = ("box", "bone", "joint")  # drawn in this order
_SUBTITLE = ("dataset", "split")
_RIGHTS = ("licence", "citation")
_RECORDS = "records"
# Shape of every tile's field (width / height): the one nearest to the median image wastes the least paper.
_FIELDS = {"tall": 3 / 4, "square": 1.0, "broad": 4 / 3, "wide": 16 / 9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One person on the sheet.

    Attributes:
        key: record key; any characters.
        image: (H, W, 3) uint8 RGB, upright, crop or full frame; None when the record has no image.
        affine: (2, 3), upright **original** pixel centres → pixel centres of ``image``; None is the identity.
        boxes: name (``body``, ``left hand``, ``right hand``, ``face``) → (5,) x, y, w, h, conf in upright
            original pixels; boxes with confidence 0 are not drawn.
        keypoints: (K, 3) x, y, conf in upright original pixels, or None; confidence 0 or NaN is not drawn,
            up to :data:`~hmtools.viz.overlay.LOW_CONFIDENCE` dimmed.
        convention: name of the keypoints' convention in :mod:`hmtools.humandata.keypoints`, or None.
        caption: small facts shown under the tile, in order. Key and visible keypoints are shown anyway.
        note: a remark, such as why there is no image.
    """

    key: str
    image: npt.NDArray[np.uint8] | None
    affine: npt.NDArray[np.floating[Any]] | None
    boxes: Mapping[str, npt.NDArray[np.floating[Any]]]
    keypoints: npt.NDArray[np.floating[Any]] | None
    convention: str | None
    caption: Mapping[str, str]
    note: str = ""


def about_person(tile: Tile) -> Tile:
    """Cut a tile's image to the person's surroundings, at full resolution.

    In a thumbnail of a full frame a person may be a few dozen pixels tall and nobody can judge the joints:
    map this over the tiles of full frames first.

    Args:
        tile: any tile.

    Returns:
        The tile with a smaller ``image``, the ``affine`` that fits it and a caption ``shown`` that says
        how much of how large a stored image is seen; the same tile when it has no image, no body box with
        confidence above 0, or a box that misses the image or fills it.

    Raises:
        UsageError: if the body box, the affine or the image has a wrong shape or type.
    """
    body = box_marks({name: box for name, box in tile.boxes.items() if name == "body"}, tile.affine)
    if tile.image is None or not body:
        return tile
    check_image(tile.image)
    height, width = tile.image.shape[:2]
    low, high = body[0].points.min(axis=0), body[0].points.max(axis=0)
    box = np.concatenate([low, high - low])
    window = crop_window(box, width, height, box_ratio=1.0, factor=_SURROUNDINGS)
    if window is None or (window.width, window.height) == (width, height):
        return tile
    shift = window.affine((window.width, window.height))
    seen = f"{window.width} x {window.height}"
    return replace(
        tile,
        image=tile.image[window.y0 : window.y1, window.x0 : window.x1],
        affine=shift if tile.affine is None else compose_affine(shift, tile.affine),
        caption={**tile.caption, "shown": f"{seen} px, cut from {width} x {height}"},
    )


def contact_sheet(tiles: Iterable[Tile], *, title: str, facts: Mapping[str, str], out: Path) -> Path:
    """Write a contact sheet of people as one HTML file that needs no network.

    Args:
        tiles: the people, in the order of the page; read once, one image in memory at a time.
        title: heading of the page.
        facts: what the header tells, in order. ``dataset`` and ``split`` form the subtitle, ``records`` is
            the total that the tiles were taken from ("14 of 5 000 records shown"), ``licence`` and
            ``citation`` the closing line; all others stand in the table of counts.
        out: the file to write; its folder must exist.

    Returns:
        ``out``.

    Raises:
        UsageError: if a tile's arrays have wrong shapes or types (the message names the key).
        OSError: if the file cannot be written; nothing is left under its name then.
    """
    cells = [_cell(tile) for tile in tiles]
    special = {*_SUBTITLE, *_RIGHTS, _RECORDS}
    html = page_template("hmtools.viz", "contact_sheet.html").render(
        title=title,
        subtitle=[facts[name] for name in _SUBTITLE if facts.get(name)],
        shown=len(cells),
        records=facts.get(_RECORDS, ""),
        rights={name: facts[name] for name in _RIGHTS if facts.get(name)},
        counts={name: value for name, value in facts.items() if name not in special},
        cells=cells,
        field=_field(cells),
        colours={tone: "#{:02x}{:02x}{:02x}".format(*rgb) for tone, rgb in COLOURS.items()},
        low_confidence=LOW_CONFIDENCE,
    )
    # A file name that is no UTF-8 reaches Python with lone surrogates; they must not cost the whole page.
    write_bytes(out, html.encode("utf-8", errors="backslashreplace"))
    return out


@cache
def page_template(package: str, name: str) -> jinja2.Template:
    """A template of a package, beside those that all pages share.

    Args:
        package: that has a folder ``templates``.
        name: of a file in it.
    """
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(each) for each in (package, "hmtools.viz")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["csp_hash"] = _csp_hash
    return environment.get_template(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    """A tile as the template needs it; lengths in pixels of the tile's image."""

    key: str
    image_uri: str
    left: float
    top: float
    width: float
    height: float
    paths: list[tuple[str, str]]  # (class names, SVG path data)
    summary: str
    caption: dict[str, str]
    note: str


def _cell(tile: Tile) -> _Cell:
    affine = None if tile.image is None else tile.affine
    try:
        marks = box_marks(tile.boxes, affine)
        if tile.keypoints is not None:
            marks += skeleton_marks(tile.keypoints, tile.convention, affine)
        if tile.image is not None:
            check_image(tile.image)
    except UsageError as error:
        raise UsageError(f"tile {tile.key!r}: {error}") from error
    left, top, width, height = _extent(tile, marks)
    caption = dict(tile.caption)
    if tile.keypoints is not None:
        seen = seen_joints(np.asarray(tile.keypoints))
        caption["keypoints"] = f"{int(seen.sum())} of {len(seen)} visible"
    drawn = [name for name in tile.boxes if box_marks({name: tile.boxes[name]})]
    return _Cell(
        key=tile.key,
        image_uri="" if tile.image is None else thumbnail_uri(tile.image),
        left=left,
        top=top,
        width=width,
        height=height,
        paths=_paths(marks),
        summary=f"boxes: {', '.join(drawn) or 'none'}; keypoints: {caption.get('keypoints', 'none')}",
        caption=caption,
        note=tile.note or ("" if tile.image is not None else "no image"),
    )


def _extent(tile: Tile, marks: list[Mark]) -> tuple[float, float, float, float]:
    """Left, top, width, height of the drawing: the image from edge to edge, else what there is to draw."""
    if tile.image is not None:
        # Pixel centres are integers, so the first pixel begins half a pixel before 0.
        return -0.5, -0.5, float(tile.image.shape[1]), float(tile.image.shape[0])
    if not marks:
        return 0.0, 0.0, 1.0, 1.0
    points = np.concatenate([mark.points for mark in marks])
    low, size = points.min(axis=0), np.ptp(points, axis=0)
    margin = max(0.05 * float(size.max()), 1.0)
    left, top = (low - margin).tolist()
    width, height = (size + 2 * margin).tolist()
    return left, top, width, height


def thumbnail_uri(image: npt.NDArray[np.uint8]) -> str:
    """A JPEG of an image as a data URI, no side longer than :data:`THUMBNAIL_SIDE`.

    Args:
        image: (H, W, 3) uint8 RGB.
    """
    height, width = image.shape[:2]
    scale = min(1.0, THUMBNAIL_SIDE / max(height, width))
    small = np.ascontiguousarray(image)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(small, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), quality)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")


def _paths(marks: list[Mark]) -> list[tuple[str, str]]:
    """Few elements per tile: one path for all marks that look alike, faint ones first, joints last."""
    groups: dict[tuple[int, bool, bool, str], list[str]] = {}
    for mark in marks:
        look = (_SHAPES.index(mark.shape), not mark.dim, mark.fine, mark.tone)
        groups.setdefault(look, []).append(_path_data(mark))
    return [
        (
            " ".join([_SHAPES[shape], tone, *(["dim"] if not clear else []), *(["fine"] if fine else [])]),
            "".join(groups[shape, clear, fine, tone]),
        )
        for shape, clear, fine, tone in sorted(groups)
    ]


def _path_data(mark: Mark) -> str:
    x, y = mark.points.T.tolist()
    steps = [f"{round(a, 2):g} {round(b, 2):g}" for a, b in zip(x, y, strict=True)]
    # A line of no length with round caps is a dot whose size, like every stroke's here, is in screen pixels.
    tail = {"box": "Z", "bone": "", "joint": "h0"}[mark.shape]
    return f"M{'L'.join(steps)}{tail}"


def _field(cells: list[_Cell]) -> str:
    shapes = [cell.width / cell.height for cell in cells if cell.image_uri] or [1.0]
    middle = float(np.median(shapes))
    return min(_FIELDS, key=lambda name: abs(np.log(_FIELDS[name] / middle)))


def _csp_hash(text: str) -> str:
    """What a Content-Security-Policy lists to admit exactly this inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
