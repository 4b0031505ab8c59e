"""The folder that SMPLer-X's demo writes: ``smplx/<frame>_<id>.npz`` and ``meta/<frame>_<id>.json``.

An npz has ``global_orient`` (1, 3), ``body_pose`` (21, 3), ``left_hand_pose`` and ``right_hand_pose``
(15, 3) relative to the mean hand, ``jaw_pose``, ``leye_pose``, ``reye_pose`` (1, 3), ``betas`` and
``expression`` (1, 10) and ``transl`` (1, 3) in the camera of the crop, of the neutral model. Its json has
``img_path``, ``focal`` and ``princpt`` of that camera in the image.

Whose they are: the image is that of ``img_path``; without a json it is ``<frame>``, six digits. The id is
the place among the boxes of a detector, by size or score: it says nothing about who a person is. So only
predictions that are the one of an image with one person can be joined.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmtools.bench.readers.base import BODY_WIDTHS, Agreed, Listed, ReadColumns, digest, flat
from hmtools.core.errors import AssetError, LayoutError, SchemaError
from hmtools.core.safe_pickle import load_npz
from hmtools.humandata.predictions import FACTS

__all__ = ["NAME", "SmplerxReader", "result_files"]

NAME = re.compile(r"(?P<frame>\d{5,})_(?P<id>\d+)\.npz")
"""How the demo names a person."""

_MAX_BYTES = 1 << 20  # a person has 3 kB
_FOCAL, _BODY_IMAGE, _CROP = 5000.0, (192, 256), (384, 512)


def result_files(path: Path) -> list[Path]:
    """The people of a result folder, or of its ``smplx`` folder, by frame and id; empty where it is none."""
    folder = path / "smplx" if (path / "smplx").is_dir() else path
    named = [(match, file) for file in folder.iterdir() if (match := NAME.fullmatch(file.name))]
    return [file for _, file in sorted(named, key=lambda item: (int(item[0]["frame"]), int(item[0]["id"])))]


class SmplerxReader:
    """Results of SMPLer-X's demo.

    Args:
        path: the result folder.

    Raises:
        LayoutError: if it has no such files.
        SchemaError: for a json that is none of the demo's.
    """

    relative_hands = True
    joints2d_size: tuple[int, int] | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = result_files(path)
        if not self.files:
            raise LayoutError(f"{path}: no smplx/<frame>_<id>.npz in it, as SMPLer-X writes them")
        self.facts: Mapping[str, Any] = {**dict.fromkeys(FACTS), "model": path.resolve().name}
        self._meta = self.files[0].parent.parent / "meta"
        self._agreed = Agreed()
        names = [file.name for file in self.files]
        self.listed = Listed(where=names, image=[self._image(file) for file in self.files])

    def _image(self, file: Path) -> str:
        found = self._json(file).get("img_path")
        if found is None:
            return f"{int(file.name.partition('_')[0]):06d}"
        if not isinstance(found, str):
            raise SchemaError(f"{file.name}: img_path in its json must be text, found {found!r:.40}")
        return found

    def _json(self, file: Path) -> dict[str, Any]:
        path = self._meta / f"{file.stem}.json"
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return {}
        try:
            found = json.loads(text)
        except ValueError as error:
            raise AssetError(f"{path}: no JSON ({error}); it is damaged or cut off") from error
        if not isinstance(found, dict):
            raise SchemaError(f"{path}: expected an object with img_path, found {type(found).__name__}")
        return found

    def read(self, numbers: Sequence[int]) -> ReadColumns:
        """The numbers of some people; see :class:`hmtools.bench.readers.base.Reader`."""
        people = [self._person(self.files[number]) for number in numbers]
        found: ReadColumns = {
            name: np.stack([person[name] for person in people]) for name in (people[0] if people else ())
        }
        if people:
            found["gender"] = ["neutral"] * len(people)
        return found

    def _person(self, file: Path) -> dict[str, NDArray[np.float32]]:
        arrays = load_npz(file, max_bytes=_MAX_BYTES)
        found = {
            f"smplx_{name}": flat(arrays[name], width, f"{file}: {name}")
            for name, width in BODY_WIDTHS["smplx"].items()
            if name in arrays
        }
        kind = ", ".join(f"{name.removeprefix('smplx_')} {len(value)}" for name, value in found.items())
        self._agreed.check("what a person has", kind or "nothing of a body", file.name)
        if not kind:
            raise SchemaError(f"{file}: no SMPL-X parameters, found {', '.join(arrays) or 'nothing'}")
        if "smplx_transl" in found:
            found["virtual_transl"] = found["smplx_transl"]
        found["crop_affine"] = self._crop(file)
        return found

    def _crop(self, file: Path) -> NDArray[np.float32]:
        """Image pixels to crop pixels (2, 3), from the camera that the json states; NaN without."""
        meta = self._json(file)
        try:
            focal = np.asarray(meta["focal"], np.float64).reshape(2)
            middle = np.asarray(meta["princpt"], np.float64).reshape(2)
        except KeyError:
            return np.full((2, 3), np.nan, np.float32)
        except (TypeError, ValueError) as error:
            raise SchemaError(f"{file.name}: focal and princpt in its json: expected two numbers") from error
        if not (focal > 0).all():
            return np.full((2, 3), np.nan, np.float32)
        size = focal / _FOCAL * _BODY_IMAGE
        scale = np.array(_CROP) / size
        found: NDArray[np.float32] = np.column_stack([np.diag(scale), -(middle - size / 2) * scale])
        return found.astype(np.float32)

    def sha256(self) -> str:
        """Of names and contents of all npz."""
        return digest((file.name, file) for file in self.files)
