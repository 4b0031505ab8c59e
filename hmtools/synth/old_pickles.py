"""Pickles as pandas 1.1, NumPy 1.19 and PyTorch 1.8 left them in 2020 and 2021, written without any of them.

Data sets of those years hold data frames and tensors under module paths that later releases moved or dropped
(``pandas.core.indexes.numeric``, ``numpy.core``), and tensors on the GPU of whoever wrote them. A current
pandas or torch cannot write such files, so the opcodes are written here: protocol 4, one frame, everything
that is there twice is a reference to the first, as in the originals (a data frame's state names each of its
blocks twice, and the meshes in them would double the file).
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hmtools.core.errors import UsageError

__all__ = ["Global", "Made", "cuda_tensor", "old_frame", "old_pickle", "smuggle"]

_Column = Sequence[Any] | np.ndarray[Any, Any]

_HEAD = b"\x80\x04\x95"  # protocol 4, then the length of the one frame
_ATOMS = {None: b"N", True: b"\x88", False: b"\x89"}
_TORCH_MAGIC, _TORCH_VERSION = 0x1950A86A20F9469CFC6C, 1001
_TORCH_MACHINE = {
    "protocol_version": _TORCH_VERSION,
    "little_endian": True,
    "type_sizes": {"short": 2, "int": 4, "long": 4},
}
_STORAGES = {"float32": "FloatStorage", "float64": "DoubleStorage", "int64": "LongStorage"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Global:
    """A function or class that the reader must find under its name."""

    module: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """An object that the reader makes: ``function(*arguments)``, then ``state`` is given to it.

    Attributes:
        function: what is called, or the class that is to be made.
        arguments: what it is called with.
        state: what ``__setstate__`` gets; None for nothing.
        new: make an instance by the class's ``__new__`` instead of a call.
    """

    function: Global
    arguments: tuple[Any, ...] = ()
    state: Any = None
    new: bool = False


def old_pickle(value: Any) -> bytes:
    """Pickle a value by protocol 4 under the names of 2020.

    Args:
        value: None, bool, int of 64 bits, float, str, bytes, arrays and NumPy scalars, lists, tuples and
            mappings of these, :class:`Global` and :class:`Made`. An array of objects keeps them as they are.

    Returns:
        The bytes of the file; the same value gives the same bytes.

    Raises:
        UsageError: for a value of another type, or an int beyond 64 bits.

    >>> import pickle
    >>> pickle.loads(old_pickle({"a": [1, 2.5, None]}))
    {'a': [1, 2.5, None]}
    """
    body = _Writer().encoded(value) + b"."
    return _HEAD + struct.pack("<Q", len(body)) + body


def smuggle(data: bytes, module: str, name: str) -> bytes:
    """The same pickle with one foreign global that it has no use for: a reader that guards must refuse it.

    Args:
        data: what :func:`old_pickle` returned.
        module: of the global.
        name: of the global.

    Raises:
        UsageError: if ``data`` is no such pickle.
    """
    if not data.startswith(_HEAD):
        raise UsageError(f"expected a pickle of old_pickle, found one that starts with {data[:4]!r}")
    # Named, then taken off the stack; nothing is memoised, so no later reference changes its meaning.
    body = _text(module) + _text(name) + b"\x930" + data[len(_HEAD) + 8 :]
    return _HEAD + struct.pack("<Q", len(body)) + body


def old_frame(
    columns: Mapping[str, _Column],
    *,
    index: Sequence[int] | None = None,
    added: Sequence[str] = (),
) -> Made:
    """A pandas 1.1 data frame, for :func:`old_pickle`.

    Args:
        columns: name -> N cells: a float64 array, or a sequence of anything (text, lists, arrays).
        index: N row labels, as left by a filter (an ``Int64Index``); 0 to N - 1 by default.
        added: columns that were added after the frame was made: each is a block of its own.

    Raises:
        UsageError: if the columns differ in length.
    """
    lengths = {len(cells) for cells in columns.values()} | ({len(index)} if index is not None else set())
    if len(lengths) > 1:
        raise UsageError(f"a data frame has columns of one length, found lengths {sorted(lengths)}")
    names = list(columns)
    labels = _index("base", "Index", data=_objects(names), name=None)
    numbers = [name for name in names if isinstance(columns[name], np.ndarray) and name not in added]
    objects = [name for name in names if name not in numbers and name not in added]
    groups = [group for group in (numbers, objects, *([name] for name in added)) if group]
    blocks = [_block(columns, group) for group in groups]
    places = [_places([names.index(name) for name in group]) for group in groups]
    if index is None:
        rows = _index("range", "RangeIndex", name=None, start=0, stop=max(lengths, default=0), step=1)
    else:
        rows = _index("numeric", "Int64Index", data=np.array(index, np.int64), name=None)
    axes = [labels, rows]
    items = [_index("base", "Index", data=_objects(group), name=None) for group in groups]
    parts = [{"values": b, "mgr_locs": place} for b, place in zip(blocks, places, strict=True)]
    state = (axes, blocks, items, {"0.14.1": {"axes": axes, "blocks": parts}})
    manager = Global(module="pandas.core.internals.managers", name="BlockManager")
    return Made(
        function=Global(module="pandas.core.frame", name="DataFrame"),
        state={
            "_mgr": Made(function=manager, state=state, new=True),
            "_typ": "dataframe",
            "_metadata": [],
            "attrs": {},
        },
        new=True,
    )


def _index(module: str, kind: str, **attributes: Any) -> Made:
    made = Global(module="pandas.core.indexes.base", name="_new_Index")
    return Made(
        function=made, arguments=(Global(module=f"pandas.core.indexes.{module}", name=kind), attributes)
    )


def _objects(cells: _Column) -> np.ndarray[Any, Any]:
    # Cell by cell: NumPy would make one array of lists of one length.
    found = np.empty(len(cells), object)
    for number, cell in enumerate(cells):
        found[number] = cell
    return found


def _block(columns: Mapping[str, _Column], names: Sequence[str]) -> np.ndarray[Any, Any]:
    """(columns, N) of one kind; numbers lie as the rows of a table do, which is the transposed of that."""
    cells = [columns[name] for name in names]
    if all(isinstance(column, np.ndarray) for column in cells):
        return np.asfortranarray(np.stack([np.asarray(column) for column in cells]))
    return np.stack([_objects(column) for column in cells])


def _places(numbers: Sequence[int]) -> Any:
    steps = set(np.diff(numbers).tolist()) or {1}
    if len(steps) > 1:
        return np.array(numbers, np.int64)
    (step,) = steps
    places = numbers[0], numbers[-1] + step, step
    return Made(function=Global(module="builtins", name="slice"), arguments=places)


def cuda_tensor(array: np.ndarray[Any, Any], *, device: str = "cuda:0") -> Made:
    """A torch tensor that was pickled (not ``torch.save``d) while it lay on a GPU, for :func:`old_pickle`.

    Args:
        array: float32, float64 or int64, any shape.
        device: where it lay.

    Raises:
        UsageError: for an array of another type.
    """
    content = np.ascontiguousarray(array).reshape(np.shape(array))
    if content.dtype.name not in _STORAGES:
        raise UsageError(f"expected an array of {', '.join(_STORAGES)}, found {content.dtype}")
    load = Global(module="torch.storage", name="_load_from_bytes")
    storage = Made(function=load, arguments=(_torch_file(content, device),))
    strides = tuple(stride // content.itemsize for stride in content.strides)
    hooks = Made(function=Global(module="collections", name="OrderedDict"))
    return Made(
        function=Global(module="torch._utils", name="_rebuild_tensor_v2"),
        arguments=(storage, 0, content.shape, strides, False, hooks),
    )


def _torch_file(content: np.ndarray[Any, Any], device: str) -> bytes:
    """A storage as ``torch.save`` wrote it before files were zips: five pickles, then the numbers."""
    key, name = str(94_000_000_000_000 + content.size), _STORAGES[content.dtype.name]
    persistent = b"\x80\x02(" + _text("storage", short=False) + b"ctorch\n" + name.encode() + b"\n"
    persistent += b"".join(_text(word, short=False) for word in (key, device))
    persistent += _integer(content.size) + b"NtQ."
    head = [pickle.dumps(item, 2) for item in (_TORCH_MAGIC, _TORCH_VERSION, _TORCH_MACHINE)]
    size = struct.pack("<q", content.size)
    return b"".join([*head, persistent, pickle.dumps([key], 2), size, content.tobytes()])


class _Writer:
    """Opcodes of one pickle, and which of its values the memo holds."""

    def __init__(self) -> None:
        self._texts: dict[Any, int] = {}  # text and globals: equal ones are the same
        self._known: dict[int, tuple[int, Any]] = {}  # id -> place in the memo, and the value to keep its id
        self._count = 0

    def encoded(self, value: Any) -> bytes:
        if value is None or isinstance(value, bool):
            return _ATOMS[value]
        if isinstance(value, int):
            return _integer(value)
        if isinstance(value, float) and not isinstance(value, np.generic):
            return b"G" + struct.pack(">d", value)
        if isinstance(value, str | Global):
            return self._word(value)
        if id(value) in self._known:
            return _get(self._known[id(value)][0])
        body = self._content(value)
        self._known[id(value)] = self._count, value
        return body + self._memoised()

    def _memoised(self) -> bytes:
        self._count += 1
        return b"\x94"

    def _word(self, value: str | Global) -> bytes:
        if value in self._texts:
            return _get(self._texts[value])
        if isinstance(value, str):
            body = _text(value)
        else:
            body = self._word(value.module) + self._word(value.name) + b"\x93"
        self._texts[value] = self._count
        return body + self._memoised()

    def _content(self, value: Any) -> bytes:
        if isinstance(value, bytes):
            return _raw(value)
        if isinstance(value, tuple):
            return b"(" + self._joined(value) + b"t"
        if isinstance(value, list):
            return b"](" + self._joined(value) + b"e"
        if isinstance(value, Mapping):
            pairs = (self.encoded(key) + self.encoded(item) for key, item in value.items())
            return b"}(" + b"".join(pairs) + b"u"
        if isinstance(value, np.ndarray):
            return self._made(_array(value))
        if isinstance(value, np.generic):
            scalar = Global(module="numpy.core.multiarray", name="scalar")
            return self._made(Made(function=scalar, arguments=(_dtype(value.dtype), value.tobytes())))
        if isinstance(value, Made):
            return self._made(value)
        raise UsageError(f"a {type(value).__name__} is nothing that a pickle of 2020 is written with here")

    def _joined(self, values: Sequence[Any]) -> bytes:
        return b"".join([self.encoded(value) for value in values])

    def _made(self, value: Made) -> bytes:
        body = self.encoded(value.function) + self.encoded(value.arguments)
        body += b"\x81" if value.new else b"R"
        return body if value.state is None else body + self.encoded(value.state) + b"b"


def _get(place: int) -> bytes:
    return b"h" + bytes([place]) if place < 256 else b"j" + struct.pack("<I", place)


def _text(value: str, *, short: bool = True) -> bytes:
    raw = value.encode()
    if short and len(raw) < 256:
        return b"\x8c" + bytes([len(raw)]) + raw
    return b"X" + struct.pack("<I", len(raw)) + raw


def _raw(data: bytes) -> bytes:
    if len(data) < 256:
        return b"C" + bytes([len(data)]) + data
    return b"B" + struct.pack("<I", len(data)) + data


def _integer(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    if -(1 << 63) <= value < 1 << 63:
        return b"\x8a\x08" + struct.pack("<q", value)
    raise UsageError(f"expected an int of 64 bits, found {value}")


def _array(array: np.ndarray[Any, Any]) -> Made:
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    if array.dtype.hasobject:
        content: Any = array.ravel(order="F" if fortran else "C").tolist()
    else:
        content = array.tobytes(order="F" if fortran else "C")
    return Made(
        function=Global(module="numpy.core.multiarray", name="_reconstruct"),
        arguments=(Global(module="numpy", name="ndarray"), (0,), b"b"),
        state=(1, array.shape, _dtype(array.dtype), fortran, content),
    )


def _dtype(dtype: np.dtype[Any]) -> Made:
    if dtype.fields or dtype.subdtype or dtype.kind not in "biufO":
        raise UsageError(f"expected numbers or objects, found dtype {dtype}")
    kind = "O8" if dtype.hasobject else f"{dtype.kind}{dtype.itemsize}"
    # Version 3 of a dtype's state: order, subarray, names, fields, size, alignment, flags.
    state = (3, dtype.str[0], None, None, None, -1, -1, 63 if dtype.hasobject else 0)
    return Made(function=Global(module="numpy", name="dtype"), arguments=(kind, 0, 1), state=state)
