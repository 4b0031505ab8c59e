"""The names a pickle may ask for, and what hmtools makes of each. Everything that is not here is refused.

No name gives the stream a real class or function: it gets an opaque :class:`Global` that only the guarded
unpickler can use, with arguments checked here. Why each is safe:

=====================================  =====================================================================
``set frozenset bytes bytearray slice  checked to receive only what a pickler writes (one list, one byte
complex``, ``_codecs.encode``          string ...), so sizes come from the file, never from a number in it
``OrderedDict defaultdict``            empty, or pairs; a default factory must be one of ``_FACTORIES``
``object copyreg._reconstructor``      only to create an instance of an allowed class, with no arguments
``datetime.*``                         plain values; their constructors check their arguments
``numpy.dtype``                        rebuilt through NumPy's public constructor. NumPy's own
                                       ``dtype.__setstate__`` trusts offsets and flags: a forged state reads
                                       outside the array, or follows raw bytes as object pointers
``numpy _reconstruct _frombuffer       size, shape and dtype must agree to the byte; raw bytes never become
scalar ndarray``                       objects; every array owns a private copy of its dtype
``scipy.sparse`` csc csr coo           rebuilt through SciPy's constructor with all indices checked: its
                                       compiled code trusts them
``chumpy.*``                           :class:`ChumpyArray`, a bag of data that runs nothing
=====================================  =====================================================================

Two further tables belong to :func:`~hmtools.core.safe_pickle.load_pickle` and say the same for their names:
pandas dataframes in :mod:`hmtools.core.pickle_pandas`, torch tensors in :mod:`hmtools.core.pickle_torch`.
"""

from __future__ import annotations

import collections
import datetime
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hmtools.core.errors import AssetError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ALLOWED", "ChumpyArray", "ForbiddenError", "Global", "lookup", "need", "shape_of"]


class ForbiddenError(Exception):
    """Raised by a call of a :class:`Global` that meets something to refuse; the message says what it is."""


@dataclass(frozen=True, slots=True)
class Global:
    """An allowed name on the unpickler's stack.

    ``call`` makes an object from arguments (REDUCE), ``new`` an empty instance (NEWOBJ), and ``finish`` gives
    either its state (BUILD), once. What is ``None`` is refused. All raise ValueError or TypeError on anything
    a pickler would not have written.
    """

    name: str
    call: Callable[..., Any] | None = None
    new: Callable[[], Any] | None = None
    finish: Callable[[Any, Any], None] | None = None


class ChumpyArray:
    """What stands where a pickle holds a chumpy object: its state, and the array inside. It computes nothing.

    Attributes:
        kind: the chumpy class, such as ``"chumpy.ch.Ch"``.
        state: the pickled attributes; ``state["x"]`` holds the values of a plain ``Ch``.
    """

    __slots__ = ("kind", "state")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.state: dict[str, Any] = {}

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + sys.getsizeof(self.state)

    def __repr__(self) -> str:
        return f"ChumpyArray({self.kind!r}, state keys {sorted(map(str, self.state))})"

    @property
    def array(self) -> NDArray[Any]:
        """The underlying array, in the shape and dtype it was pickled with.

        Raises:
            AssetError: if this is a chumpy *expression* (its values would have to be computed).
        """
        value: Any = self
        for _ in range(8):  # a Ch may wrap a Ch; a forged one might wrap itself
            if not isinstance(value, ChumpyArray):
                break
            value = value.state.get("x")
        if not isinstance(value, np.ndarray | np.generic | int | float):
            raise AssetError(
                f"{self.kind} holds an expression, not an array (state: {', '.join(map(str, self.state))}). "
                "Only plain chumpy arrays are read without chumpy; ask for a file that holds arrays."
            )
        return np.asarray(value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.array, dtype=dtype, copy=copy)


def need(condition: object, expected: str) -> None:
    """Raise the ValueError of something that no pickler writes, unless ``condition`` holds."""
    if not condition:
        raise ValueError(f"expected {expected}")


def _raw(data: Any) -> bytes | bytearray:
    """Bytes as pickled; Python 2 text decoded as latin-1 is turned back."""
    if type(data) is str:
        return data.encode("latin-1")
    need(type(data) in (bytes, bytearray), "bytes")
    return data  # type: ignore[no-any-return]


def _word(text: Any) -> str:
    return text.decode("ascii") if type(text) is bytes else str(text)


# --- builtins, collections, datetime -------------------------------------------------------------------


def _from_list(kind: Callable[[list[Any]], Any]) -> Callable[..., Any]:
    def make(items: Any = ()) -> Any:
        need(type(items) in (list, tuple), "a list")
        return kind(items)

    return make


def _bytes(data: Any = b"") -> bytes:
    return bytes(_raw(data))


def _bytearray(data: Any = b"", encoding: str = "latin-1") -> bytearray:
    need(encoding == "latin-1", "latin-1")
    return bytearray(_raw(data))


