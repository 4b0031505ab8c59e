"""What the guard lets through is what a pickler wrote; what it refuses has no effect.

Attacks on the guard are in test_pickle_machine.py and test_pickle_globals.py.
"""

from __future__ import annotations

import collections
import datetime
import pickle
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hmtools.core.errors import AssetError, HmtoolsError, LayoutError
from hmtools.core.safe_pickle import ChumpyArray, load_npy, load_npz, load_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
RECORD = np.dtype([("a", "<f4"), ("b", ">i2", (3,)), ("c", "U5"), ("d", "M8[us]"), ("e", [("f", "u1")])])
UTC = datetime.timezone.utc  # noqa: UP017 - the singleton's pickled name is what is tested

VALUES: dict[str, Any] = {
    "none": None,
    "big": -(2**70),
    "text": "h\xe9\u4e2d",
    "nested": [1, [2.5, (3, {"a": {4}, "b": frozenset([5])})], True],
    "bytes": b"\xff\x00",
    "no bytes": b"",
    "bytearray": bytearray(b"\xff\x00"),
    "no bytearray": bytearray(),
    "complex": 1 + 2j,
    "ordered": collections.OrderedDict([("z", 1), ("a", 2)]),
    "default": collections.defaultdict(list, {1: [2]}),
    "default none": collections.defaultdict(None, {1: 2}),
    "datetime": datetime.datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    "date": datetime.date(2020, 1, 2),
    "time": datetime.time(3, 4),
    "timedelta": datetime.timedelta(days=3, seconds=1),
    "float32": np.arange(12, dtype="f4").reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "big endian": np.arange(5, dtype=">f8"),
    "bool": np.array([True, False]),
    "strided": np.arange(10)[::3],
    "scalar array": np.array(3.0),
    "empty": np.zeros((0, 3)),
    "read only": np.frombuffer(b"abcd", "u1"),
    "unicode": np.array(["ab", "c\xe9"]),
    "string": np.array([b"x", b"yz"]),
    "times": np.array(["2020-01-01", "NaT"], dtype="M8[s]"),
    "generic time": np.timedelta64(3),
    "25 s": np.array([2], dtype="m8[25s]"),
    "objects": np.array([1, "x", None, np.arange(3), {"k": [1]}], dtype=object),
    "record": np.zeros(3, RECORD),
    "aligned": np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "record with objects": np.array([(1, "x")], dtype=[("a", "i4"), ("b", "O")]),
    "np.float32": np.float32(3.5),
    "np.int64": np.int64(-4),
    "np.bool": np.bool_(True),
    "np.str": np.str_("h\xe9"),
    "np.str empty": np.str_(""),
    "np.void": np.zeros(1, RECORD)[0],
    "dtype": np.dtype("f4"),
    "record dtype": RECORD,
    "csc": sp.csc_matrix(np.diag([1.0, 2.0, 0.0])),
    "csr": sp.csr_array(np.eye(3, 5)),
    "coo": sp.coo_matrix(np.eye(3, 2)),
    "coo array": sp.coo_array(np.eye(3, 2)),
}


def assert_same(a: Any, b: Any) -> None:
    """Equal in type, dtype, shape, layout and every element."""
    assert type(a) is type(b)
    if hasattr(a, "toarray"):
        a, b = a.toarray(), b.toarray()
    if isinstance(a, np.ndarray):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert (a.flags.writeable, a.flags.f_contiguous) == (b.flags.writeable, b.flags.f_contiguous)
        if a.dtype == object:
            for x, y in zip(a.ravel(), b.ravel(), strict=True):
                assert_same(x, y)
        elif a.dtype.kind in "fcmM":
            np.testing.assert_array_equal(a, b)
        else:
            assert a.tobytes() == b.tobytes() or a.tolist() == b.tolist()
    elif isinstance(a, np.void):
        assert a.tobytes() == b.tobytes()
    elif isinstance(a, list | tuple):
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    else:
        assert a == b


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", VALUES)
def test_the_guard_loads_what_pickle_loads(name: str, protocol: int) -> None:
    data = pickle.dumps(VALUES[name], protocol)
    assert_same(load_pickle(data), pickle.loads(data))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_pickle_of_everything(protocol: int, tmp_path: Path) -> None:
    shared = np.arange(3)
    value = {"values": VALUES, "twice": [shared, shared], "loop": []}
    value["loop"].append(value["loop"])  # type: ignore[attr-defined]
    path = tmp_path / "all.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    found = load_pickle(path)
    assert_same(found["values"], pickle.loads(path.read_bytes())["values"])
    assert found["twice"][0] is found["twice"][1]
    assert found["loop"][0] is found["loop"]
    assert_same(load_pickle(str(path))["twice"], found["twice"])


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)


