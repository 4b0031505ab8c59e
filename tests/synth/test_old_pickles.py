"""Old pickles hold what was put in, under the names of 2020, for the guard, for pandas and for torch."""

from __future__ import annotations

import doctest
import io
import pickle
import pickletools
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hmtools.core.errors import UnsafeFileError, UsageError
from hmtools.core.safe_pickle import load_pickle
from hmtools.synth import old_pickles
from hmtools.synth.old_pickles import Global, Made, cuda_tensor, old_frame, old_pickle, smuggle

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
    | st.binary(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
ARRAYS = hnp.arrays(
    st.sampled_from(["f8", "f4", ">f4", "i8", "i4", "u1", "?"]),
    hnp.array_shapes(min_dims=0, max_side=4),
)


def globals_of(data: bytes) -> set[str]:
    """Names a pickle of protocol 4 asks for."""
    found: set[str] = set()
    words: list[Any] = []
    memo: list[Any] = []
    for code, value, _ in pickletools.genops(data):
        if code.name == "MEMOIZE":
            memo.append(words[-1] if words else None)
        elif code.name in ("SHORT_BINUNICODE", "BINUNICODE"):
            words.append(value)
        elif code.name in ("BINGET", "LONG_BINGET"):
            words.append(memo[int(str(value))])
        elif code.name == "STACK_GLOBAL":
            found.add(f"{words[-2]}.{words[-1]}")
            words.append(None)
        else:
            words.append(None)
    return found


class Inert:
    """Whatever a pickle makes, as it was told."""

    arguments: tuple[Any, ...]
    state: Any = None

    def __new__(cls, *arguments: Any) -> Inert:
        made = super().__new__(cls)
        made.arguments = arguments
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Symbolic(pickle.Unpickler):
    """Reads arrays; all else stays inert."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("numpy"):
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        if (module, name) in {("builtins", "slice"), ("collections", "OrderedDict")}:
            return super().find_class(module, name)
        return type(name, (Inert,), {"module": module})


def symbolic(data: bytes) -> Any:
    return Symbolic(io.BytesIO(data)).load()


FRAME: dict[str, Any] = {
    "imgPath": ["a.png", "b.png"],
    "camX": np.array([1.0, 2.5]),
    "camY": np.array([-3.0, 4.0]),
    "X": [[1.0, 2.0], []],
    "valid": [[True, np.bool_(False)], []],
    "verts": [[np.arange(6.0, dtype=np.float32).reshape(2, 3)] * 2, []],
}


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, np.ndarray):
        return found.dtype == wanted.dtype and np.array_equal(found, wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    return bool(found == wanted)


@settings(max_examples=60, deadline=None)
@given(PLAIN)
def test_plain_data_comes_back(value: Any) -> None:
    data = old_pickle(value)
    assert pickle.loads(data) == value
    assert load_pickle(data) == value
    assert old_pickle(value) == data
    assert data[:2] == b"\x80\x04"


@settings(max_examples=60, deadline=None)
@given(ARRAYS, st.booleans())
def test_arrays_come_back(array: Any, turned: bool) -> None:
    array = np.asfortranarray(array) if turned else array
    data = old_pickle([array, array[..., None][0] if array.ndim else array])
    found = load_pickle(data)[0]
    assert found.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, array)
    np.testing.assert_array_equal(symbolic(data)[0], array)
    assert globals_of(data) == {"numpy.core.multiarray._reconstruct", "numpy.ndarray", "numpy.dtype"}


def test_the_example_runs() -> None:
    assert doctest.testmod(old_pickles).failed == 0


def test_what_is_twice_is_written_once() -> None:
    mesh = np.zeros(1000)
    (first, second), third = load_pickle(old_pickle([[mesh, mesh], mesh]))
    assert first is second is third
    assert len(old_pickle([mesh] * 5)) < 8500


def test_scalars_of_numpy() -> None:
    values = [np.bool_(True), np.float64(0.1), np.float32(2), np.int64(-3)]
    data = old_pickle(values)
    assert "numpy.core.multiarray.scalar" in globals_of(data)
    found = load_pickle(data)
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize("index", [None, [3, 8]])
def test_the_guard_reads_a_frame(index: list[int] | None) -> None:
    frame = load_pickle(old_pickle(old_frame(FRAME, index=index, added=("verts",))))
    assert list(frame.columns) == list(FRAME)
    assert len(frame) == 2
    assert list(frame.index) == (index or [0, 1])
    for name, cells in FRAME.items():
        assert same(list(frame.columns[name]), list(cells)), name


@pytest.mark.parametrize("index", [None, [3, 8]])
def test_pandas_reads_a_frame(index: list[int] | None, tmp_path: Any) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    path = tmp_path / "frame.pkl"
    path.write_bytes(old_pickle(old_frame(FRAME, index=index, added=("verts",))))
    frame = pandas.read_pickle(path)
    assert list(frame.columns) == list(FRAME)
    assert list(frame.index) == (index or [0, 1])
    assert frame["camY"].dtype == np.float64
    for name, cells in FRAME.items():
        assert same(frame[name].to_list(), list(cells)), name


def test_names_of_a_frame() -> None:
    common = {
        *("pandas.core.frame.DataFrame", "pandas.core.internals.managers.BlockManager", "builtins.slice"),
        *("pandas.core.indexes.base._new_Index", "pandas.core.indexes.base.Index", "numpy.ndarray"),
        *("numpy.core.multiarray._reconstruct", "numpy.core.multiarray.scalar", "numpy.dtype"),
    }
    data = old_pickle(old_frame(FRAME))
    assert globals_of(data) == common | {"pandas.core.indexes.range.RangeIndex"}
    data = old_pickle(old_frame(FRAME, index=[0, 5]))
    assert globals_of(data) == common | {"pandas.core.indexes.numeric.Int64Index"}


def test_structure_of_a_frame() -> None:
    frame = symbolic(old_pickle(old_frame(FRAME, added=("verts",))))
    assert {key: frame.state[key] for key in ("_typ", "_metadata", "attrs")} == {
        "_typ": "dataframe",
        "_metadata": [],
        "attrs": {},
    }
    manager = frame.state["_mgr"]
    assert manager.arguments == ()
    axes, values, items, extra = manager.state
    again = extra["0.14.1"]
    assert again["axes"] is axes
    assert all(block["values"] is value for block, value in zip(again["blocks"], values, strict=True))
    assert [value.dtype for value in values] == [np.float64, object, object]
    assert [value.shape for value in values] == [(2, 2), (3, 2), (1, 2)]
    assert values[0].flags.f_contiguous
    assert [item.arguments[1]["data"].tolist() for item in items] == [
        ["camX", "camY"],
        ["imgPath", "X", "valid"],
        ["verts"],
    ]
    numbers, objects, added = (block["mgr_locs"] for block in again["blocks"])
    assert (numbers, added) == (slice(1, 3, 1), slice(5, 6, 1))
    assert objects.tolist() == [0, 3, 4]  # not equally spaced
    assert axes[1].arguments[1] == {"name": None, "start": 0, "stop": 2, "step": 1}


def test_empty_frames() -> None:
    frame = load_pickle(old_pickle(old_frame({"a": [], "b": np.zeros(0)})))
    assert len(frame) == 0
    assert list(frame.columns) == ["a", "b"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("shape", [(1, 3), (2, 3, 4), (0,), ()])
def test_tensors_of_a_gpu(dtype: Any, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    array = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    data = old_pickle({"transl": cuda_tensor(array)})
    assert globals_of(data) == {
        *("torch._utils._rebuild_tensor_v2", "torch.storage._load_from_bytes", "collections.OrderedDict"),
    }
    storage, *rest = symbolic(data)["transl"].arguments
    (inner,) = storage.arguments
    assert b"cuda:0" in inner
    assert b"X\x03\x00\x00\x00cpu" not in inner
    stored = torch.load(io.BytesIO(inner), map_location="cpu", weights_only=True)
    assert rest[-1] == OrderedDict()
    found = torch._utils._rebuild_tensor_v2(stored, *rest)
    np.testing.assert_array_equal(found.numpy(), array)
    assert found.numpy().dtype == dtype
    guarded = load_pickle(data)["transl"]
    np.testing.assert_array_equal(guarded, array)
    assert guarded.dtype == dtype


def test_another_device() -> None:
    data = old_pickle(cuda_tensor(np.zeros(2, np.float32), device="cuda:3"))
    assert b"cuda:3" in data
    assert b"cuda:0" not in data


def test_a_foreign_global_is_all_that_differs() -> None:
    data = old_pickle(old_frame(FRAME))
    smuggled = smuggle(data, "os", "system")
    assert globals_of(smuggled) == globals_of(data) | {"os.system"}
    assert symbolic(smuggled).state["_typ"] == "dataframe"
    length = int.from_bytes(smuggled[3:11], "little")
    assert len(smuggled) == 11 + length
    with pytest.raises(UnsafeFileError, match=r"os\.system"):
        load_pickle(smuggled)


def test_smuggling_into_something_else() -> None:
    with pytest.raises(UsageError, match="expected a pickle of old_pickle"):
        smuggle(pickle.dumps(1, 2), "os", "system")


def test_what_is_made() -> None:
    made = Made(function=Global(module="m", name="f"), arguments=(1,), state={"a": 2})
    found = symbolic(old_pickle([made, made]))
    assert found[0] is found[1]
    assert (found[0].module, found[0].arguments, found[0].state) == ("m", (1,), {"a": 2})
    assert b"\x81" not in old_pickle(made)
    assert b"\x81" in old_pickle(Made(function=Global(module="m", name="f"), new=True))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1, 2}, "a set is nothing"),
        (1j, "a complex is nothing"),
        (1 << 63, "64 bits"),
        (np.array(["a"]), "expected numbers or objects"),
        (np.zeros(1, np.complex64), "expected numbers or objects"),
        (np.zeros(1, [("a", "f4")]), "expected numbers or objects"),
    ],
)
def test_what_cannot_be_written(value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        old_pickle(value)


def test_columns_of_different_length() -> None:
    with pytest.raises(UsageError, match=r"lengths \[1, 2\]"):
        old_frame({"a": [1], "b": [1, 2]})
    with pytest.raises(UsageError, match=r"lengths \[1, 3\]"):
        old_frame({"a": [1]}, index=[1, 2, 3])


def test_tensors_of_other_types() -> None:
    with pytest.raises(UsageError, match="expected an array of float32, float64, int64, found uint8"):
        cuda_tensor(np.zeros(2, np.uint8))
