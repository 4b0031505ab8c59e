"""Files of weights, opened without running what is inside, and written as safetensors.

Released weights are pickles of ``torch.save``. They are read with ``weights_only``, which knows tensors and
containers, plus NumPy scalars, which trainers leave beside the weights; anything else a pickle asks for is
refused by name. The kind of a file is told by its bytes, never by its name. Tensors stay on disk until they
are used, where the format allows it: the optimiser's state, two thirds of a file, is never read.
"""

from __future__ import annotations

import json
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hmtools.core.atomic import AtomicFile
from hmtools.core.errors import CheckpointError, UnsafeFileError
from hmtools.core.log import format_bytes

__all__ = ["WeightFile", "open_weights", "write_safetensors"]

_HEAD = 512
_MAX_HEADER = 100_000_000  # the bound of the format for its JSON
_CONTAINERS = ("network", "state_dict")  # of SMPLer-X and of mmpose and Lightning; else the file is the state
_MAX_EPOCH = 10**6
_REASON = 200

# What a damaged or forged stream makes torch raise while it is read.
_DAMAGE = (
    pickle.UnpicklingError, struct.error, RuntimeError, EOFError, LookupError, ValueError, TypeError,
    AttributeError, ArithmeticError, MemoryError, AssertionError,
)  # fmt: skip
# Of two releases of torch: "Unsupported global: GLOBAL a.b was not ...", "unsupported GLOBAL a.b whose ...",
# "Unsupported class a.b", "Trying to call reduce for unrecognized function <built-in function b>".
_ASKED_FOR = re.compile(r"(?:GLOBAL|[Uu]nsupported class|unrecognized function) (<[^>]+>|\w[\w.]*\.\w+)")

_SAFETENSORS_TYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8",
    torch.bool: "BOOL",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightFile:
    """What a file holds.

    Attributes:
        kind: ``torch`` or ``safetensors``.
        state: name -> dense tensor on the CPU, names as in the file. The numbers may still lie in the file:
            keep it as long as they are used, and do not write into them.
        epoch: as stored beside the weights, or None.
        beside: names of what else is in the file (``optimizer``, ``meta``, ...) and was not read.
    """

    kind: str
    state: dict[str, Tensor]
    epoch: int | None = None
    beside: tuple[str, ...] = ()


def open_weights(path: Path, *, verify: bool = False) -> WeightFile:
    """Read a file of weights: of ``torch.save`` in its present or its older format, or safetensors.

    The weights are what is under ``network`` or ``state_dict``, or else the whole file.

    Args:
        path: the file.
        verify: read all of it and compare it with the checksums inside, where the format has them.

    Raises:
        CheckpointError: for a file that is absent, cut short, damaged, of another kind, or without weights.
        UnsafeFileError: for a pickle that asks for more than data.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; 'hmtools weights list' shows what is there")
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head[:4] == b"PK\x03\x04":
        _check_zip(path, verify)
        return _split(path, _load(path, mapped=True))
    # Before pickles: a header's length may well begin with the byte that pickles begin with.
    if len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _MAX_HEADER:
        return _read_safetensors(path)
    if head[:1] == b"\x80":
        return _split(path, _load(path, mapped=False))
    raise CheckpointError(
        f"{path}: expected weights saved by torch.save (.pth, .pth.tar) or safetensors, found {_told(head)}"
    )


def _told(head: bytes) -> str:
    """What a file is that is no file of weights, as far as its first bytes tell."""
    if not head:
        return "an empty file; download it again"
    if head.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS: the file itself was not downloaded; run 'git lfs pull' where it lies"
    if re.match(rb"\s*<(!doctype|html|\?xml)", head, re.IGNORECASE):
        return "a web page: the download was answered by a page; get the file in a browser"
    for magic, what in {b"\x1f\x8b": "gzip", b"7z\xbc\xaf": "7z", b"Rar!": "rar"}.items():
        if head.startswith(magic):
            return f"a {what} archive; unpack it"
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it (files named .pth.tar are usually none)"
    text = head.decode(errors="ignore")
    if len(text.encode()) > len(head) - 4 and all(
        letter.isprintable() or letter.isspace() for letter in text
    ):
        return f"text that begins {text[:40]!r}"
    return f"bytes that begin {head[:8].hex(' ')}"


def _again(path: Path) -> str:
    return (
        f"it has {format_bytes(path.stat().st_size)}; compare that with the page it is from, and get it again"
    )


def _check_zip(path: Path, verify: bool) -> None:
    """Refuse archives that torch did not write: it maps members as they lie, so none may be compressed."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
            broken = archive.testzip() if verify and stored else None
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise CheckpointError(
            f"{path}: begins like weights saved by torch.save, but its end is missing: it is cut short; "
            f"{_again(path)}"
        ) from error
    if not any(member.filename.endswith("/data.pkl") for member in members):
        names = ", ".join(member.filename for member in members[:3])
        raise CheckpointError(
            f"{path}: a zip archive without torch's data.pkl (it holds {names or 'nothing'}); if it was "
            "downloaded so, unpack it and take the file of weights inside"
        )
    if not stored:
        raise UnsafeFileError(
            f"{path}: compressed members, which torch.save does not write; it could unpack to any size"
        )
    if broken:
        raise CheckpointError(
            f"{path}: {broken} inside it does not have its checksum: damaged; {_again(path)}"
        )