@hypothesis_settings(max_examples=100, deadline=None)
@given(value=plain, protocol=st.sampled_from(PROTOCOLS))
def test_plain_values_survive(value: Any, protocol: int) -> None:
    assert load_pickle(pickle.dumps(value, protocol)) == value


@hypothesis_settings(max_examples=100, deadline=None)
@given(
    array=hnp.arrays(
        hnp.boolean_dtypes()
        | hnp.integer_dtypes()
        | hnp.floating_dtypes(sizes=(16, 32, 64))
        | hnp.complex_number_dtypes()
        | hnp.datetime64_dtypes()
        | hnp.byte_string_dtypes(max_len=5)
        | hnp.array_dtypes(hnp.integer_dtypes(), allow_subarrays=True),
        hnp.array_shapes(min_dims=0, min_side=0, max_side=4),
    ),
    protocol=st.sampled_from(PROTOCOLS),
)
def test_arrays_survive(array: np.ndarray[Any, Any], protocol: int) -> None:
    data = pickle.dumps(array, protocol)
    found, expected = load_pickle(data), pickle.loads(data)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


# --- Python 2 ------------------------------------------------------------------------------------------

PY2_PROTOCOL_0 = (
    b"(dp0\nS'pose'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntS'b'\ntRp4\n"
    b"(I1\n(L2L\ntcnumpy\ndtype\np5\n(S'f8'\nI0\nI1\ntRp6\n(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n"
    b"S'\\x9a\\x99\\x99\\x99\\x99\\x99\\xf1?\\x00\\x00\\x00\\x00\\x00\\x00\\x04\\xc0'\ntbsS'gender'\nS'm\\xe9'\ns."
)
PY2_PROTOCOL_2 = (
    b"\x80\x02}(U\x04posecnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85"
    b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    b"U\x10\x9a\x99\x99\x99\x99\x99\xf1?\x00\x00\x00\x00\x00\x00\x04\xc0tbU\x06genderU\x02m\xe9u."
)


@pytest.mark.parametrize("data", [PY2_PROTOCOL_0, PY2_PROTOCOL_2])
def test_python_2_pickles(data: bytes) -> None:
    found = load_pickle(data)
    assert found["gender"] == "m\xe9"
    assert found["pose"].tolist() == [1.1, -2.5]
    assert found["pose"].flags.writeable
    found = load_pickle(data, encoding="bytes")
    assert found[b"gender"] == b"m\xe9"
    assert found[b"pose"].tolist() == [1.1, -2.5]


def test_python_2_text_in_the_wrong_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "p.pkl"
    path.write_bytes(PY2_PROTOCOL_2)
    with pytest.raises(AssetError, match=r"p\.pkl: cannot be read as a pickle \('ascii'"):
        load_pickle(path, encoding="ascii")


def test_python_2_names_of_containers() -> None:
    assert load_pickle(b"c__builtin__\nset\n((lI1\naI2\natR.") == {1, 2}
    assert load_pickle(b"ccollections\nOrderedDict\n((l(lS'a'\naI1\naatR.") == {"a": 1}


# --- chumpy and SciPy under their old names ------------------------------------------------------------


class Ch:
    """Pickled under chumpy's name below."""

    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)


