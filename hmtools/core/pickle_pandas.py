"""Pandas dataframes inside pickles, as columns of arrays, without pandas.

A pickled frame is a manager with two axes (column names, rows) and blocks: a 2-D array holds the columns of
one dtype, and a placement says which columns of the frame they are. Nothing of it is believed: blocks must
have the rows of the index and cover every column once. Three generations of pandas write that:

=================  ========================================================================================
pandas to 1.2      manager with the state ``(axes, values, items, {"0.14.1": {"axes", "blocks"}})``; axes and
                   values before the dictionary are what pandas itself ignores on reading
pandas 1.3         manager made from blocks that ``functools.partial(new_block, ndim=2)`` makes
pandas 1.4 to 3.x  the same with ``_unpickle_block``; since 3.0 short names (``pandas.DataFrame``) and text
                   columns as Arrow buffers
=================  ========================================================================================

Text columns become object arrays of str and None, whatever array class held them. Series, several levels of
index, time zones, categories and nullable numbers are refused by their names.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hmtools.core.pickle_globals import Global, need

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PANDAS", "PickledFrame"]

_Labels: TypeAlias = "NDArray[Any] | range"


@dataclass(frozen=True, slots=True, eq=False)
class PickledFrame:
    """What stands where a pickle holds a pandas dataframe.

    Attributes:
        columns: name -> (rows,) array in the pickled dtype, in the order of the frame. Text, and cells that
            hold lists or arrays, are object arrays; missing text is None. Columns of one dtype share memory.
        index: (rows,) labels of the rows: a range where pandas had a RangeIndex, else an array.
    """

    columns: dict[str, NDArray[Any]]
    index: NDArray[Any] | range

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.index)

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + sys.getsizeof(self.columns) + 128 * len(self.columns)


class _Manager:
    """A block manager on its way into a frame."""

    def __init__(self) -> None:
        self.blocks: tuple[_Block, ...] | None = None
        self.columns: _Labels = range(0)
        self.rows: _Labels = range(0)


class _Text:
    """An array of text on its way into a block or an index."""

    def __init__(self) -> None:
        self.values: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True)
class _Axis:
    labels: _Labels


@dataclass(frozen=True, slots=True)
class _Block:
    values: NDArray[Any]  # (columns of this block, rows)
    places: Sequence[int] | NDArray[Any]  # of these columns in the frame


# --- axes ----------------------------------------------------------------------------------------------


def _settled(array: Any, dimensions: int) -> NDArray[Any]:
    """The array itself, or a copy of an empty one: only an empty array can be one whose state still comes."""
    need(type(array) is np.ndarray, "a plain array")
    settled: NDArray[Any] = array if array.size else array.copy()
    need(settled.ndim == dimensions, f"an array of {dimensions} dimensions, found {settled.ndim}")
    return settled


def _text_of(stand_in: _Text) -> NDArray[Any]:
    need(stand_in.values is not None, "text with its state")
    return stand_in.values  # type: ignore[return-value] # checked in the line above


def _axis(kind: Any, state: Any) -> _Axis:
    need(isinstance(kind, Global) and kind.name in _AXES, "one of the index classes")
    need(type(state) is dict, "a state")
    if kind.name.endswith("RangeIndex"):
        ends = [state[key] for key in ("start", "stop", "step")]
        need(all(type(end) is int for end in ends), "a range of whole numbers")
        labels: _Labels = range(*ends)
        need(len(labels) >= 0, "a range that can be counted")  # OverflowError beyond the largest size
        return _Axis(labels)
    data = state["data"]
    return _Axis(_text_of(data) if isinstance(data, _Text) else _settled(data, 1))


# --- text ----------------------------------------------------------------------------------------------

_NA = ("pandas._libs.missing.NA", "pandas.NA")
_OFFSETS = {"string": "<i4", "large_string": "<i8"}


def _finish_text(stand_in: _Text, state: Any) -> None:
    """Take a state dictionary, or the tuple of newer pandas, which holds dtype, values and a dictionary."""
    if type(state) is dict:
        pickled = state["_ndarray"] if "_ndarray" in state else state["_pa_array"]
    else:
        need(type(state) is tuple, "a state")
        (pickled,) = (part for part in state if isinstance(part, np.ndarray))
    values = _settled(pickled, 1)
    text = np.empty(len(values), dtype=object)
    text[:] = [_word_or_none(value) for value in values.tolist()]
    stand_in.values = text


def _word_or_none(value: Any) -> str | None:
    if type(value) is str:
        return value
    missing = value is None or (type(value) is float and value != value)  # NaN
    need(missing or (isinstance(value, Global) and value.name in _NA), "text or a missing value")
    return None


def _backed(kind: Any, _checksum: Any, state: Any) -> _Text:
    need(isinstance(kind, Global), "an array class")
    need(kind.name in _TEXTS, f"an array of text, found {kind.name}")
    need(state is None, "the state apart")
    return _Text()


def _arrow_type(name: Any) -> str:
    need(name in _OFFSETS, f"an Arrow type out of {', '.join(_OFFSETS)}")
    return str(name)


def _arrow_buffer(data: Any) -> bytes:
    need(type(data) in (bytes, bytearray), "bytes")
    return bytes(data)


def _arrow_text(parts: Any) -> NDArray[Any]:
    """Arrow's text: the ends of all words in one buffer, their letters in another, a bit for each present."""
    kind, length, _, offset, buffers, children, dictionary = parts
    need(type(length) is int and type(offset) is int and min(length, offset) >= 0, "a length and an offset")
    need(children == [] and dictionary is None, "plain text")
    present, pickled_ends, letters = buffers
    ends = np.frombuffer(pickled_ends, _OFFSETS[kind])
    need(offset + length < len(ends), "an end for each word")
    ends = ends[offset : offset + length + 1]
    letters = letters or b""
    need(ends[0] >= 0 and (np.diff(ends) >= 0).all() and ends[-1] <= len(letters), "ends in order")
    bits = np.ones(length, bool)
    if present is not None:
        bits = np.unpackbits(np.frombuffer(present, np.uint8), bitorder="little")[offset : offset + length]
        need(len(bits) == length, "a bit for each word")
    spans = zip(ends[:-1].tolist(), ends[1:].tolist(), bits.tolist(), strict=True)
    words = np.empty(length, dtype=object)
    words[:] = [letters[start:end].decode("utf-8") if there else None for start, end, there in spans]
    return words


