"""Forged states of allowed objects. Under ``pickle.load`` several of these read foreign memory or crash."""

from __future__ import annotations

import pickle
import sys
import types
from typing import Any

import numpy as np
import pytest

from hmtools.core.errors import AssetError, HmtoolsError
from hmtools.core.pickle_globals import ALLOWED, lookup
from hmtools.core.safe_pickle import load_pickle
from tests.core.pickle_stream import (
    DTYPE,
    FROMBUFFER,
    RECONSTRUCT,
    SCALAR,
    Name,
    array,
    build,
    call,
    dtype,
    get,
    new,
    put,
    stream,
)


def fields(size: int, **layout: tuple[bytes, int]) -> tuple[Any, ...]:
    return (3, "|", None, tuple(layout), dict(layout), size, 1, 0)


F8, SIMPLE = dtype("f8"), (3, "<", None, None, None, -1, -1, 0)


def test_the_assembler_writes_what_a_pickler_writes() -> None:
    data = stream(array((2,), dtype("f8", SIMPLE), np.array([1.5, 2.5]).tobytes()))
    assert pickle.loads(data).tolist() == [1.5, 2.5]
    assert load_pickle(data).tolist() == [1.5, 2.5]
    layout = fields(12, a=(dtype("i4"), 8), b=(F8, 0))
    data = stream(array((1,), dtype("V12", layout), np.array([2.5]).tobytes() + b"\7\0\0\0"))
    assert load_pickle(data).tolist() == [(7, 2.5)]
    assert load_pickle(stream(call(SCALAR, F8, bytes(8)))) == 0.0


