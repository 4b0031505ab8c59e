"""Pickled dataframes that claim what they do not hold, and the right ones they are made from."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from hmtools.core.errors import AssetError, UnsafeFileError
from hmtools.core.safe_pickle import load_pickle
from tests.core.pickle_stream import Name, build, call, get, new, put, stream

FRAME, MANAGER = "pandas.core.frame DataFrame", "pandas.core.internals.managers BlockManager"
INDEX, RANGE = Name("pandas.core.indexes.base Index"), Name("pandas.core.indexes.range RangeIndex")
AB = np.array(["a", "b"], dtype=object)
BLOCK = np.arange(6.0).reshape(2, 3)
EMPTY = call("numpy._core.multiarray _reconstruct", Name("numpy ndarray"), (0,), b"b")  # its state may follow


def axis(kind: Name, **state: Any) -> bytes:
    return call("pandas.core.indexes.base _new_Index", kind, {"name": None, **state})


def ranged(start: Any, stop: Any, step: Any = 1) -> bytes:
    return axis(RANGE, start=start, stop=stop, step=step)


def cut(*ends: Any) -> bytes:
    return call("builtins slice", *ends)


COLUMNS, ROWS = axis(INDEX, data=AB), ranged(0, 3)


def block(values: Any, places: Any) -> dict[str, Any]:
    return {"values": values, "mgr_locs": places}


def old(*blocks: Any, axes: Any = (COLUMNS, ROWS), key: str = "_mgr", kind: Any = "dataframe") -> bytes:
    """A frame as pandas 1.2 and older write it."""
    state: tuple[Any, ...] = ([], [], [], {"0.14.1": {"axes": list(axes), "blocks": list(blocks)}})
    return build(new(FRAME), {key: build(new(MANAGER), state), "_typ": kind, "_metadata": []})


def later(*blocks: Any, axes: Any = (COLUMNS, ROWS)) -> bytes:
    """A frame as pandas 1.4 and later write it."""
    made = tuple(call("pandas._libs.internals _unpickle_block", *block) for block in blocks)
    return build(new(FRAME), {"_mgr": call(MANAGER, made, list(axes)), "_typ": "dataframe"})


GOOD = block(BLOCK, cut(0, 2, 1))


@pytest.mark.parametrize(
    "data",
    [
        old(GOOD),
        old(GOOD, key="_data"),
        later((BLOCK, cut(0, 2, 1), 2)),
        later((BLOCK, np.array([0, 1]), 2)),
        later((BLOCK[:1], cut(0, 2, 2), 2), (BLOCK[1:], cut(1, 3, 2), 2)),
        later((BLOCK[::-1], cut(1, None, -1), 2)),
        later((BLOCK, cut(0, 2, 1), 2), (np.zeros((0, 3)), np.zeros(0, int), 2)),
        old(GOOD, axes=(COLUMNS, axis(INDEX, data=np.arange(3)))),
    ],
)
def test_the_forger_writes_what_pandas_writes(data: bytes) -> None:
    found = load_pickle(stream(data))
    assert {name: values.tolist() for name, values in found.columns.items()} == {
        "a": [0, 1, 2],
        "b": [3, 4, 5],
    }
    assert list(found.index) == [0, 1, 2]


def text_state(values: Any) -> bytes:
    return build(new("pandas.core.arrays.string_ StringArray"), {"_ndarray": values})


def arrow(kind: str, length: Any, offset: Any, *buffers: bytes | None, children: Any = ()) -> bytes:
    made = [None if data is None else call("pyarrow.lib py_buffer", data) for data in buffers]
    alias = call("pyarrow.lib type_for_alias", kind)
    parts = (alias, length, 0, offset, made, list(children), None)
    return build(
        new("pandas.arrays ArrowStringArray"), {"_pa_array": call("pyarrow.lib _restore_array", parts)}
    )


def ends(*numbers: int) -> bytes:
    return np.array(numbers, "<i4").tobytes()


def text_frame(text: bytes) -> bytes:
    return later((text, cut(0, 1, 1), 2), axes=(axis(INDEX, data=AB[:1]), ranged(0, 2)))


def test_forged_text_that_is_right() -> None:
    for text in (
        text_state(np.array(["x", "yz"], dtype=object)),
        arrow("string", 2, 0, None, ends(0, 1, 3), b"xyz"),
        arrow("string", 2, 1, b"\x07", ends(0, 5, 6, 8), b"-----xyz"),
    ):
        assert load_pickle(stream(text_frame(text))).columns["a"].tolist() == ["x", "yz"]
    missing = arrow("string", 2, 1, b"\x02", ends(0, 0, 1, 1), b"x")
    assert load_pickle(stream(text_frame(missing))).columns["a"].tolist() == ["x", None]


FORGED: dict[str, Any] = {
    # blocks that do not fit the axes
    "rows": old(block(BLOCK[:, :2], cut(0, 2, 1))),
    "rows of the index": old(GOOD, axes=(COLUMNS, axis(INDEX, data=np.arange(4)))),
    "one dimension": old(block(np.zeros(3), cut(0, 1, 1))),
    "three dimensions": old(block(np.zeros((2, 3, 1)), cut(0, 2, 1))),
    "no array": old(block([1, 2], cut(0, 2, 1))),
    "a sparse matrix": old(block(sp.csc_matrix(np.eye(2, 3)), cut(0, 2, 1))),
    "a scalar": old(block(1.0, cut(0, 2, 1))),
    "unfinished": old(block(EMPTY, cut(0, 2, 1))),
    "dimension of the block": later((BLOCK, cut(0, 2, 1), 1)),
    # placements
    "beyond the end": later((BLOCK, cut(1, 3, 1), 2)),
    "before the start": later((BLOCK, cut(-1, 1, 1), 2)),
    "twice": later((BLOCK, np.array([0, 0]), 2)),
    "twice in two blocks": later((BLOCK[:1], cut(0, 1, 1), 2), (BLOCK[1:], cut(0, 1, 1), 2)),
    "missing": later((BLOCK[:1], cut(0, 1, 1), 2)),
    "too many": later((BLOCK, cut(0, 2, 1), 2), (BLOCK[:1], cut(2, 3, 1), 2)),
    "fewer places": later((BLOCK, cut(0, 1, 1), 2)),
    "more places": later((BLOCK, cut(0, 2**62, 1), 2)),
    "endless places": later((BLOCK, cut(0, 10**30, 1), 2)),
    "huge places": later((BLOCK, cut(10**30, 10**30 + 2, 1), 2)),
    "step of zero": later((BLOCK, cut(0, 2, 0), 2)),
    "no start": later((BLOCK, cut(None, 2, 1), 2)),
    "no end": later((BLOCK, cut(0, None, 1), 2)),
    "places of floats": later((BLOCK, np.array([0.0, 1.0]), 2)),
    "places of objects": later((BLOCK, np.array([0, 1], dtype=object), 2)),
    "places in two dimensions": later((BLOCK, np.array([[0], [1]]), 2)),
    "a list of places": later((BLOCK, [0, 1], 2)),
    "slice of text": cut("a", "b", None),
    "slice of two": cut(0, 1),
    "slice of bools": cut(False, True, 1),
    # axes
    "three axes": old(GOOD, axes=(COLUMNS, ROWS, ROWS)),
    "one axis": old(GOOD, axes=(COLUMNS,)),
    "an array as axis": old(GOOD, axes=(AB, ROWS)),
    "axis of two dimensions": axis(INDEX, data=np.zeros((2, 1))),
    "axis of a list": axis(INDEX, data=["a", "b"]),
    "axis of no class": axis(Name("numpy ndarray"), data=AB),
    "axis of a class by text": call("pandas.core.indexes.base _new_Index", "Index", {"data": AB}),
    "axis without data": axis(INDEX),
    "range of floats": ranged(0.0, 3.0),
    "range of step zero": ranged(0, 3, 0),
    "range without end": axis(RANGE, start=0, step=1),
    "endless range": ranged(0, 10**30),
    "names of numbers": old(GOOD, axes=(axis(INDEX, data=np.arange(2)), ROWS)),
    "names of a range": old(GOOD, axes=(ranged(0, 2), ROWS)),
    "names of lists": old(GOOD, axes=(axis(INDEX, data=np.array([[], {}], dtype=object)), ROWS)),
    "names twice": old(GOOD, axes=(axis(INDEX, data=AB[[0, 0]]), ROWS)),
    "names that end": old(GOOD, axes=(axis(INDEX, data=AB[:1]), ROWS)),
    "columns that cost nothing": old(
        block(np.zeros((2**22, 0)), cut(0, 2**22, 1)), axes=(ranged(0, 2**22), ranged(0, 0))
    ),
    # managers and frames
    "not a dataframe": old(GOOD, kind="series"),
    "no manager": build(new(FRAME), {"_typ": "dataframe"}),
    "an array as manager": build(new(FRAME), {"_mgr": BLOCK}),
    "a manager without state": build(new(FRAME), {"_mgr": new(MANAGER)}),
    "a list as state": build(new(FRAME), [("_mgr", 1)]),
    "arrays as blocks": build(new(FRAME), {"_mgr": call(MANAGER, (BLOCK,), [COLUMNS, ROWS])}),
    "a short state": build(new(MANAGER), ([], [], [])),
    "an older state": build(new(MANAGER), ([], [], [], {"0.13": {}})),
    # text
    "text of numbers": text_frame(text_state(np.array([1, 2], dtype=object))),
    "text without state": text_frame(new("pandas.arrays StringArray")),
    "text of bytes": text_frame(text_state(np.array([b"x", b"y"], dtype=object))),
    "text in two dimensions": text_frame(text_state(np.array([["x"], ["y"]], dtype=object))),
    "backed by another": call(
        "pandas._libs.arrays __pyx_unpickle_NDArrayBacked", Name("numpy ndarray"), 82904607, None
    ),
    "backed by two": build(
        call("pandas._libs.arrays __pyx_unpickle_NDArrayBacked", Name("pandas.arrays StringArray"), 0, None),
        (AB, AB),
    ),
    "letters beyond the end": text_frame(arrow("string", 2, 0, None, ends(0, 1, 4), b"xyz")),
    "letters before the start": text_frame(arrow("string", 2, 0, None, ends(-3, 1, 3), b"xyz")),
    "letters backwards": text_frame(arrow("string", 2, 0, None, ends(2, 1, 3), b"xyz")),
    "too few ends": text_frame(arrow("string", 2, 0, None, ends(0, 1), b"xyz")),
    "half an end": text_frame(arrow("string", 2, 0, None, ends(0, 1, 3)[:-1], b"xyz")),
    "ends of another size": text_frame(arrow("large_string", 2, 0, None, ends(0, 1, 3), b"xyz")),
    "offset beyond the ends": text_frame(arrow("string", 2, 1, None, ends(0, 1, 3), b"xyz")),
    "negative offset": text_frame(arrow("string", 2, -1, None, ends(0, 1, 3), b"xyz")),
    "negative length": text_frame(arrow("string", -1, 1, None, ends(0, 1, 3), b"xyz")),
    "huge length": text_frame(arrow("string", 2**62, 0, None, ends(0, 1, 3), b"xyz")),
    "too few bits": text_frame(arrow("string", 9, 0, b"\xff", ends(*range(10)), b"x" * 9)),
    "no UTF-8": text_frame(arrow("string", 2, 0, None, ends(0, 1, 3), b"\xff\xfe\xfd")),
    "another type": text_frame(arrow("int64", 2, 0, None, ends(0, 1, 3), b"xyz")),
    "children": text_frame(arrow("string", 2, 0, None, ends(0, 1, 3), b"xyz", children=(1,))),
    "a buffer of a number": call("pyarrow.lib py_buffer", 10**9),
    # pandas 1.3
    "partial of another": call("functools partial", Name("builtins set")),
    "partial of text": call("functools partial", "os.system"),
    "partial in one dimension": build(
        call("functools partial", Name("pandas.core.internals.blocks new_block")),
        (Name("pandas.core.internals.blocks new_block"), (), {"ndim": 1}, None),
    ),
    "partial that changes": build(
        call("functools partial", Name("pandas.core.internals.blocks new_block")),
        (Name("builtins set"), (), {"ndim": 2}, None),
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_frames_are_damage(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(AssetError, match="cannot be read as a pickle"):
            load_pickle(stream(FORGED[name]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (build(old(GOOD), {}), "a change of the state of 'PickledFrame'"),
        (call(FRAME, {}), "a call of 'pandas.core.frame.DataFrame'"),
        (
            call("pandas.core.internals.blocks new_block", BLOCK, cut(0, 2, 1)),
            "a call of 'pandas.core.internals.bl",
        ),
        (call("pandas.core.indexes.base Index", AB), "a call of 'pandas.core.indexes.base.Index'"),
        (call("pandas.arrays StringArray", AB), "a call of 'pandas.arrays.StringArray'"),
    ],
)
def test_misuse_is_refused(data: bytes, expected: str) -> None:
    with pytest.raises(UnsafeFileError, match=f"asks for {expected}"):
        load_pickle(stream(data))


def test_an_array_that_grows_after_it_was_checked() -> None:
    grow = build(get(250), (1, (9,), np.dtype("i8"), False, bytes(72)))
    rows = axis(INDEX, data=put(EMPTY, 250))
    data = later((np.zeros((2, 0)), cut(0, 2, 1), 2), axes=(COLUMNS, rows))
    found = load_pickle(stream([data, grow]))
    assert found[1].shape == (9,)
    assert len(found[0]) == 0
    assert [column.shape for column in found[0].columns.values()] == [(0,), (0,)]
