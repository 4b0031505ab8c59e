"""Calls that copy the same memoised data again and again, for a few bytes of the stream each."""

from __future__ import annotations

import collections
import datetime
import pickle
import pickletools
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from hmtools.core import pickle_machine
from hmtools.core.errors import AssetError
from hmtools.core.safe_pickle import load_pickle
from tests.core.pickle_stream import Name, build, call, get, new, op, put, stream

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
MANY, TIMES = 3000, 700
NEW_ARRAY = call("numpy._core.multiarray _reconstruct", Name("numpy ndarray"), (0,), b"b")
WORDS = np.array([f"c{number}" for number in range(MANY)], dtype=object)
MANAGER = call(
    "pandas.core.internals.managers BlockManager",
    (
        call(
            "pandas._libs.internals _unpickle_block",
            np.zeros((MANY, 0)),
            call("builtins slice", 0, MANY, 1),
            2,
        ),
    ),
    [
        call("pandas.core.indexes.base _new_Index", Name("pandas Index"), {"data": WORDS}),
        call("pandas.core.indexes.base _new_Index", Name("pandas Index"), {"data": WORDS[:0]}),
    ],
)


def storage(count: int) -> bytes:
    codes = pickletools.genops(pickle.dumps(torch.zeros(count), 3))
    return next(bytes(arg) for code, arg, _ in codes if code.name == "BINBYTES" and arg is not None)


# The memoised value, and what is made out of it.
COPIES: dict[str, tuple[Any, bytes]] = {
    "bytearrays": (bytes(MANY * 8), call("builtins bytearray", get(250))),
    "sets": (list(range(MANY)), call("builtins set", get(250))),
    "dictionaries": ([(key, 0) for key in range(MANY)], call("collections OrderedDict", get(250))),
    "text": ("x" * MANY * 8, call("_codecs encode", get(250), "latin1")),
    "arrays": (
        (1, (MANY,), np.dtype("f8"), False, bytes(MANY * 8)),
        build(NEW_ARRAY, get(250)),
    ),
    "object arrays": ((1, (MANY,), np.dtype("O"), False, [None] * MANY), build(NEW_ARRAY, get(250))),
    "sparse matrices": (
        vars(sp.csc_matrix(np.ones((1, MANY)))),
        build(new("scipy.sparse._csc csc_matrix"), get(250)),
    ),
    "chumpy": (dict.fromkeys(map(str, range(MANY)), 0), build(new("chumpy.ch Ch"), get(250))),
    "frames": (
        {"_mgr": MANAGER},
        build(new("pandas DataFrame"), get(250)),
    ),
    "words": ({"_ndarray": WORDS}, build(new("pandas.arrays StringArray"), get(250))),
    "buffers": (bytearray(MANY * 8), call("pyarrow.lib py_buffer", get(250))),
    "storages": (storage(MANY), call("torch.storage _load_from_bytes", get(250))),
}


@pytest.fixture
def peak() -> Iterator[Callable[[], int]]:
    """Tells the most memory taken since the start of the test."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.mark.parametrize("name", COPIES)
def test_what_calls_make_is_bounded_by_the_file(name: str, peak: Callable[[], int]) -> None:
    value, made = COPIES[name]
    first = put(b"OP:" + op(value), 250)
    assert len(load_pickle(stream(first, [made] * 3))) == 3
    data = stream(first, [made] * TIMES)
    with pytest.raises(AssetError, match="grow to more than 64 times its size"):
        load_pickle(data)
    assert peak() < 2 * (64 * len(data) + (1 << 20))


SMALL: list[list[Any]] = [
    [set() for _ in range(300)],
    [np.float64(number) for number in range(300)],
    [np.zeros(1) for _ in range(300)],
    [datetime.date(2020, 1, 1) + datetime.timedelta(number) for number in range(300)],
    [collections.OrderedDict() for _ in range(300)],
    [collections.defaultdict(list) for _ in range(300)],
    [torch.zeros(1) for _ in range(30)],
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_many_small_things_are_no_growth(protocol: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_machine, "_ALWAYS", 0)
    for value in SMALL:
        assert len(load_pickle(pickle.dumps(value, protocol))) == len(value)
