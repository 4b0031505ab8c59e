"""Anybody's predictions: one ``.npz`` of N people, or a folder of them that are read by name.

Whose they are, one of:

* ``key`` (N,) text: record keys;
* ``source_index`` (N,) integers: as in the record;
* ``image_path`` (N,) text, and ``person`` (N,) integers where images have several people.

What they are, one of:

* ``vertices`` (N, V, 3) metres, camera frame; V is 10475 or 6890;
* parameters by their record names: ``smplx_global_orient`` (N, 3), ``smplx_body_pose`` (N, 63),
  ``smplx_betas`` ..., or ``smpl_...``; axis-angle, absolute hands.

And if wanted ``gender`` (N,) text, ``kid`` (N,) weight of the kid template, 0 or NaN for adults,
``virtual_transl`` (N, 3), ``crop_affine`` (N, 2, 3), ``joints2d`` (N, J, 2 or 3) pixels of the upright image,
``joints3d`` (N, J, 3 or 4) metres, ``model`` (one text). Text is NumPy's own (``<U``), never objects. An
array that is not compressed (``numpy.savez``) is mapped, not read; compressed ones are read as a whole, so
they should be of some thousand people each.
"""

from __future__ import annotations

import mmap
import tokenize
import zipfile
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmtools.bench.readers.base import BODY_WIDTHS, Agreed, Listed, ReadColumns, digest, family_of
from hmtools.core.atomic import file_sha256
from hmtools.core.errors import AssetError, LayoutError, SchemaError, nearest
from hmtools.core.safe_pickle import load_npz
from hmtools.humandata.predictions import FACTS

__all__ = ["ArrayReader", "npz_files", "open_arrays"]

_MAX_BYTES = 2 << 30
_TEXTS = ("key", "image_path", "gender", "model")
_WHOSE = ("key", "source_index", "image_path")
_SHAPES: dict[str, tuple[tuple[int | None, ...], ...]] = {
    "source_index": ((),),
    "person": ((),),
    "kid": ((),),
    "vertices": ((None, 3),),
    "virtual_transl": ((3,),),
    "crop_affine": ((2, 3),),
    "joints2d": ((None, 2), (None, 3)),
    "joints3d": ((None, 3), (None, 4)),
    **{
        f"{family}_{name}": ((width,),)
        for family, widths in BODY_WIDTHS.items()
        for name, width in widths.items()
    },
}


_LAST_LETTER = 0x10FFFF


def npz_files(path: Path) -> list[Path]:
    """An npz file, or those of a folder by name."""
    return [path] if path.is_file() else sorted(path.glob("*.npz"))


def open_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of an npz: mapped where none is compressed, else read.

    Raises:
        UnsafeFileError: if a member holds objects, or the file would unpack to more than 2 GiB.
        AssetError: if the file is damaged.
        LayoutError: if it cannot be opened.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except OSError as error:
        raise LayoutError(f"{path}: cannot be opened ({error.strerror})") from error
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise AssetError(
            f"{path}: no npz file ({error}); it is damaged, cut off or something else"
        ) from error
    if not members or any(member.compress_type != zipfile.ZIP_STORED for member in members):
        read = load_npz(path, max_bytes=_MAX_BYTES)
        for name, array in read.items():
            _check_text(array, f"{path}[{name}]")
        return read
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    found = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        if name in found:
            raise AssetError(f"{path}: {member.filename!r} occurs twice")
        found[name] = _mapped(data, member, path)
        _check_text(found[name], f"{path}[{name}]")
    return found


def _check_text(array: NDArray[Any], where: str) -> None:
    """Text of characters that exist: from others Python makes an error of its own inner workings."""
    if array.dtype.kind != "U" or not array.nbytes:
        return
    letters = array.reshape(-1).view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
    if (letters > _LAST_LETTER).any():
        raise AssetError(f"{where}: text with characters that do not exist; the file is damaged")


def _mapped(data: mmap.mmap, member: zipfile.ZipInfo, path: Path) -> NDArray[Any]:
    """A member that is not compressed, as a read-only view on the file."""
    where = f"{path}[{member.filename}]"
    local = data[member.header_offset : member.header_offset + 30]
    if len(local) < 30 or local[:4] != b"PK\3\4":
        raise AssetError(f"{where}: its header is not where the table says; the file is damaged")
    # The local header repeats the name and has an extra field of its own length.
    start = member.header_offset + 30 + sum(int.from_bytes(local[at : at + 2], "little") for at in (26, 28))
    end = start + member.file_size
    try:
        data.seek(start)
        version = np.lib.format.read_magic(data)
        wanted = np.lib.format.read_array_header_1_0
        shape, fortran, dtype = (wanted if version == (1, 0) else np.lib.format.read_array_header_2_0)(data)
    except (ValueError, EOFError, SyntaxError, TypeError, tokenize.TokenError) as error:
        raise AssetError(
            f"{where}: no array ({error}); the file is damaged, or was not made by NumPy"
        ) from error
    begin = data.tell()
    if dtype.hasobject:
        raise SchemaError(f"{where}: holds objects; save text as NumPy's own, numpy.array([...], 'U')")
    if end > len(data) or begin + prod(shape) * dtype.itemsize != end:
        raise AssetError(
            f"{where}: {shape} {dtype} do not fit into its {member.file_size} bytes; it is damaged"
        )
    view = np.ndarray(shape, dtype, data, begin, order="F" if fortran else "C")
    view.flags.writeable = False
    return view


