"""Predictions as AGORA's server takes them: one pickle per person, ``<image>_personId_<n>.pkl``.

A folder of them, a folder with their folder ``predictions``, or the zip that is sent. A pickle has ``joints``
(24 or more, 2), pixels of the 3840 x 2160 image, and either ``verts`` with ``allSmplJoints3d``, or
``params``; poses are axis-angle, with hands relative to the mean hand as in AGORA's own models, or matrices
where ``pose2rot`` is false, to which no mean can be added: their hands are absolute. With ``kid_flag`` the
last of the betas is the weight of the kid template.

Whose they are: image and person number name the row, for protocols that compare person by person. The
official protocol does not believe the numbers and matches by joints.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmtools.bench.readers.base import (
    BODY_WIDTHS,
    Agreed,
    Listed,
    ReadColumns,
    digest,
    family_of,
    flat,
    numbers,
)
from hmtools.core.atomic import file_sha256
from hmtools.core.errors import AssetError, LayoutError, SchemaError, UnsafeFileError
from hmtools.core.safe_pickle import load_pickle
from hmtools.humandata.predictions import FACTS

__all__ = ["LABEL_SIZE", "NAME", "AgoraReader", "pickle_files"]

LABEL_SIZE = (3840, 2160)
"""Width and height of the image that ``joints`` are in, pixels."""

NAME = re.compile(r"(?P<image>.+)_personId_(?P<person>\d{1,9})\.pkl")
"""How a person is named."""

_MAX_BYTES = 16 << 20  # vertices as float64, their joints and as much again, ten times
_ROTATIONS = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose")
_EYES = ("leye_pose", "reye_pose")


def pickle_files(path: Path) -> list[Path]:
    """The pickles of a folder, or of its folder ``predictions``, by name; empty where it has none."""
    folder = path / "predictions" if (path / "predictions").is_dir() else path
    return sorted(file for file in folder.iterdir() if NAME.fullmatch(file.name))


class AgoraReader:
    """Pickles of AGORA's format.

    Args:
        path: folder, or zip.

    Raises:
        LayoutError: if it has no such files, or the zip cannot be read.
    """

    relative_hands = True
    joints2d_size: tuple[int, int] | None = LABEL_SIZE

    def __init__(self, path: Path) -> None:
        self.path = path
        self._archive = _open_zip(path) if path.is_file() else None
        if self._archive is None:
            self._files: dict[str, Any] = {file.name: file for file in pickle_files(path)}
            self._twice: list[str] = []
        else:
            self._files, self._twice = _members(self._archive)
        if not self._files:
            raise LayoutError(f"{path}: no <image>_personId_<n>.pkl in it, as AGORA's server takes them")
        self._names = [*self._files, *self._twice]
        matches = [NAME.fullmatch(name) for name in self._names]
        self.listed = Listed(
            where=self._names,
            image=[match["image"] if match else None for match in matches],
            person=np.array([int(match["person"]) if match else -1 for match in matches], np.int64),
        )
        self.facts: Mapping[str, Any] = {**dict.fromkeys(FACTS), "model": path.resolve().stem}
        self._agreed = Agreed()

    def read(self, numbers: Sequence[int]) -> ReadColumns:
        """The numbers of some people; see :class:`hmtools.bench.readers.base.Reader`."""
        people = [self._person(self._names[number]) for number in numbers]
        found: ReadColumns = {}
        for name in people[0] if people else ():
            cells = [person[name] for person in people]
            found[name] = cells if name == "gender" else np.stack(cells)
        return found

    def _person(self, name: str) -> dict[str, Any]:
        where = f"{self.path}: {name}"
        content = load_pickle(self._bytes(name))
        if not isinstance(content, dict):
            raise SchemaError(f"{where}: expected a dict, found {type(content).__name__}")
        if "params" in content and "verts" not in content:
            found = self._parameters(content, where)
        elif "verts" in content:
            found = self._mesh(content, where)
        else:
            raise SchemaError(
                f"{where}: expected params, or verts and allSmplJoints3d, found "
                f"{', '.join(map(str, content))}"
            )
        found["joints2d"] = _joints(content.get("joints"), 2, f"{where}: joints")
        sizes = {key: np.shape(value) for key, value in found.items() if key != "gender"}
        self._agreed.check("what a person has", ", ".join(f"{k} {v}" for k, v in sizes.items()), name)
        return found

    def _mesh(self, content: Mapping[str, Any], where: str) -> dict[str, Any]:
        vertices = numbers(content["verts"], f"{where}: verts")
        vertices = vertices[0] if vertices.ndim == 3 and len(vertices) == 1 else vertices
        if vertices.ndim != 2 or vertices.shape[1] != 3:
            raise SchemaError(f"{where}: verts: expected (V, 3), found {vertices.dtype} {vertices.shape}")
        self._agreed.check("the body", family_of(len(vertices), where), where)
        with np.errstate(over="ignore"):
            found = {"vertices": vertices.astype(np.float32)}
        if "allSmplJoints3d" in content:
            found["joints3d"] = _joints(content["allSmplJoints3d"], 3, f"{where}: allSmplJoints3d")
        return found

    def _parameters(self, content: Mapping[str, Any], where: str) -> dict[str, Any]:
        params = content["params"]
        if not isinstance(params, dict):
            raise SchemaError(f"{where}: params: expected a dict, found {type(params).__name__}")
        family = "smplx" if "left_hand_pose" in params or "expression" in params else "smpl"
        self._agreed.check("the body", family, where)
        matrices = not content.get("pose2rot", True)
        self._agreed.check("pose2rot", not matrices, where)
        self.relative_hands = not matrices
        found: dict[str, Any] = {}
        for name, width in BODY_WIDTHS[family].items():
            if name in params:
                given = params[name]
                turns = matrices and name in (*_ROTATIONS, *_EYES)
                found[f"{family}_{name}"] = flat(
                    _axis_angle(given, f"{where}: {name}") if turns else given, width, f"{where}: {name}"
                )
        found["kid"] = np.float32(0)
        if content.get("kid_flag", False):
            found["kid"] = _cut_kid(found, family, content.get("num_betas", 10), where)
        gender = content.get("gender", "neutral")
        if gender not in ("neutral", "male", "female"):
            raise SchemaError(f"{where}: gender: expected neutral, male or female, found {gender!r:.40}")
        found["gender"] = gender
        return found

    def _bytes(self, name: str) -> bytes:
        place = self._files[name]  # of two members of that name the first
        size = place.stat().st_size if self._archive is None else place.file_size
        if size > _MAX_BYTES:
            raise UnsafeFileError(
                f"{self.path}: {name}: {size:,} bytes, a person has less than {_MAX_BYTES:,}"
            )
        if self._archive is None:
            data: bytes = place.read_bytes()
            return data
        try:
            return self._archive.read(place)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
            raise AssetError(f"{self.path}: {name}: cannot be unpacked ({error}); zip it again") from error

    def sha256(self) -> str:
        """Of the zip, or of names and contents of all pickles."""
        if self._archive is not None:
            return file_sha256(self.path)
        return digest(self._files.items())


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise LayoutError(f"{path}: no zip that can be read ({error})") from error


def _members(archive: zipfile.ZipFile) -> tuple[dict[str, zipfile.ZipInfo], list[str]]:
    """Name -> member of every pickle, whatever folder it is in, and names that occur again."""
    found: dict[str, zipfile.ZipInfo] = {}
    twice = []
    for member in archive.infolist():
        path = PurePosixPath(member.filename)
        if not NAME.fullmatch(path.name) or "__MACOSX" in path.parts:
            continue
        if path.name in found:
            twice.append(path.name)
        else:
            found[path.name] = member
    return found, twice


def _cut_kid(found: dict[str, Any], family: str, num_betas: Any, where: str) -> np.float32:
    """The weight of the kid template, which stands behind the betas, and is taken from there."""
    betas = found.get(f"{family}_betas", np.zeros(0, np.float32))
    if len(betas) - 1 != num_betas:
        raise SchemaError(
            f"{where}: betas: with kid_flag expected num_betas + 1 = {num_betas} + 1 numbers, the last of "
            f"which is the weight of the kid template, found {len(betas)}"
        )
    found[f"{family}_betas"] = betas[:-1]
    return np.float32(betas[-1])


def _joints(value: Any, width: int, where: str) -> NDArray[np.float32]:
    """(K, width + 1) with confidence 1, of (K, width) or (1, K, width)."""
    found = numbers(value, where)
    found = found[0] if found.ndim == 3 and len(found) == 1 else found
    if found.ndim != 2 or found.shape[1] != width:
        raise SchemaError(
            f"{where}: expected (24 or more, {width}) numbers, found {found.dtype} {found.shape}"
        )
    with np.errstate(over="ignore"):
        return np.column_stack([found.astype(np.float32), np.ones(len(found), np.float32)])


def _axis_angle(value: Any, where: str) -> NDArray[np.float64]:
    """Rotation matrices (..., 3, 3) as axis-angle, one after the other."""
    import torch

    from hmtools.geometry.rotation import matrix_to_axis_angle

    found = numbers(value, where)
    if found.ndim < 2 or found.shape[-2:] != (3, 3):
        raise SchemaError(f"{where}: pose2rot is false: expected matrices (..., 3, 3), found {found.shape}")
    matrices = torch.from_numpy(found.astype(np.float64).reshape(-1, 3, 3))
    finite = matrices.isfinite().all(-1).all(-1)
    turned = matrix_to_axis_angle(
        torch.where(finite[:, None, None], matrices, torch.eye(3, dtype=torch.float64))
    )
    turned[~finite] = torch.nan
    angles: NDArray[np.float64] = turned.reshape(-1).numpy()
    return angles
