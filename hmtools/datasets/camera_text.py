"""Cameras in text files whose format nobody published: numbers under names, or in the order that is usual.

Accepted are names with numbers behind or below them (``rotation: [x, y, z]``, JSON, YAML, comments as names),
and files of nothing but numbers: rotation, translation, focal length, principal point. A rotation has three
numbers (axis-angle, radians) or nine (matrix, row by row), a focal length one or two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from hmtools.core.errors import LayoutError
from hmtools.core.image import opencv

__all__ = ["TextCamera", "parse_camera", "read_camera"]

_MAX_BYTES = 1 << 16
# part, what a word of its name looks like, how many numbers it may have; in the order of files without names
_PARTS = (
    ("rotation", r"rot\w*|orient\w*|rvec|r", (3, 9)),
    ("translation", r"trans\w*|tvec|t", (3,)),
    ("focal", r"focal\w*|f", (1, 2)),
    ("principal", r"princip\w*|cent(er|re)|c|pp", (2,)),
)
_TOKEN = re.compile(r"(?P<word>[^\W\d_]+)|(?P<number>[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?)")
_FORMS = (
    "expected rotation (3 or 9 numbers), translation (3), focal length (1 or 2) and principal point (2), "
    "each under its name, or nothing but these numbers in this order"
)


@dataclass(frozen=True, slots=True, eq=False)
class TextCamera:
    """A pinhole camera.

    Attributes:
        world_to_cam: (3, 4) float64 ``[R | t]``, metres, ``x_cam = R x + t``.
        focal_length: (2,) fx, fy in pixels.
        principal_point: (2,) cx, cy in pixels.
    """

    world_to_cam: Float[np.ndarray, "3 4"]
    focal_length: Float[np.ndarray, 2]
    principal_point: Float[np.ndarray, 2]

    @classmethod
    def of(
        cls, rotation: list[float], translation: list[float], focal: list[float], principal: list[float]
    ) -> TextCamera:
        """The camera of these numbers.

        Raises:
            ValueError: if they are not finite, the matrix is no rotation or a focal length not positive.
        """
        if not np.isfinite([*rotation, *translation, *focal, *principal]).all():
            raise ValueError("not every number is finite")
        turned = np.array(rotation, np.float64)
        turned = opencv().Rodrigues(turned)[0] if len(turned) == 3 else turned.reshape(3, 3)
        if np.abs(turned @ turned.T - np.eye(3)).max() > 1e-3 or np.linalg.det(turned) < 0:
            raise ValueError("the nine numbers of the rotation are no rotation matrix")
        if min(focal) <= 0:
            raise ValueError(f"a focal length is {min(focal)}")
        return cls(
            np.column_stack([turned, np.array(translation, np.float64)]),
            np.array([focal[0], focal[-1]], np.float64),
            np.array(principal, np.float64),
        )

    def agrees(self, other: TextCamera) -> bool:
        """Whether both project to the same pixels but for rounding (0.1 mm or mrad, 0.01 px)."""
        return bool(
            np.allclose(self.world_to_cam, other.world_to_cam, rtol=0, atol=1e-4)
            and np.allclose(self.focal_length, other.focal_length, rtol=0, atol=0.01)
            and np.allclose(self.principal_point, other.principal_point, rtol=0, atol=0.01)
        )


def read_camera(path: Path) -> TextCamera:
    """Read a camera from a text file.

    Raises:
        OSError: if it cannot be opened.
        LayoutError: if it does not say a camera, with what was expected.
    """
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    try:
        if len(data) > _MAX_BYTES:
            raise ValueError(f"more than {_MAX_BYTES} bytes")
        return parse_camera(data.decode())
    except ValueError as error:
        raise LayoutError(f"{path}: no camera could be read from it ({error}); {_FORMS}") from error


def parse_camera(text: str) -> TextCamera:
    """The camera that a text says.

    Raises:
        ValueError: with what is missing, repeated or of the wrong length.
    """
    groups = _groups(text)
    if not any(words for words, _ in groups):
        return TextCamera.of(**_in_order([number for _, numbers in groups for number in numbers]))
    found: dict[str, list[float]] = {}
    for words, numbers in groups:
        named = [part for part, pattern, _ in _PARTS if any(re.fullmatch(pattern, word) for word in words)]
        if len(named) > 1:
            raise ValueError(f"{' '.join(words)[:60]!r} names {' and '.join(named)} at once")
        for part in named:
            if part in found:
                raise ValueError(f"{part} occurs twice")
            found[part] = numbers
    for part, _, counts in _PARTS:
        if len(found.get(part, ())) not in counts:
            raise ValueError(f"{part}: found {len(found.get(part, ()))} numbers")
    return TextCamera.of(**found)


def _groups(text: str) -> list[tuple[list[str], list[float]]]:
    """The words before each run of numbers, lower case, and the numbers."""
    groups: list[tuple[list[str], list[float]]] = [([], [])]
    for token in _TOKEN.finditer(text):
        if token["word"]:
            if groups[-1][1]:
                groups.append(([], []))
            groups[-1][0].append(token["word"].lower())
        else:
            groups[-1][1].append(float(token["number"]))
    return [(words, numbers) for words, numbers in groups if numbers]


def _in_order(numbers: list[float]) -> dict[str, list[float]]:
    sizes = {9: (3, 3, 1, 2), 10: (3, 3, 2, 2), 15: (9, 3, 1, 2), 16: (9, 3, 2, 2)}.get(len(numbers))
    if sizes is None:
        raise ValueError(f"found {len(numbers)} numbers")
    ends = np.cumsum(sizes).tolist()
    return {
        part: numbers[end - size : end] for (part, _, _), size, end in zip(_PARTS, sizes, ends, strict=True)
    }
