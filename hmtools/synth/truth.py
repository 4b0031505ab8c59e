"""What a miniature knows about itself: hidden files beside the official tree.

``.hmtools-miniature.json`` marks the folder as synthetic; ``.hmtools-truth.json`` holds what a conversion of
it must give, person by person, under the names of the record's columns, and ``.hmtools-truth.npz`` the bodies
as points. Readers of the dataset never look at them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from hmtools.core.atomic import AtomicFile, write_bytes
from hmtools.core.errors import HmtoolsError, LayoutError, SchemaError
from hmtools.core.safe_pickle import load_npz

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["MARKER", "MESHES", "TRUTH", "ImageTruth", "PersonTruth", "Truth", "read_truth", "write_truth"]

MARKER = ".hmtools-miniature.json"
"""Name of the marker file at the root of every miniature."""
TRUTH = ".hmtools-truth.json"
"""Name of the file with the exact truth."""
BODIES = ".hmtools-truth.npz"
"""Name of the file with the joints and vertices of the people."""
MESHES = 64
"""People of a miniature whose vertices are kept, by body family; the joints of all are."""

_TYPES = {"joints": np.float64, "vertices": np.float32}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTruth:
    """One image of a miniature.

    Attributes:
        split: official split name.
        file: path below the root, of the image or of the video that holds it.
        source_id: the release's number or name of the image.
        frame: position in the release's list or in the video; the blue channel codes it.
        width: width in pixels of the upright image, in which the labels are.
        height: height in pixels.
        colour: false for a grayscale or rendered picture, whose positions cannot be decoded.
        orientation: EXIF orientation tag in the file (1 = none); the labels ignore it.
        image_op: what makes the stored image upright, as in the record.
        people: annotations of this image, rejected ones and crowd regions included.
    """

    split: str
    file: str
    source_id: str
    frame: int
    width: int
    height: int
    colour: bool = True
    orientation: int = 1
    image_op: str = "none"
    people: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PersonTruth:
    """One annotation of a miniature, and the record that it must become.

    Attributes:
        split: official split name.
        file: path of the image below the root.
        source_id: what the record's ``source_id`` must be.
        columns: column of the record -> what a conversion must store there, in the record's own units and
            frames (bodies in the camera frame are not here: they are proven by ``vertices``); None where it
            must be null. A column that is not named is not checked.
        family: body family of ``joints`` and ``vertices``; empty without a body.
        joints: (K, 3) float64 metres, camera frame, the family's own joints; None without a body.
        vertices: (V, 3) float32 metres, camera frame; None without a body, and beyond the first
            :data:`MESHES` people.
        mesh: the source has the body's mesh itself, so the shards must hold ``vertices`` beside parameters.
        rejected: why a converter must leave the person out, in plain words; None when it must be kept.
        quirks: names of the oddities this person was made for.
    """

    split: str
    file: str
    source_id: str
    columns: Mapping[str, Any]
    family: str = ""
    joints: NDArray[np.float64] | None = None
    vertices: NDArray[np.float32] | None = None
    mesh: bool = False
    rejected: str | None = None
    quirks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Everything a miniature knows about itself; images and people in the release's order, split by split."""

    layout: str
    seed: int
    images: tuple[ImageTruth, ...]
    people: tuple[PersonTruth, ...]


def write_truth(
    root: Path, layout: str, seed: int, images: Iterable[ImageTruth], people: Sequence[PersonTruth]
) -> None:
    """Write the truth of a miniature; what cannot be said in JSON goes into the npz.

    Raises:
        SchemaError: if somebody has vertices or joints but no family.
    """
    bodies: dict[tuple[str, str], dict[int, NDArray[Any]]] = {}
    for number, person in enumerate(people):
        for points, kept in (("joints", len(people)), ("vertices", MESHES)):
            found = getattr(person, points)
            if found is None:
                continue
            if not person.family:
                raise SchemaError(f"person {number} of the truth has {points} but no body family")
            group = bodies.setdefault((person.family, points), {})
            if len(group) < kept:
                group[number] = found
    arrays: dict[str, NDArray[Any]] = {}
    for (family, points), group in bodies.items():
        arrays[f"{family}.{points}"] = np.stack(list(group.values())).astype(_TYPES[points])
        arrays[f"{family}.{points}.people"] = np.array(list(group), np.int64)
    with AtomicFile(root / BODIES) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type] # any writable binary file
    rows = {
        "images": [_row(image) for image in images],
        "people": [_row(person, without=tuple(_TYPES)) for person in people],
    }
    head = [f'"layout": {json.dumps(layout)}', f'"seed": {seed}']
    lists = [f'"{name}": [\n' + ",\n".join(items) + "\n]" for name, items in rows.items()]
    write_bytes(root / TRUTH, ("{" + ",\n".join([*head, *lists]) + "}\n").encode())


def _row(value: Any, without: tuple[str, ...] = ()) -> str:
    # One row of text at a time: as Python numbers a large miniature would need gigabytes.
    names = [item.name for item in fields(value) if item.name not in without]
    return json.dumps({name: getattr(value, name) for name in names}, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no truth")


def read_truth(root: Path) -> Truth:
    """Read the truth of the miniature at ``root``.

    Raises:
        LayoutError: if ``root`` is no finished miniature.
        SchemaError: if its truth files are damaged or of another version.
    """
    path = root / TRUTH
    try:
        data = json.loads(path.read_bytes())
        bodies = load_npz(root / BODIES)
    except (FileNotFoundError, LayoutError):
        raise LayoutError(
            f"{root} is no finished miniature: {TRUTH} or {BODIES} is missing. Make one with "
            f"`hmtools synth mscoco --out DIR`"
        ) from None
    except (ValueError, HmtoolsError) as error:
        raise SchemaError(f"{path} cannot be read ({error}); make the miniature again") from error
    try:
        return Truth(
            layout=data["layout"],
            seed=data["seed"],
            images=tuple(ImageTruth(**row) for row in data["images"]),
            people=_people(data["people"], bodies),
        )
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise SchemaError(
            f"{path} does not hold what this version of hmtools writes ({error!r}); make the miniature again"
        ) from error


def _people(rows: list[dict[str, Any]], bodies: Mapping[str, NDArray[Any]]) -> tuple[PersonTruth, ...]:
    points: list[dict[str, NDArray[Any]]] = [{} for _ in rows]
    for name, owners in bodies.items():
        if name.endswith(".people"):
            key = name.removesuffix(".people")
            for number, found in zip(owners.tolist(), bodies[key], strict=True):
                points[number][key] = found
    return tuple(_person(row, found) for row, found in zip(rows, points, strict=True))


def _person(row: dict[str, Any], points: Mapping[str, NDArray[Any]]) -> PersonTruth:
    columns = {
        name: np.array(value, np.float64) if isinstance(value, list) else value
        for name, value in row["columns"].items()
    }
    found = {name: points.get(f"{row['family']}.{name}") for name in _TYPES}
    if row["family"] and found["joints"] is None:
        raise ValueError(f"person {row['source_id']} has a body without joints")
    return PersonTruth(**{**row, "columns": columns, "quirks": tuple(row["quirks"]), **found})