# --- blocks --------------------------------------------------------------------------------------------


def _block(pickled: Any, placement: Any, dimensions: Any = 2) -> _Block:
    need(dimensions == 2, "a block of two dimensions")
    values = _text_of(pickled)[None] if isinstance(pickled, _Text) else _settled(pickled, 2)
    places: Sequence[int] | NDArray[Any]
    if type(placement) is slice:
        start, stop, step = placement.start, placement.stop, placement.step
        need(type(start) is int and type(step) is int, "a start and a step")
        stop = -1 if stop is None and step < 0 else stop  # a slice cannot say "down to and with 0" otherwise
        need(type(stop) is int, "a stop")
        places = range(start, stop, step)
    else:
        places = _settled(placement, 1)
        need(places.dtype.kind == "i", "whole numbers as places")
    need(len(places) == len(values), "a place for each column of a block")
    return _Block(values, places)


def _partial(function: Any) -> Global:
    """``functools.partial``, only of pandas' maker of blocks, with the argument that pandas 1.3 gives it."""
    need(isinstance(function, Global) and function.name == _NEW_BLOCK, f"a partial {_NEW_BLOCK}")
    return Global(f"functools.partial of {_NEW_BLOCK}", lambda values, placement: _block(values, placement))


def _finish_partial(_made: Global, state: Any) -> None:
    function, args, keywords, attributes = state
    need(isinstance(function, Global) and function.name == _NEW_BLOCK, f"a partial {_NEW_BLOCK}")
    need(args == () and keywords == {"ndim": 2} and not attributes, "blocks of two dimensions")


# --- managers and frames -------------------------------------------------------------------------------


def _fill(manager: _Manager, blocks: Any, axes: Any) -> _Manager:
    need(type(blocks) in (tuple, list) and all(isinstance(block, _Block) for block in blocks), "blocks")
    need(type(axes) is list and len(axes) == 2 and all(isinstance(axis, _Axis) for axis in axes), "two axes")
    manager.blocks, manager.columns, manager.rows = tuple(blocks), axes[0].labels, axes[1].labels
    return manager


