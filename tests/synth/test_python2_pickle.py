"""Old pickles hold what was put in, for the guard and for Python itself, in opcodes that Python 2 had."""

from __future__ import annotations

import pickle
import pickletools
import warnings
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hmtools.core.errors import UsageError
from hmtools.core.safe_pickle import load_pickle
from hmtools.synth.python2_pickle import python2_pickle

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**31), 2**31 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(max_codepoint=255), max_size=300),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(st.characters(max_codepoint=255), max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
ARRAYS = hnp.arrays(
    st.sampled_from(["<f8", "<f4", ">f8", "<i8", "<i4", "|u1", "|b1"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
)


def by_python(data: bytes) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy 2 deprecates the very names this is about
        return pickle.loads(data, encoding="latin1")


@settings(max_examples=60, deadline=None)
@given(PLAIN)
def test_plain_values(value: Any) -> None:
    data = python2_pickle({"value": value})
    for found in (by_python(data), load_pickle(data)):
        assert found == {"value": value}
        assert repr(found["value"]) == repr(value)  # True is no 1, a tuple is no list


@settings(max_examples=60, deadline=None)
@given(ARRAYS)
def test_arrays(value: Any) -> None:
    for found in (by_python(python2_pickle([value]))[0], load_pickle(python2_pickle([value]))[0]):
        assert found.dtype == value.dtype.newbyteorder("=")  # NumPy swaps as it reads
        np.testing.assert_array_equal(found, value)
        assert found.shape == value.shape


def test_arrays_of_objects_and_other_orders() -> None:
    objects = np.empty((2, 1), object)
    objects[0, 0], objects[1, 0] = np.arange(6.0).reshape(2, 3), ["a", None]
    turned = np.asfortranarray(np.arange(12).reshape(3, 4))
    for read in (by_python, load_pickle):
        found, other = read(python2_pickle((objects, turned[:, ::2])))
        assert (found.dtype, found.shape) == (np.dtype(object), (2, 1))
        np.testing.assert_array_equal(found[0, 0], objects[0, 0])
        assert found[1, 0] == ["a", None]
        np.testing.assert_array_equal(other, turned[:, ::2])


def test_it_looks_like_python_2() -> None:
    data = python2_pickle({"key": ["x" * 300, np.zeros(3), np.array(["o", 1], object)]})
    found = [(opcode.name, argument) for opcode, argument, _ in pickletools.genops(data)]
    names = {name for name, _ in found}
    assert found[0] == ("PROTO", 2)
    assert {"SHORT_BINSTRING", "BINSTRING"} <= names
    assert not {name for name in names if "UNICODE" in name or "BYTES" in name}
    modules = {argument for name, argument in found if name == "GLOBAL"}
    assert modules == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
    assert b"_core" not in data


def test_the_same_value_gives_the_same_bytes() -> None:
    value = {"b": [1.5, np.arange(4)], "a": ("text", 7)}
    assert python2_pickle(value) == python2_pickle(OrderedDict(value))
    assert list(load_pickle(python2_pickle(value))) == ["b", "a"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1, 2}, "a set is no plain data"),
        (2**31, "an int of 32 bits, found 2147483648"),
        (["\u20ac"], "8-bit strings"),
        (np.zeros(2, [("a", "O"), ("b", "f8")]), "numbers or of objects"),
        (np.float64, "a type is no plain data"),
    ],
)
def test_what_is_refused(value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        python2_pickle(value)