FORGED: dict[str, Any] = {
    # dtypes: an offset outside the element, objects hidden as bytes, sizes that do not match, odd specs
    "offset outside": array((4,), dtype("V1", fields(1, a=(F8, 100_000))), b"abcd"),
    "negative offset": array((4,), dtype("V1", fields(1, a=(F8, -8))), b"abcd"),
    "size of the state": array((1,), dtype("V8", fields(800, a=(F8, 0))), bytes(8)),
    "negative size": dtype("S1", (3, "|", None, None, None, -5, 1, 0)),
    "size that differs": dtype("S1", (3, "|", None, None, None, 4, 1, 0)),
    "object in raw bytes": array((1,), dtype("V8", fields(8, a=(dtype("O8"), 0))), b"A" * 8),
    "object as raw bytes": array((1,), dtype("O8", (3, "|", None, None, None, -1, -1, 0)), b"A" * 8),
    "overlapping objects": dtype("V8", fields(8, a=(dtype("O8"), 0), b=(F8, 0))),
    "objects in a subarray": array(
        (1,), dtype("V16", (3, "|", (dtype("O8"), (2,)), None, None, 16, 8, 0)), b"A" * 16
    ),
    "huge subarray": dtype("V8", (3, "|", (F8, (2**40,)), None, None, 8, 8, 0)),
    "subarray of no dtype": dtype("V8", (3, "|", ("f8", (1,)), None, None, 8, 8, 0)),
    "missing field": dtype("V8", (3, "|", None, ("a", "b"), {"a": (F8, 0)}, 8, 1, 0)),
    "fields that are no dict": dtype("V8", (3, "|", None, ("a",), [("a", (F8, 0))], 8, 1, 0)),
    "byte order": dtype("f8", (3, "x", None, None, None, -1, -1, 0)),
    "short state": dtype("f8", (3, "<")),
    "kind changes": dtype("f8", (3, "|", None, ("a",), {"a": (F8, 0)}, 8, 1, 0)),
    "spec with text": call(DTYPE, "O,f8", False, True),
    "spec of a list": call(DTYPE, [("a", "O")], False, True),
    "spec of a name": call(DTYPE, Name("builtins object"), False, True),
    "long spec": call(DTYPE, "S9999999999", False, True),
    "time unit": dtype("M8", (4, "<", None, None, None, -1, -1, 0, ({}, (b"us", 1, 7, 1)))),
    # arrays: shape, bytes and dtype that disagree
    "too few bytes": array((3,), F8, bytes(16)),
    "too many bytes": array((3,), F8, bytes(25)),
    "negative shape": array((-1, -2), F8, bytes(16)),
    "shape of floats": array((2.0,), F8, bytes(16)),
    "shape of booleans": array((True,), F8, bytes(8)),
    "shape of a list": array([2], F8, bytes(16)),
    "many dimensions": array((1,) * 33, F8, bytes(8)),
    "endless array of nothing": array((2**40,), dtype("S0"), b""),
    "huge shape times zero": array((2**70, 0), F8, b""),
    "objects of another count": array((3,), dtype("O8"), [1]),
    "objects in a tuple": array((1,), dtype("O8"), (1,)),
    "dtype of text": array((1,), b"f8", bytes(8)),
    "state without parts": build(call(RECONSTRUCT, Name("numpy ndarray"), (0,), b"b"), (1, 2)),
    "another class": call(RECONSTRUCT, Name("builtins list"), (0,), b"b"),
    "from buffer, too short": call(FROMBUFFER, b"1234567", F8, (1,), "C"),
    "from buffer, too long": call(FROMBUFFER, b"123456789", F8, (1,), "C"),
    "from buffer, objects": call(FROMBUFFER, b"A" * 8, dtype("O8"), (1,), "C"),
    "from buffer, order": call(FROMBUFFER, bytes(8), F8, (1,), "K"),
    "from buffer, of an array": call(FROMBUFFER, array((8,), dtype("u1"), bytes(8)), F8, (1,), "C"),
    "scalar, objects": call(SCALAR, dtype("O8"), b"A" * 8),
    "scalar, size": call(SCALAR, F8, b"A" * 7),
    # containers and numbers out of other things than a pickler writes
    "set of a number": call("builtins set", 3),
    "bytes of a number": call("builtins bytes", 10**12),
    "bytearray of a number": call("builtins bytearray", 10**12),
    "bytearray in another encoding": call("builtins bytearray", "x", "idna"),
    "encode in another encoding": call("_codecs encode", "x", "rot13"),
    "encode a number": call("_codecs encode", 7, "latin1"),
    "complex of text": call("builtins complex", "1", "2"),
    "ordered of a number": call("collections OrderedDict", 3),
    "ordered of text": call("collections OrderedDict", ["abc"]),
    "factory that is a function": call("collections defaultdict", Name("_codecs encode")),
    "factory that is a class": call("collections defaultdict", Name("numpy ndarray")),
    "factory that is a value": call("collections defaultdict", "list"),
    "date of nothing": call("datetime date"),
    "date too large": call("datetime timedelta", 10**12),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_states_are_refused(name: str) -> None:
    with pytest.raises(AssetError, match="<bytes>: cannot be read as a pickle"):
        load_pickle(stream(FORGED[name]))


def test_a_dtype_cannot_change_under_an_array() -> None:
    """The bytes of an array must not turn into object pointers after they were checked."""
    late = fields(8, a=(dtype("O8"), 0))
    victim = array((1,), put(dtype("V8"), 1), b"A" * 8)
    found = load_pickle(stream((victim, build(get(1), late))))[0]
    assert (found.dtype, found.tobytes()) == (np.dtype("V8"), b"A" * 8)
    inner = fields(8, x=(put(dtype("V8"), 1), 0))
    victim = array((1,), dtype("V8", inner), b"A" * 8)
    found = load_pickle(stream((victim, build(get(1), late))))[0]
    assert found.dtype == np.dtype([("x", "V8")])
    twice = build(build(dtype("V8"), fields(8, a=(F8, 0))), late)
    with pytest.raises(HmtoolsError, match="a change of the state of"):
        load_pickle(stream(twice))


def test_numpy_types_stay_as_they_are() -> None:
    load_pickle(stream(dtype("f8", (3, ">", None, None, None, -1, -1, 0))))
    load_pickle(stream(dtype("O8", (3, "|", None, None, None, -1, -1, 0))))
    assert np.dtype("f8").isnative
    assert np.dtype("O").hasobject


def test_an_array_gets_its_state_once() -> None:
    once = put(array((1,), F8, bytes(8)), 1)
    with pytest.raises(HmtoolsError, match="a change of the state of 'ndarray'"):
        load_pickle(stream((once, build(get(1), (1, (2,), F8, False, bytes(16))))))
    made = put(call(FROMBUFFER, bytes(8), F8, (1,), "C"), 1)
    with pytest.raises(HmtoolsError, match="a change of the state of 'ndarray'"):
        load_pickle(stream((made, build(get(1), (1, (2,), F8, False, bytes(16))))))


def ints(*values: int) -> bytes:
    return array((len(values),), dtype("i4"), np.array(values, "i4").tobytes())


def csc(**changes: Any) -> bytes:
    state = {
        "_shape": (3, 3),
        "indices": ints(0, 1),
        "indptr": ints(0, 1, 2, 2),
        "data": array((2,), F8, bytes(16)),
    }
    return build(new("scipy.sparse._csc csc_matrix"), state | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"indices": ints(0, 1_000_000)},
        {"indices": ints(0, -1)},
        {"indptr": ints(0, 1, 2, 1_000_000)},
        {"indptr": ints(0, 2, 1, 2)},
        {"indptr": ints(0, 2)},
        {"_shape": (3, 10**12)},
        {"_shape": (3, -3)},
        {"_shape": 3},
        {"data": [1.0, 2.0]},
        {"data": array((2,), dtype("O8"), [1, 2])},
        {"indices": "text"},
    ],
)
def test_sparse_matrices_with_forged_indices_are_refused(changes: dict[str, Any]) -> None:
    assert load_pickle(stream(csc())).nnz == 2
    with pytest.raises(AssetError, match="cannot be read as a pickle"):
        load_pickle(stream(csc(**changes)))