def _load(path: Path, *, mapped: bool) -> Any:
    """``torch.load`` with nothing but data; ``mapped`` leaves tensors on disk (the present format only)."""
    try:
        with torch.serialization.safe_globals(_NUMPY_SCALARS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about storages of old files
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except _DAMAGE as error:
        asked = _ASKED_FOR.search(str(error))
        if isinstance(error, pickle.UnpicklingError) and asked:
            raise UnsafeFileError(
                f"{path}: asks for {asked[1]}, which is no data: opening it could run code, so "
                "it is not opened. Released weights hold tensors and numbers only; get the file from its page"
            ) from error
        raise CheckpointError(f"{path}: cannot be read: {_reason(error)}; {_again(path)}") from error


def _reason(error: BaseException) -> str:
    """What torch says, without its advice to load the file unsafely."""
    if isinstance(error, pickle.UnpicklingError):
        return "its pickle is damaged"
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return first.split(". ")[0][:_REASON]


def _split(path: Path, content: Any) -> WeightFile:
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: expected a dict of weights, found {type(content).__name__}")
    key = next((name for name in _CONTAINERS if isinstance(content.get(name), Mapping)), None)
    state = content if key is None else content[key]
    odd = [str(name) for name, value in state.items() if not (isinstance(name, str) and _dense(value))]
    if odd or not state:
        shown = ", ".join(sorted(map(str, content))[:8]) or "nothing"
        what = f"{odd[0]!r} is no dense tensor" if odd else "there are none"
        keys = " or ".join(map(repr, _CONTAINERS))
        raise CheckpointError(
            f"{path}: expected weights under {keys}, or tensors alone; {what}. It holds: {shown}"
        )
    beside = () if key is None else tuple(str(name) for name in content if name not in (key, "epoch"))
    meta = content.get("meta")
    epoch = content.get("epoch", meta.get("epoch") if isinstance(meta, Mapping) else None)
    known = key is not None and isinstance(epoch, int | np.integer) and 0 <= int(epoch) < _MAX_EPOCH
    return WeightFile(
        kind="torch", state=dict(state), epoch=int(epoch) if known else None, beside=tuple(sorted(beside))
    )


def _dense(value: object) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and value.dtype in _SAFETENSORS_TYPES
    )


def _read_safetensors(path: Path) -> WeightFile:
    try:
        with safe_open(str(path), framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, *_DAMAGE) as error:
        raise CheckpointError(f"{path}: safetensors that cannot be read: {error}; {_again(path)}") from error
    if not state or not all(map(_dense, state.values())):
        raise CheckpointError(f"{path}: safetensors without weights that torch on this machine can use")
    return WeightFile(kind="safetensors", state=state)


def write_safetensors(path: Path, state: Mapping[str, Tensor]) -> str:
    """Write tensors atomically, one after the other: memory does not grow with their number.

    Tensors are in the order of their names with the widest types first, as the format advises: the same
    tensors always give the same bytes.

    Args:
        path: file to write or replace.
        state: name -> dense tensor.

    Returns:
        The sha256 of the file.

    Raises:
        CheckpointError: for a type of number that the format lacks.
    """
    wrong = [name for name, tensor in state.items() if tensor.dtype not in _SAFETENSORS_TYPES]
    if wrong:
        raise CheckpointError(f"{path}: {wrong[0]} has type {state[wrong[0]].dtype}, which cannot be stored")
    names = sorted(state, key=lambda name: (-state[name].element_size(), name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # asked for by other readers
    end = 0
    for name in names:
        tensor, start = state[name], end
        end = start + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _SAFETENSORS_TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that numbers are aligned
    with AtomicFile(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(state[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return file.sha256


class _PickledDtype:
    """Stands for ``numpy.dtype`` in a pickle: remembers the type of a number, and nothing else."""

    def __init__(self, name: Any, align: Any = False, copy: Any = False) -> None:
        self.dtype = np.dtype(name) if name in _NUMBERS else None

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if self.dtype is not None and order in ("<", ">", "|"):
            self.dtype = self.dtype.newbyteorder(order)


_NUMBERS = ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1")


def _number(dtype: Any, data: Any) -> np.generic | None:
    """Stands for NumPy's ``scalar``: None for what is no plain number (nobody here needs it)."""
    found = dtype.dtype if isinstance(dtype, _PickledDtype) else None
    if found is None or not isinstance(data, bytes) or len(data) != found.itemsize:
        return None
    number: np.generic = np.frombuffer(data, found)[0]
    return number


def _named(value: Any, module: str, name: str) -> Any:
    """Let torch find our stand-in when a pickle asks for ``module.name``."""
    value.__module__, value.__name__, value.__qualname__ = module, name, name
    return value


def _scalar_of(module: str) -> Any:
    return _named(lambda dtype, data: _number(dtype, data), module, "scalar")


# NumPy 1 and 2 write different module names; torch asks for a name and takes it from the stand-in itself.
_NUMPY_SCALARS: list[Any] = [
    _scalar_of("numpy.core.multiarray"),
    _scalar_of("numpy._core.multiarray"),
    _named(_PickledDtype, "numpy", "dtype"),
]