def _complex(real: float, imaginary: float) -> complex:
    need(type(real) is float and type(imaginary) is float, "two numbers")
    return complex(real, imaginary)


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    need(type(text) is str and encoding in ("latin1", "latin-1"), "text and latin1")
    return bytes(text.encode("latin-1"))


def _slice(*ends: Any) -> slice:
    need(len(ends) == 3 and all(end is None or type(end) is int for end in ends), "start, stop and step")
    return slice(*ends)


def _ordered(pairs: Any = ()) -> collections.OrderedDict[Any, Any]:
    need(type(pairs) in (list, tuple), "a list of pairs")
    return collections.OrderedDict((key, value) for key, value in pairs)


_FACTORIES: dict[str, type] = {kind.__name__: kind for kind in (list, dict, set, int, float, str)}


def _default(factory: Any = None) -> collections.defaultdict[Any, Any]:
    if factory is None:
        return collections.defaultdict()
    name = factory.name.rpartition(".")[2] if isinstance(factory, Global) else ""
    need(name in _FACTORIES, f"a default factory out of {', '.join(_FACTORIES)}")
    return collections.defaultdict(_FACTORIES[name])


# --- NumPy ---------------------------------------------------------------------------------------------

_DTYPE = re.compile(r"[biufcSUVO]\d{1,9}|[mM]8")


def _dtype(spec: Any, _align: Any = False, _copy: Any = True) -> np.dtype[Any]:
    """A dtype of its own, ready for :func:`_finish_dtype`; structure comes with the state only."""
    found = _DTYPE.fullmatch(_word(spec)) if type(spec) in (str, bytes) else None
    need(found, f"a simple dtype such as 'f8', found {spec!r}")
    word = _word(spec)
    return np.dtype("O" if word.startswith("O") else word, copy=True)  # "O4": from a 32-bit Python


def _finish_dtype(dtype: np.dtype[Any], state: Any) -> None:
    need(type(state) is tuple and 8 <= len(state) <= 9, "a dtype state")
    order, subarray, names, fields, itemsize = state[1:6]
    real: np.dtype[Any]
    if subarray is not None:
        base, shape = subarray
        real = np.dtype((_own(base), shape_of(shape)))
    elif names is not None:
        need(type(names) is tuple and type(fields) is dict, "field names and fields")
        layout = [fields[name] for name in names]
        real = np.dtype(
            {
                "names": [_word(name) for name in names],
                "formats": [_own(field[0]) for field in layout],
                "offsets": [field[1] for field in layout],
                "titles": [field[2] if len(field) > 2 else None for field in layout],
                "itemsize": itemsize,
            }
        )
    elif dtype.kind in "mM" and len(state) == 9:
        unit, count, divisor, _ = state[8][1]
        need(divisor == 1 and type(count) is int, "a time unit")
        real = np.dtype(
            f"{dtype.kind}8[{count}{_word(unit)}]" if _word(unit) != "generic" else f"{dtype.kind}8"
        )
    else:
        real = dtype
    need(_word(order) in ("<", ">", "=", "|"), "a byte order")
    real = real.newbyteorder(_word(order))  # type: ignore[arg-type] # checked in the line above
    need(
        (real.kind, real.itemsize) == (dtype.kind, dtype.itemsize) and itemsize in (-1, real.itemsize),
        "a state that fits the dtype",
    )
    # The only call of NumPy's __setstate__ for a dtype: with the state of a dtype that NumPy itself made.
    dtype.__setstate__(real.__reduce__()[2])  # type: ignore[attr-defined]


def _own(dtype: Any) -> np.dtype[Any]:
    """A copy that the stream cannot reach, so that nothing it does later changes an array made with it."""
    need(isinstance(dtype, np.dtype), "a dtype")
    simple = dtype.names is None and dtype.subdtype is None
    own: np.dtype[Any] = np.dtype(dtype.str) if simple else np.dtype(dtype, copy=True)
    return own


def shape_of(shape: Any) -> tuple[int, ...]:
    """Return a pickled shape: a tuple of at most 32 whole numbers, none of them negative."""
    need(type(shape) is tuple and len(shape) <= 32, "a shape")
    for size in shape:
        need((type(size) is int or isinstance(size, np.integer)) and size >= 0, "a shape of whole numbers")
    return tuple(map(int, shape))


def _fitting(data: Any, dtype: np.dtype[Any], count: int) -> bytes | bytearray:
    raw = _raw(data)
    need(len(raw) == count * dtype.itemsize, "bytes that fit the shape")
    need(dtype.itemsize or not count, "elements of at least one byte")
    return raw


def _reconstruct(kind: Any, _shape: Any, _code: Any) -> NDArray[Any]:
    need(isinstance(kind, Global) and kind.name == "numpy.ndarray", "numpy.ndarray")
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _finish_array(array: NDArray[Any], state: Any) -> None:
    need(type(state) is tuple and len(state) in (4, 5), "an array state")
    pickled_shape, pickled_dtype, fortran, data = state[-4:]
    shape, dtype = shape_of(pickled_shape), _own(pickled_dtype)
    count = math.prod(shape)
    if dtype.hasobject:
        need(type(data) is list and len(data) == count, "objects that fit the shape")
    else:
        data = bytes(_fitting(data, dtype, count))
    array.__setstate__((1, shape, dtype, bool(fortran), data))  # type: ignore[arg-type] # the stub is too narrow