def _finish_manager(manager: _Manager, state: Any) -> None:
    need(type(state) is tuple and len(state) == 4 and type(state[3]) is dict, "the state of a manager")
    held = state[3]["0.14.1"]
    _fill(manager, [_block(block["values"], block["mgr_locs"]) for block in held["blocks"]], held["axes"])


def _finish_frame(frame: PickledFrame, state: Any) -> None:
    need(type(state) is dict and state.get("_typ", "dataframe") == "dataframe", "the state of a dataframe")
    manager = state["_mgr"] if "_mgr" in state else state["_data"]  # "_data" up to pandas 1.0
    need(isinstance(manager, _Manager) and manager.blocks is not None, "a manager with its state")
    object.__setattr__(frame, "columns", _columns(manager))
    object.__setattr__(frame, "index", manager.rows)


def _columns(manager: _Manager) -> dict[str, NDArray[Any]]:
    blocks, rows = manager.blocks or (), len(manager.rows)
    held = sum(len(block.places) for block in blocks)
    need(held == len(manager.columns), f"{len(manager.columns)} columns in the blocks, found {held}")
    for block in blocks:
        need(block.values.shape[1] == rows, f"{rows} rows in each block, found {block.values.shape[1]}")
    # A range costs nothing in the file, and a block without rows may claim any number of columns.
    need(isinstance(manager.columns, np.ndarray) or not held, "column names that are text")
    names: list[Any] = list(manager.columns)
    need(all(type(name) is str for name in names), "column names that are text")
    need(len(set(names)) == held, "column names that differ from each other")
    found: dict[int, NDArray[Any]] = {}
    for block in blocks:
        found.update(zip(map(int, block.places), block.values, strict=True))
    need(sorted(found) == list(range(held)), "blocks that cover every column once")
    return {name: found[place] for place, name in enumerate(names)}


# --- the table -----------------------------------------------------------------------------------------

_NEW_BLOCK = "pandas.core.internals.blocks.new_block"
_INDEXES = (
    "base.Index",
    "range.RangeIndex",
    "numeric.Int64Index",
    "numeric.UInt64Index",
    "numeric.Float64Index",
)
_AXES = ("pandas.Index", "pandas.RangeIndex", *(f"pandas.core.indexes.{name}" for name in _INDEXES))
_TEXTS = tuple(
    f"{module}.{name}"
    for module in ("pandas.core.arrays.string_", "pandas.core.arrays.string_arrow", "pandas.arrays")
    for name in ("StringArray", "ArrowStringArray")
)


def _ignored(*_: Any) -> object:
    """Stand for the dtype of text: the text itself says all."""
    return object()


def _rows() -> Iterator[Global]:
    frame: Callable[[], PickledFrame] = lambda: PickledFrame({}, range(0))  # noqa: E731
    for name in ("pandas.core.frame.DataFrame", "pandas.DataFrame"):
        yield Global(name, new=frame, finish=_finish_frame)
    yield Global(
        "pandas.core.internals.managers.BlockManager",
        lambda blocks, axes: _fill(_Manager(), blocks, axes),
        new=_Manager,
        finish=_finish_manager,
    )
    yield Global("pandas.core.indexes.base._new_Index", _axis)
    yield from map(Global, (*_AXES, *_NA, _NEW_BLOCK))
    yield Global("pandas._libs.internals._unpickle_block", _block)
    yield Global("functools.partial", _partial, finish=_finish_partial)
    yield from (Global(name, new=_Text, finish=_finish_text) for name in _TEXTS)
    yield Global("pandas._libs.arrays.__pyx_unpickle_NDArrayBacked", _backed, finish=_finish_text)
    for name in ("pandas.core.arrays.string_.StringDtype", "pandas.StringDtype"):
        yield Global(name, _ignored, new=_ignored, finish=lambda _dtype, _state: None)
    yield Global("pyarrow.lib.type_for_alias", _arrow_type)
    yield Global("pyarrow.lib.py_buffer", _arrow_buffer)
    yield Global("pyarrow.lib._restore_array", _arrow_text)


PANDAS: dict[str, Global] = {row.name: row for row in _rows()}
"""What the pickle of a dataframe may ask for besides :data:`~hmtools.core.pickle_globals.ALLOWED`."""
