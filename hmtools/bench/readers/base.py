"""What every reader of predictions offers: a list of what there is, and numbers of any of them on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hmtools.bodies.model import VERTICES
from hmtools.core.atomic import file_sha256
from hmtools.core.errors import SchemaError

__all__ = ["BODY_WIDTHS", "Listed", "ReadColumns", "Reader", "digest", "family_of", "flat", "numbers"]

ReadColumns = dict[str, Any]
"""Column -> (n, ...) float32 array with NaN where there is nothing; ``gender``: n texts or None.

Names are those of the table of predictions, and ``vertices`` (n, V, 3). A column that nobody has is left out.
"""

BODY_WIDTHS: Mapping[str, Mapping[str, int | None]] = {
    "smplx": {
        "global_orient": 3,
        "body_pose": 63,
        "transl": 3,
        "left_hand_pose": 45,
        "right_hand_pose": 45,
        "jaw_pose": 3,
        "leye_pose": 3,
        "reye_pose": 3,
        "betas": None,
        "expression": None,
    },
    "smpl": {"global_orient": 3, "body_pose": 69, "transl": 3, "betas": None},
}
"""Numbers of each parameter of a family, rotations as axis-angle; None: as many as the method has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What N predictions say of whom they are about; a column that nobody states is None.

    Attributes:
        where: N names for messages.
        key: record keys, or None.
        image: paths or names of images, or None.
        person: number of the person in the image as the record counts, -1 where not stated; what a detector
            counted is not stated.
        source_index: as in the record, -1 where not stated.
        empty: N, whether the prediction has no body at all.
    """

    where: Sequence[str]
    key: Sequence[str | None] | None = None
    image: Sequence[str | None] | None = None
    person: NDArray[np.int64] | None = None
    source_index: NDArray[np.int64] | None = None
    empty: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.where)


class Reader(Protocol):
    """Predictions of one form.

    Attributes:
        listed: what there is.
        facts: what the predictions say of themselves, see :data:`hmtools.humandata.predictions.FACTS`.
        relative_hands: whether hand poses are relative to the mean hand of the SMPL-X model.
        joints2d_size: width and height of the image that ``joints2d`` is in, where that is not the record's.
    """

    listed: Listed
    facts: Mapping[str, Any]
    relative_hands: bool
    joints2d_size: tuple[int, int] | None

    def read(self, numbers: Sequence[int]) -> ReadColumns:
        """The numbers of some predictions, by their place in ``listed``.

        Raises:
            SchemaError: if a file is not what its first ones were (another body, another kind of numbers).
            AssetError, UnsafeFileError: if a file is damaged or refused.
        """

    def sha256(self) -> str:
        """Hex digest of all predictions; reads every byte."""


@dataclass(slots=True)
class Agreed:
    """What all predictions must have in common, told by the first."""

    first: dict[str, tuple[Any, str]] = field(default_factory=dict)

    def check(self, what: str, value: Any, where: str) -> None:
        """Remember a fact of the first prediction, and hold the others to it.

        Raises:
            SchemaError: naming both.
        """
        known, said = self.first.setdefault(what, (value, where))
        if known != value:
            raise SchemaError(
                f"predictions of different kinds together: {what} is {known} in {said} and {value} in "
                f"{where}; name the predictions of one model"
            )


def family_of(vertices: int, where: str) -> str:
    """The body family of a mesh.

    Raises:
        SchemaError: if no family has as many vertices.
    """
    for family in ("smplx", "smpl"):
        if VERTICES[family] == vertices:
            return family
    known = ", ".join(f"{name} {VERTICES[name]}" for name in ("smplx", "smpl"))
    raise SchemaError(f"{where}: a mesh of {vertices} vertices; bodies that can be measured have {known}")


def numbers(value: Any, where: str) -> NDArray[Any]:
    """What a file holds under some name, as an array of numbers.

    Raises:
        SchemaError: if it is none.
    """
    try:
        found = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise SchemaError(f"{where}: expected an array of numbers ({error})") from error
    if found.dtype.kind not in "fiu":
        raise SchemaError(f"{where}: expected an array of numbers, found {found.dtype} {found.shape}")
    return found


def flat(value: Any, width: int | None, where: str) -> NDArray[np.float32]:
    """One person's parameter as a vector of ``width`` numbers, whatever leading ones its shape has.

    Raises:
        SchemaError: for another number of numbers, or no numbers.
    """
    found = numbers(value, where)
    if (width is not None and found.size != width) or not found.size:
        wanted = "numbers" if width is None else f"{width} numbers"
        raise SchemaError(f"{where}: expected {wanted} of one person, found {found.dtype} {found.shape}")
    with np.errstate(over="ignore"):
        return found.reshape(-1).astype(np.float32)


def digest(files: Iterable[tuple[str, Path]]) -> str:
    """Hex digest of named files: names and contents, in the given order."""
    total = hashlib.sha256()
    for name, path in files:
        total.update(f"{name}\0{file_sha256(path)}\n".encode())
    return total.hexdigest()
