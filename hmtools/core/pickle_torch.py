"""Torch tensors inside pickles, as NumPy arrays, without torch and from any device.

A tensor pickled by ``pickle.dump`` is a view (offset, size, stride) of a storage, and the storage is bytes of
the old format of ``torch.save``: pickles of a magic number, a version, the machine's number sizes, the
storage (a persistent id that names its type, its device and its length) and a list of keys, then the length
again and the numbers. ``torch.load`` with ``weights_only`` can read those too, but it reserves whatever
length the persistent id states, and torch would be loaded for a few numbers. Here the guarded unpickler reads
them with a table of its own: the persistent id must be the tuple that torch writes, lengths must agree
to the byte, and a view may not leave its storage.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from hmtools.core.pickle_globals import ForbiddenError, Global, need, shape_of
from hmtools.core.pickle_machine import GuardedUnpickler, SizedReader

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TORCH"]

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_BFLOAT16 = "torch.BFloat16Storage"
_DTYPES = {
    "torch.DoubleStorage": "<f8",
    "torch.FloatStorage": "<f4",
    "torch.HalfStorage": "<f2",
    _BFLOAT16: "<u2",  # the upper half of a float32, which it becomes: NumPy has no such type
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "|i1",
    "torch.ByteStorage": "|u1",
    "torch.BoolStorage": "|b1",
    "torch.ComplexFloatStorage": "<c8",
    "torch.ComplexDoubleStorage": "<c16",
}
_STORAGES = {name: Global(name) for name in _DTYPES}


@dataclass(frozen=True)
class _Storage:
    numbers: NDArray[Any]  # one dimension


class _StorageUnpickler(GuardedUnpickler):
    """Reads the pickles in the bytes of a storage: they may ask for the storage types and nothing else."""

    def __init__(self, file: SizedReader) -> None:
        super().__init__(file, where="", encoding="ascii", names=_STORAGES)

    def refuse(self, what: str) -> NoReturn:
        """Leave the message to the unpickler of the file."""
        raise ForbiddenError(f"{what}, in a torch storage")

    def persistent_load(self, pid: Any) -> Any:
        """Return ``(type, key, length)`` out of the tuple that torch writes; the device does not matter."""
        need(type(pid) is tuple and len(pid) == 6 and pid[0] == "storage", "a storage")
        _, kind, key, device, length, view = pid
        need(
            isinstance(kind, Global) and type(key) is str and type(device) is str,
            "a type, a key and a device",
        )
        need(type(length) is int and length >= 0 and view is None, "the length of a whole storage")
        return kind.name, key, length


def _load_storage(data: Any) -> _Storage:
    need(type(data) in (bytes, bytearray), "bytes")
    file = io.BytesIO(data)
    reader = SizedReader(file, len(data))
    magic, version, machine, stored, keys = (_StorageUnpickler(reader).load() for _ in range(5))
    need((magic, version) == (_MAGIC, _VERSION), "a storage that torch.save wrote")
    need(type(machine) is dict and machine.get("little_endian") is True, "little-endian numbers")
    need(type(stored) is tuple and len(stored) == 3 and keys == [stored[1]], "one storage and its key")
    kind, _, length = stored
    need(int.from_bytes(reader.read(8), "little") == length, "one length of the storage")
    raw, dtype = data[file.tell() :], np.dtype(_DTYPES[kind])
    need(
        len(raw) == length * dtype.itemsize,
        f"{length} numbers of {dtype.itemsize} bytes, found {len(raw)} bytes",
    )
    numbers = np.frombuffer(raw, dtype)
    if kind == _BFLOAT16:
        return _Storage((numbers.astype("<u4") << 16).view("<f4"))
    return _Storage(numbers.copy())


def _tensor(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    _gradient: Any = False,
    hooks: Any = None,
    bits: Any = None,
) -> NDArray[Any]:
    """A view of the storage; tensors that shared memory still do."""
    need(isinstance(storage, _Storage), "a storage")
    need(not hooks and not bits, "a tensor without hooks, and neither conjugate nor negative lazily")
    numbers, shape, steps = storage.numbers, shape_of(size), shape_of(stride)
    need(
        type(offset) is int and offset >= 0 and len(steps) == len(shape),
        "an offset, and a stride per dimension",
    )
    count = math.prod(shape)
    if not count:
        return np.empty(shape, numbers.dtype)
    need(count <= numbers.size, f"at most the {numbers.size} numbers that the storage holds, found {count}")
    last = offset + sum((length - 1) * step for length, step in zip(shape, steps, strict=True))
    need(last < numbers.size, "a view within its storage")
    return np.lib.stride_tricks.as_strided(
        numbers[offset:], shape, [step * numbers.itemsize for step in steps]
    )


def _parameter(tensor: Any, _gradient: Any, hooks: Any) -> NDArray[Any]:
    need(type(tensor) is np.ndarray and not hooks, "a tensor without hooks")
    return tensor  # type: ignore[no-any-return] # checked in the line above


TORCH: dict[str, Global] = {
    row.name: row
    for row in (
        Global("torch.storage._load_from_bytes", _load_storage),
        Global("torch._utils._rebuild_tensor_v2", _tensor),
        Global("torch._utils._rebuild_tensor", _tensor),  # before torch 0.4
        Global("torch._utils._rebuild_parameter", _parameter),
    )
}
"""What the pickle of a tensor may ask for besides :data:`~hmtools.core.pickle_globals.ALLOWED`."""