@pytest.fixture
def chumpy(monkeypatch: pytest.MonkeyPatch) -> type[Ch]:
    """A module tree ``chumpy.ch`` with a class ``Ch``, only while pickles are written."""
    for name in ("chumpy", "chumpy.ch"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    cls = type("Ch", (Ch,), {"__module__": "chumpy.ch"})
    sys.modules["chumpy.ch"].Ch = cls  # type: ignore[attr-defined]
    return cls


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_chumpy_becomes_an_inert_array(
    chumpy: type[Ch], protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.arange(6.0).reshape(2, 3)
    data = pickle.dumps({"v": chumpy(x=x, _dirty_vars={"x"}), "wrapped": chumpy(x=chumpy(x=x))}, protocol)
    monkeypatch.delitem(sys.modules, "chumpy.ch")
    monkeypatch.delitem(sys.modules, "chumpy")
    found = load_pickle(data)
    assert isinstance(found["v"], ChumpyArray)
    assert found["v"].kind == "chumpy.ch.Ch"
    assert found["v"].state["_dirty_vars"] == {"x"}
    for value in found.values():
        assert_same(np.asarray(value), x)
        assert np.asarray(value, dtype="f4").dtype == np.float32
    assert "chumpy.ch.Ch" in repr(found["v"])
    assert "chumpy" not in sys.modules


def test_a_chumpy_expression_has_no_array(chumpy: type[Ch]) -> None:
    found = load_pickle(pickle.dumps(chumpy(a=1, b=2), 2))
    with pytest.raises(AssetError, match=r"chumpy\.ch\.Ch holds an expression.*state: a, b"):
        _ = found.array
    loop = load_pickle(pickle.dumps(chumpy(x=None), 2))
    loop.state["x"] = loop
    with pytest.raises(AssetError, match="expression"):
        np.asarray(loop)


def test_sparse_matrices_under_their_old_name() -> None:
    matrix = sp.csc_matrix(np.diag([1.0, 2.0]))
    data = pickle.dumps(matrix, 2).replace(b"scipy.sparse._csc", b"scipy.sparse.csc")
    assert b"scipy.sparse.csc\n" in data
    assert_same(load_pickle(data), matrix)


# --- damaged files -------------------------------------------------------------------------------------


def test_every_prefix_of_a_pickle_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "cut.pkl"
    for protocol in (0, 2, 5):
        data = pickle.dumps({"a": np.arange(3.0), "b": ["text", 1.5, (1, 2)], "c": bytearray(9)}, protocol)
        for end in range(len(data)):
            path.write_bytes(data[:end])
            with pytest.raises(AssetError, match=r"cut\.pkl: cannot be read as a pickle"):
                load_pickle(path)


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 100, b"garbage", b"PK\x03\x04rest", b"\x80\x63.", b".", b"}}u."]
)
def test_garbage_is_refused_with_its_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bad.pkl"
    path.write_bytes(data)
    with pytest.raises(AssetError, match=r"bad\.pkl: cannot be read as a pickle"):
        load_pickle(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for load in (load_pickle, load_npz, load_npy):
        with pytest.raises(LayoutError, match=r"none\.pkl: cannot be opened"):
            load(tmp_path / "none.pkl")
        with pytest.raises(LayoutError, match="cannot be opened"):
            load(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"\x8e" + (2**62).to_bytes(8, "little") + b"x",  # BINBYTES8
        b"\x8d" + (2**62).to_bytes(8, "little") + b"x",  # BINUNICODE8
        b"\x96" + (2**40).to_bytes(8, "little") + b"x",  # BYTEARRAY8
        b"\x80\x04\x95" + (2**62).to_bytes(8, "little") + b"x",  # FRAME
        b"\x8b" + (2**31 - 1).to_bytes(4, "little") + b"x",  # LONG4
        b"T" + (2**31 - 1).to_bytes(4, "little") + b"x",  # BINSTRING
        b"I" + b"9" * 100_000 + b"\n.",
    ],
)
def test_a_stated_size_reserves_nothing(data: bytes) -> None:
    with pytest.raises(AssetError):
        load_pickle(data)


FUZZED = [
    pickle.dumps(VALUES[k], p) for k in ("nested", "record", "csc", "objects", "ordered") for p in (0, 2, 4)
]


@hypothesis_settings(max_examples=300, deadline=None)
@given(
    base=st.sampled_from([b"", *FUZZED]),
    changes=st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), max_size=4),
)
def test_any_bytes_load_or_raise_one_of_ours(base: bytes, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(base)
    for place, piece in changes:
        data[place : place + len(piece)] = piece
    with warnings.catch_warnings():  # forged text may hold escapes that Python warns about
        warnings.simplefilter("ignore")
        try:
            load_pickle(bytes(data))
        except HmtoolsError as error:
            assert "<bytes>" in str(error)  # noqa: PT017 - both ends are right
