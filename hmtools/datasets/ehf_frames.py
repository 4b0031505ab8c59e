"""Which frames a copy of EHF has: by the names of its files, and by ``EHF.json`` where that is there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmtools.core.errors import LayoutError
from hmtools.core.image import ImageError, probe
from hmtools.datasets.base import Rejected
from hmtools.datasets.coco_values import whole

__all__ = ["Frame", "find_frames", "frame_files", "frame_folder", "frame_size"]

_NAME = re.compile(r"(?P<frame>(?!0+_)[0-9]{1,6})_(?P<kind>img(?=\.(?:png|jpg))|align(?=\.ply))\.[a-z]{3}")
_SIZE = (1600, 1200)  # width, height, where neither EHF.json nor the image says it


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: its NN, its place in the reference order, and its rows of EHF.json (None without)."""

    name: str
    source_index: int
    image: Mapping[str, Any] | None = None
    annotation: Mapping[str, Any] | None = None


def frame_folder(root: Path) -> Path:
    """Where the files of the frames lie: ``data/``, or the root itself."""
    return root / "data" if frame_files(root / "data") else root


def frame_files(folder: Path) -> list[re.Match[str]]:
    """The meshes and images in a folder: ``frame`` is the NN of each, ``kind`` is img or align."""
    paths = folder.iterdir() if folder.is_dir() else ()
    return [found for path in paths if (found := _NAME.fullmatch(path.name))]


def find_frames(folder: Path) -> tuple[list[Frame], list[Rejected]]:
    """The frames by number, and what is wrong with the rest.

    Raises:
        LayoutError: if EHF.json is there and is no JSON with images and annotations.
    """
    names = {found["frame"] for found in frame_files(folder)}
    labels = folder / "EHF.json"
    if not labels.is_file():
        return [Frame(name, int(name) - 1) for name in sorted(names, key=int)], []
    try:
        data = json.loads(labels.read_bytes())
        rows = {row["id"]: row for row in data["images"] if isinstance(row, dict) and _is_id(row.get("id"))}
        annotations = list(data["annotations"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise LayoutError(
            f"{labels}: expected JSON with lists `images` and `annotations` ({error!r:.80}); copy it again, "
            "or take it away: boxes then come from the meshes"
        ) from error
    return _labelled(rows, annotations, names)


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str)


def _labelled(
    images: Mapping[int | str, Any], annotations: Sequence[Any], names: set[str]
) -> tuple[list[Frame], list[Rejected]]:
    frames: dict[str, Frame] = {}
    rejected = []
    for index, row in enumerate(annotations):
        where = f"EHF.json annotations[{index}]"
        try:
            image = images[row["image_id"]]
            found = _NAME.fullmatch(image["file_name"])
            if found is None or found["kind"] != "img":
                raise ValueError(f"file_name: expected NN_img.png or .jpg, found {image['file_name']!r:.40}")
            if found["frame"] in frames:
                rejected.append(
                    Rejected("duplicate_annotation", where, f"frame {found['frame']} has another")
                )
                continue
            frames[found["frame"]] = Frame(found["frame"], index, image, row)
        except KeyError as error:
            rejected.append(Rejected("broken_row", where, f"has no {error}, or names no image"))
        except (TypeError, ValueError) as error:
            rejected.append(Rejected("broken_row", where, str(error)))
    lost = sorted(names - frames.keys(), key=int)
    rejected += [Rejected("no_annotation", f"{name}_align.ply", "not in EHF.json") for name in lost]
    return sorted(frames.values(), key=lambda frame: int(frame.name)), rejected


def frame_size(frame: Frame, image: Path) -> tuple[int, int]:
    """Width and height in pixels: as EHF.json says, else those of the image file.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: if EHF.json holds no such numbers.
    """
    if frame.image is not None:
        return whole(frame.image, "width"), whole(frame.image, "height")
    try:
        found = probe(image.read_bytes())
    except (ImageError, FileNotFoundError, IsADirectoryError):
        return _SIZE  # whoever stores the image rejects the person, with the reason
    return (found.width, found.height) if found.width and found.height else _SIZE