def _frombuffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    own, sizes = _own(dtype), shape_of(shape)
    need(not own.hasobject and order in ("C", "F"), "numbers in C or F order")
    return np.ndarray(sizes, dtype=own, buffer=_fitting(buffer, own, math.prod(sizes)), order=order)


def _scalar(dtype: Any, data: Any = b"") -> Any:
    own = _own(dtype)
    need(not own.hasobject, "a number or text")
    raw = bytes(_raw(data))
    need(len(raw) == own.itemsize, "bytes that fit the dtype")
    return np.ndarray((), dtype=own, buffer=raw).copy()[()] if raw else np.zeros((), dtype=own)[()]


# --- SciPy and chumpy ----------------------------------------------------------------------------------


def _sparse(module: str, kind: str) -> Global:
    def real_class() -> Any:
        import scipy.sparse

        return getattr(scipy.sparse, kind)

    def new() -> Any:
        cls = real_class()
        return cls.__new__(cls)

    def finish(matrix: Any, state: Any) -> None:
        need(type(state) is dict, "a state")
        got = {_word(key).lstrip("_"): value for key, value in state.items()}
        parts: Any
        if kind.startswith("coo"):
            parts = (got["data"], got["coords"] if "coords" in got else (got["row"], got["col"]))
        else:
            parts = (got["data"], got["indices"], got["indptr"])
        checked = real_class()(_arrays(parts), shape=shape_of(got["shape"]), copy=True)
        if not kind.startswith("coo"):  # COO checks its indices in the constructor
            checked.check_format(full_check=True)
        matrix.__dict__.update(checked.__dict__)

    return Global(f"{module}.{kind}", new=new, finish=finish)


def _arrays(parts: Any) -> Any:
    """The same nesting of tuples, with nothing but arrays of numbers inside."""
    if type(parts) is tuple:
        return tuple(_arrays(part) for part in parts)
    need(type(parts) is np.ndarray and parts.ndim == 1 and not parts.dtype.hasobject, "arrays of numbers")
    return parts


def _chumpy(name: str) -> Global:
    def finish(stand_in: ChumpyArray, state: Any) -> None:
        need(type(state) is dict, "a state")
        stand_in.state = {_word(key): value for key, value in state.items()}

    return Global(name, new=lambda: ChumpyArray(name), finish=finish)


# --- the table -----------------------------------------------------------------------------------------


def _rows() -> Iterator[Global]:
    for module in ("builtins", "__builtin__"):
        yield Global(f"{module}.object")
        yield Global(f"{module}.set", _from_list(set))
        yield Global(f"{module}.frozenset", _from_list(frozenset))
        yield Global(f"{module}.bytes", _bytes)
        yield Global(f"{module}.bytearray", _bytearray)
        yield Global(f"{module}.complex", _complex)
        yield Global(f"{module}.slice", _slice)
        yield from (Global(f"{module}.{name}") for name in ("list", "dict", "int", "float", "str"))
    yield Global("_codecs.encode", _encode)
    yield Global("collections.OrderedDict", _ordered)
    yield Global("collections.defaultdict", _default)
    yield from (Global(f"{module}._reconstructor") for module in ("copyreg", "copy_reg"))
    for kind in (datetime.date, datetime.time, datetime.datetime, datetime.timedelta, datetime.timezone):
        yield Global(f"datetime.{kind.__name__}", kind)
    yield Global("numpy.dtype", _dtype, finish=_finish_dtype)
    yield Global("numpy.ndarray")
    for core in ("numpy.core", "numpy._core"):  # NumPy 1 and 2
        yield Global(f"{core}.multiarray._reconstruct", _reconstruct, finish=_finish_array)
        yield Global(f"{core}.multiarray.scalar", _scalar)
        yield Global(f"{core}.numeric._frombuffer", _frombuffer)
    for form in ("csc", "csr", "coo"):
        for module in (f"scipy.sparse.{form}", f"scipy.sparse._{form}"):  # before and since SciPy 1.8
            yield from (_sparse(module, f"{form}_{kind}") for kind in ("matrix", "array"))


ALLOWED: dict[str, Global] = {row.name: row for row in _rows()}
"""Every allowed name; the modules of chumpy are a rule of :func:`lookup`."""


def lookup(module: str, name: str, names: Mapping[str, Global] = ALLOWED) -> Global | None:
    """Return what stands for ``module.name`` in a table of names, or None where it is not allowed.

    Both must match as a whole: ``("numpy", "core.multiarray._reconstruct")`` is another name and not allowed.
    """
    if "." in name:
        return None
    if module == "chumpy" or module.startswith("chumpy."):
        return _chumpy(f"{module}.{name}")
    return names.get(f"{module}.{name}")