class ArrayReader:
    """Predictions in npz files.

    Args:
        path: a file, or a folder of files.

    Raises:
        LayoutError: if there is none.
        SchemaError: for unknown or missing arrays, or arrays that do not fit one another.
        AssetError, UnsafeFileError: if a file is damaged or refused.
    """

    relative_hands = False
    joints2d_size: tuple[int, int] | None = None

    def __init__(self, path: Path) -> None:
        self.path, self.files = path, npz_files(path)
        if not self.files:
            raise LayoutError(f"{path}: no *.npz in it")
        self._last: tuple[Path, dict[str, NDArray[Any]]] | None = None
        agreed, counts = Agreed(), []
        columns: dict[str, list[Any]] = defaultdict(list)
        model: str | None = None
        for file in self.files:
            arrays = self._open(file)
            counts.append(_check(arrays, file, agreed))
            model = str(arrays["model"]) if "model" in arrays else model
            agreed.check("the model", model, file.name)
            whose = [name for name in (*_WHOSE, "person") if name in arrays]
            agreed.check("what says whose they are", ", ".join(whose), file.name)
            for name in whose:
                columns[name] += arrays[name].tolist()
        self._starts = list(accumulate(counts, initial=0))
        self.listed = self._list(columns)
        self.facts: Mapping[str, Any] = {**dict.fromkeys(FACTS), "model": model or path.resolve().stem}

    def _list(self, columns: Mapping[str, list[Any]]) -> Listed:
        total = self._starts[-1]
        person, index = (
            np.array(columns[name], np.int64) if name in columns else None
            for name in ("person", "source_index")
        )
        keys, images = columns.get("key"), columns.get("image_path")
        where = keys or images or [f"{self.path.name} source_index {i}" for i in columns["source_index"]]
        return Listed(where=where[:total], key=keys, image=images, person=person, source_index=index)

    def _open(self, file: Path) -> dict[str, NDArray[Any]]:
        if self._last is None or self._last[0] != file:
            self._last = (file, open_arrays(file))
        return self._last[1]

    def read(self, numbers: Sequence[int]) -> ReadColumns:
        """The numbers of some people; see :class:`hmtools.bench.readers.base.Reader`."""
        by_file: dict[int, list[int]] = defaultdict(list)
        for place, number in enumerate(numbers):
            by_file[bisect_right(self._starts, number) - 1].append(place)
        found: ReadColumns = {}
        for file, places in sorted(by_file.items()):
            arrays = self._open(self.files[file])
            local = [numbers[place] - self._starts[file] for place in places]
            for name in arrays.keys() & (_SHAPES.keys() | {"gender"}) - {"person", "source_index"}:
                own = _cells(arrays[name], name, local)
                if name not in found:
                    found[name] = np.empty((len(numbers), *own.shape[1:]), own.dtype)
                found[name][places] = own
        return found

    def sha256(self) -> str:
        """Of the file; of a folder: of names and contents."""
        if len(self.files) == 1:
            return file_sha256(self.files[0])
        return digest((file.name, file) for file in self.files)


def _cells(array: NDArray[Any], name: str, rows: Sequence[int]) -> NDArray[Any]:
    if name == "gender":
        return array[rows].astype(object)
    with np.errstate(over="ignore"):
        found = array[rows].astype(np.float32)
    if (name, found.shape[-1]) in (("joints2d", 2), ("joints3d", 3)):
        found = np.concatenate([found, np.ones_like(found[..., :1])], axis=-1)
    return found


def _check(arrays: Mapping[str, NDArray[Any]], file: Path, agreed: Agreed) -> int:
    """Number of people of a file whose arrays are what they should be."""
    whose = [name for name in _WHOSE if name in arrays]
    if not whose:
        raise SchemaError(
            f"{file}: does not say whose predictions they are: expected one of {', '.join(_WHOSE)}, found "
            f"{', '.join(arrays) or 'nothing'}"
        )
    count = arrays[whose[0]].size
    shapes = {}
    for name, array in arrays.items():
        if name in _TEXTS:
            wanted = ((),) if name == "model" else ((count,),)
            if array.dtype.kind != "U" or array.shape not in wanted:
                raise SchemaError(
                    f"{file}: {name}: expected text {wanted[0]}, found {array.dtype} {array.shape}"
                )
            continue
        _check_numbers(name, array, count, file)
        if name not in ("person", "source_index"):
            shapes[name] = array.shape[1:]
    bodies = [name for name in shapes if name == "vertices" or name.startswith(("smplx_", "smpl_"))]
    if not bodies:
        raise SchemaError(f"{file}: no body: expected vertices, or smplx_global_orient and so on")
    if "vertices" in shapes:
        family_of(shapes["vertices"][0], str(file))
    agreed.check("what a person has", ", ".join(f"{n} {s}" for n, s in sorted(shapes.items())), file.name)
    return int(count)


def _check_numbers(name: str, array: NDArray[Any], count: int, file: Path) -> None:
    if name not in _SHAPES:
        raise SchemaError(f"{file}: unknown array {name!r}{nearest(name, [*_SHAPES, *_TEXTS])}")
    kinds = "iu" if name in ("person", "source_index") else "fiu"
    fits = any(
        array.ndim == 1 + len(shape)
        and len(array) == count
        and all(size in (None, own) for size, own in zip(shape, array.shape[1:], strict=True))
        for shape in _SHAPES[name]
    )
    if not fits or array.dtype.kind not in kinds:
        wanted = " or ".join(
            "("
            + ", ".join(
                str(count) if i == 0 else "any" if s is None else str(s)
                for i, s in enumerate((count, *shape))
            )
            + ")"
            for shape in _SHAPES[name]
        )
        raise SchemaError(f"{file}: {name}: expected numbers {wanted}, found {array.dtype} {array.shape}")