def test_coo_matrices_with_forged_indices_are_refused() -> None:
    for row in (ints(0, 7), ints(0, -1)):
        parts = {"data": array((2,), F8, bytes(16)), "row": row, "col": ints(0, 1), "_shape": (3, 3)}
        with pytest.raises(AssetError):
            load_pickle(stream(build(new("scipy.sparse.coo coo_matrix"), parts)))
    good = parts | {"row": ints(2, 1)}
    assert load_pickle(stream(build(new("scipy.sparse.coo coo_matrix"), good))).shape == (3, 3)


def test_forged_flags_of_a_sparse_matrix_are_not_believed() -> None:
    """``has_sorted_indices`` decides which compiled routine runs; it is found out anew."""
    forged = csc(
        indptr=ints(0, 2, 2, 2), indices=ints(1, 0), _has_sorted_indices=True, has_canonical_format=True
    )
    assert not load_pickle(stream(forged)).has_sorted_indices


def test_state_that_is_no_dict() -> None:
    for name in ("scipy.sparse._csr csr_matrix", "chumpy.ch Ch"):
        with pytest.raises(AssetError, match="expected a state"):
            load_pickle(stream(build(new(name), [1])))


def test_a_name_left_as_data_is_inert() -> None:
    found = load_pickle(stream({"kind": Name("numpy ndarray")}))["kind"]
    assert found is ALLOWED["numpy.ndarray"]
    assert not callable(found)
    with pytest.raises(AttributeError):
        found.name = "x"  # type: ignore[misc]


def test_every_row_is_found_by_its_own_name_only() -> None:
    for name, row in ALLOWED.items():
        module, _, leaf = name.rpartition(".")
        assert lookup(module, leaf) is row
        assert row.name == name


def test_lookup_wants_whole_names() -> None:
    assert lookup("numpy", "dtype") is not None
    for module, name in (
        ("numpy", "core.multiarray._reconstruct"),
        ("numpy.core", "multiarray._reconstruct"),
        ("", "numpy.dtype"),
        ("numpy", "dtype "),
        ("numpy", ""),
        ("os", "system"),
        ("chumpy_extras", "Ch"),
        ("xchumpy.ch", "Ch"),
        ("chumpy.ch", "Ch.__class__"),
    ):
        assert lookup(module, name) is None


def test_chumpy_is_never_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    trap = types.ModuleType("chumpy")
    trap.__getattr__ = lambda name: pytest.fail(f"chumpy.{name} was touched")  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "chumpy", trap)
    assert load_pickle(stream(build(new("chumpy Ch"), {"x": array((1,), F8, bytes(8))}))).array.tolist() == [
        0.0
    ]
