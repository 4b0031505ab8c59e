"""AGORA's dataframes: pickles with a row per image, whose cells are lists with an entry per person.

A pickle holds the joints and, in the release's form with joints and vertices (``_withjv``), the mesh of each
person too: up to 1.3 GB for the 10 000 people of a training dataframe. It can be read as a whole only, so
one dataframe is one unit of work, and the memory a worker needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hmtools.core.errors import CountedError, LayoutError
from hmtools.core.pickle_pandas import PickledFrame
from hmtools.core.safe_pickle import load_pickle
from hmtools.datasets.agora_camera import person_to_camera, scene_camera
from hmtools.datasets.agora_fits import Refits, find_fit, read_fit
from hmtools.datasets.agora_person import JOINTS, VERTICES, AgoraPerson, points
from hmtools.datasets.agora_tree import AgoraFamily, ImageFolder, folder_of
from hmtools.datasets.base import Rejected
from hmtools.engine.job import Unit

__all__ = ["FrameUnit", "count_rows", "plan_dataframes", "read_dataframe"]

_PLACED = ("camX", "camY", "camZ", "camYaw")
_NEEDED = ("X", "Y", "Z", "Yaw", "gender", "kid", "occlusion", "isValid", "gt_joints_2d", "gt_joints_3d")
_PEOPLE = 7  # valid people of an image, on average
_KEPT = 4096  # fits: a scan is seen in many images


@dataclass(frozen=True, slots=True)
class FrameUnit:
    """Payload of a unit: one dataframe.

    Attributes:
        file: its path below the root.
        folder: of its images, which is the sequence.
        stored: where they are.
        frame: number of its first image in the sequence.
        source_index: number of its first person in the sequence.
        mesh: take the vertices, too.
        lost: dataframes without images, told by the first unit.
    """

    file: str
    folder: str
    stored: ImageFolder
    frame: int = 0
    source_index: int = 0
    mesh: bool = False
    lost: tuple[Rejected, ...] = ()


def _load(path: Path) -> PickledFrame:
    found = load_pickle(path)
    if not isinstance(found, PickledFrame) or "imgPath" not in found.columns:
        raise LayoutError(
            f"{path}: expected a pandas dataframe with a column imgPath, found {type(found).__name__}; "
            "fetch it again"
        )
    return found


def count_rows(path: Path) -> tuple[int, int]:
    """Images and people of a dataframe; this reads it.

    Raises:
        LayoutError, AssetError, UnsafeFileError: if it is no dataframe, damaged, or asks for more than data.
    """
    frame = _load(path)
    people = frame.columns.get("isValid", ())
    return len(frame), sum(len(cell) for cell in people if isinstance(cell, list | tuple | np.ndarray))


def plan_dataframes(
    root: Path,
    split: str,
    paths: Sequence[Path],
    find_images: Callable[[str], ImageFolder | Rejected],
    *,
    mesh: bool,
) -> list[Unit]:
    """One unit per dataframe; frames are counted on through those that share a folder of images.

    A training dataframe has a folder of its own, where its images are counted, and their people guessed.
    Those of validation (1.2 GB with vertices of single precision) are read for it, in some seconds.

    Args:
        root: the download.
        split: official name.
        paths: of its dataframes, in order.
        find_images: of the name of a folder, where its images are, or what is told of one that is not there.
        mesh: take the vertices, too.

    Raises:
        LayoutError, AssetError, UnsafeFileError: as :func:`count_rows`, or if there are no images at all.
    """
    units: list[Unit] = []
    frame = source_index = 0
    found = [(path, find_images(folder_of(path, split))) for path in paths]
    lost = tuple(dict.fromkeys(place for _, place in found if isinstance(place, Rejected)))
    for path, stored in found:
        if isinstance(stored, Rejected):
            continue
        name, folder = path.relative_to(root).as_posix(), folder_of(path, split)
        payload = FrameUnit(name, folder, stored, frame, source_index, mesh, () if units else lost)
        if split == "train":
            images = sum(file.suffix == ".png" for file in (root / stored.folder).iterdir())
            people = _PEOPLE * images
        else:
            images, people = count_rows(path)
            frame, source_index = frame + images, source_index + people
        units.append(
            Unit(
                index=len(units),
                name=path.name,
                payload=payload,
                expected=people,
                images=images,
                sequences=(folder,),
            )
        )
    if not units:
        raise LayoutError(f"{root}: {split} has no images; expected {lost[0].detail}")
    return units


def read_dataframe(
    root: Path, unit: FrameUnit, family: AgoraFamily, fits: Path, neutral: Path | None
) -> Iterator[AgoraPerson | Rejected]:
    """The people of a dataframe, row by row.

    Args:
        root: the download.
        unit: which dataframe.
        family: whose joints, vertices and fits.
        fits: folder ``smplx_gt`` or ``smpl_gt``.
        neutral: folder with the refits to the neutral model, or None.

    Raises:
        LayoutError, AssetError, UnsafeFileError: as :func:`count_rows`, and for missing columns.
    """
    yield from unit.lost
    path = root / unit.file
    columns = _load(path).columns
    wanted = [*_NEEDED, f"gt_path_{family}", *(["gt_verts"] if unit.mesh else [])]
    if lost := [name for name in wanted if name not in columns]:
        raise LayoutError(
            f"{path}: has no {', '.join(lost)}; expected a {family.upper()} dataframe with joints and "
            "vertices (*_withjv.pkl)"
        )
    reader = _Reader(path.name, unit, family, fits, neutral)
    source_index = unit.source_index
    for number in range(len(columns["imgPath"])):
        row = {name: cells[number] for name, cells in columns.items()}
        where = f"{path.name} row {number}"
        try:
            count = _people(row, wanted)
        except (TypeError, ValueError) as error:
            yield Rejected("broken_row", where, str(error))
            continue
        for person in range(count):
            yield reader.person(row, unit.frame + number, person, source_index + person)
        source_index += count


def _people(row: Mapping[str, Any], names: list[str]) -> int:
    if not isinstance(row["imgPath"], str) or not row["imgPath"]:
        raise TypeError(f"imgPath: expected a name, found {row['imgPath']!r:.40}")
    counts = {name: _count(name, row[name]) for name in names}
    if len(set(counts.values())) > 1:
        raise ValueError(f"{row['imgPath']}: expected lists of one length, found {counts}")
    return next(iter(counts.values()))


def _count(name: str, cell: Any) -> int:
    if not isinstance(cell, list | tuple | np.ndarray):
        raise TypeError(f"{name}: expected a list with an entry per person, found {cell!r:.40}")
    return len(cell)


class _Reader:
    """Makes people of rows, and remembers the fits of scans it has seen."""

    def __init__(
        self, file: str, unit: FrameUnit, family: AgoraFamily, fits: Path, neutral: Path | None
    ) -> None:
        self.file, self.unit, self.family = file, unit, family
        self.fits, self.refits = fits, Refits(neutral)
        self.fit = lru_cache(maxsize=_KEPT)(read_fit)

    def person(
        self, row: Mapping[str, Any], frame: int, person: int, source_index: int
    ) -> AgoraPerson | Rejected:
        where = f"{row['imgPath']} person {person}"
        try:
            if not _flag(row["isValid"][person], "isValid"):
                return Rejected("not_valid", where, "isValid is false", by_rule=True)
            return self._valid(row, frame, person, source_index)
        except CountedError as error:
            return Rejected(error.reason, where, error.detail)
        except (TypeError, ValueError, OverflowError) as error:
            return Rejected("broken_row", where, str(error))

    def _valid(self, row: Mapping[str, Any], frame: int, person: int, source_index: int) -> AgoraPerson:
        own = {name: row[name][person] for name in _NEEDED}
        name = _text(row[f"gt_path_{self.family}"][person], f"gt_path_{self.family}")
        joints, vertices = JOINTS[self.family], VERTICES[self.family]
        camera = scene_camera(row["imgPath"])
        if camera.position is None:
            camera = scene_camera(row["imgPath"], [_number(row.get(key), key) for key in _PLACED])
        place = [_number(own[key], key) for key in ("X", "Y", "Z")]
        other = {key: row[key][person] for key in ("age", "ethnicity") if key in row}
        mesh = points(row["gt_verts"][person], vertices, 3, "gt_verts") if self.unit.mesh else None
        kid = _flag(own["kid"], "kid")
        return AgoraPerson(
            image=row["imgPath"],
            sequence=self.unit.folder,
            frame=frame,
            person=person,
            source_index=source_index,
            joints2d=points(own["gt_joints_2d"], joints, 2, "gt_joints_2d"),
            joints3d=points(own["gt_joints_3d"], joints, 3, "gt_joints_3d"),
            mesh=mesh,
            gender=_text(own["gender"], "gender"),
            kid=kid,
            occlusion=_number(own["occlusion"], "occlusion"),
            fit=self.fit(find_fit(self.fits, name)),
            betas_neutral=self.refits.betas(name, kid=kid),
            to_camera=person_to_camera(camera, place, _number(own["Yaw"], "Yaw")),
            meta={"gt_path": name, **{key: str(value) for key, value in other.items()}},
        )


def _flag(value: Any, name: str) -> bool:
    """True or false, or 1 or 0; text such as "False" would count as true."""
    if not isinstance(value, bool | int | float | np.bool_ | np.number) or value not in (0, 1):
        raise TypeError(f"{name}: expected true or false, found {value!r:.40}")
    return bool(value)


def _number(value: Any, name: str) -> float:
    """A number; NaN where the cell is empty."""
    if value is None:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{name}: expected a number, found {value!r:.40}")
    return float(value)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{name}: expected text, found {value!r:.40}")
    return value
