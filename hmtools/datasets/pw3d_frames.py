"""How 3DPW is cut into units, and what its image folders say: how many frames, of which size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hmtools.core.image import ImageError, probe
from hmtools.datasets.pw3d_published import Published, Stray, Table
from hmtools.datasets.pw3d_sequences import Recording
from hmtools.engine.job import Unit

__all__ = ["FRAMES_PER_UNIT", "Frames", "image_name", "image_size", "plan_frames"]

FRAMES_PER_UNIT = 512
"""The longest sequences have four times as many."""

_IMAGE = re.compile(r"image_\d{5,6}\.jpg")
_PORTRAIT = (1080, 1920)


@dataclass(frozen=True, slots=True)
class Frames:
    """Payload of a unit: frames ``first`` to before ``last`` (None: to the end) of one sequence.

    ``rows`` are those of the published file, None without one; ``strays`` its rows that are of no sequence.
    """

    split: str
    sequence: str
    first: int
    last: int | None
    rows: Table | None
    strays: tuple[Stray, ...] = ()


def image_name(frame: int) -> str:
    """The file of a frame, counted from 0."""
    return f"image_{frame:05d}.jpg"


def plan_frames(
    split: str, sequences: Sequence[str], images: Path, published: Published | None
) -> list[Unit]:
    """Cut sequences by the number of their images; the files of the sequences are not opened.

    Args:
        split: official split name.
        sequences: names in order.
        images: the folder with one folder per sequence.
        published: rows that were scanned, or None.
    """
    units: list[Unit] = []
    for sequence in sequences:
        folder = images / sequence
        count = (
            sum(_IMAGE.fullmatch(path.name) is not None for path in folder.iterdir())
            if folder.is_dir()
            else 0
        )
        cuts = range(0, max(count, 1), FRAMES_PER_UNIT)
        for first in cuts:
            last = first + FRAMES_PER_UNIT
            rows = published.rows[sequence] if published else None
            if rows is not None:
                rows = rows[(rows[:, 0] >= first) & ((rows[:, 0] < last) | (first == cuts[-1]))]
            own = min(FRAMES_PER_UNIT, count - first)
            units.append(
                Unit(
                    index=len(units),
                    name=f"{sequence} {first}-{first + max(own, 1) - 1}",
                    # Images may be missing: the last unit goes on as far as the sequence file does.
                    payload=Frames(split, sequence, first, None if first == cuts[-1] else last, rows),
                    expected=own if rows is None else len(rows),
                    images=own,
                    sequences=(sequence,),
                )
            )
    strays = published.strays if published else ()
    return [replace(units[0], payload=replace(units[0].payload, strays=strays)), *units[1:]]


def image_size(folder: Path, recording: Recording) -> tuple[int, int]:
    """Width and height in pixels of the frames of a sequence, by the header of the first sound image.

    Where there is none, portrait or landscape in the size of the release, as the principal point says;
    whoever stores the images rejects them, with the reason.
    """
    for frame in range(len(recording)):
        try:
            found = probe((folder / image_name(frame)).read_bytes())
        except (ImageError, FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        if found.width and found.height:
            return found.width, found.height
    across, down = recording.principal_point
    return _PORTRAIT if across < down else (_PORTRAIT[1], _PORTRAIT[0])
