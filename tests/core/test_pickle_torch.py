"""Tensors in plain pickles: from the installed torch, from a GPU, from torch 1.7, and forged."""

from __future__ import annotations

import base64
import collections
import io
import pickle
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hmtools.core.errors import AssetError, HmtoolsError, UnsafeFileError
from hmtools.core.pickle_torch import TORCH
from hmtools.core.safe_pickle import load_pickle
from tests.core.pickle_stream import Name, call, get, op, put, stream

SIX = torch.arange(6, dtype=torch.float32).reshape(2, 3)

# pickle.dumps({"t": tensor, "p": Parameter(tensor[1:]), "v": tensor.t()[1:], "s": torch.tensor(3),
#               "e": torch.zeros(0, 3), "b": torch.tensor([1.5, -2.25]).bfloat16()}, 4), with torch 1.7.1 and
# tensor = torch.arange(6.0).reshape(2, 3); then base64.b85encode(zlib.compress(_, 9))
TORCH_1_7 = (
    "c-rmN&yJHo90%|jVB4hYYO|iad8C)7P>S}no7L<E|E?D<hENz63=7OKG+C1-Tv}Jd&GF{JqYvN%?CbalMi2fL$l4~Yo|`QH8NLk6"
    "hnY|)pTD<JHO+)tVlK*CJYinYcXA#^nJD)iMkaX}`3@&>mM~|ki%$^Ut794L+*2aTt`jA$@4R8jnKL=(B!kq^U5rp6ee6WPza0O("
    "|MuI9d;LOs`a_28j3U+U!gEuW@We|ZXG&NWCNaeju=n6f6mlLBhs1v9##FknJ5b2aQ{rUdJCad(MitfGfx;|E7^gdyWXo_C#+<e+"
    "#a6EBNa9o4wv;@FXR7v9Tboy=$g7&rIffVKuj;}M#rAE;j16OCn1(sf2V+gAb-iAiQ`u@g<5YPGwY{cjT^76j7FwQ)1K1qG0&4;5"
    "*F!NEC&EIOWXTI*$rfIS59KZxM8xAj0PMTZnNJw;ABP?X$=-?Ja8HR-5lBnlBz2j4MmS-R2^2MG-;n={9H^JbgF6lDMRoMP0-oMD"
    "{@)Qp*OeBc*8J;O;;hk=wn6U+MAqVIgVAtgYUT<aUXOR31w7oa$<4kQ=e^!C5vhqD{o3N*r44jrs2dMgfY2tOCJR7l6$a)tqp`%3"
    "ZR$lw6_aLef_g9>j#r1Fv=OS#0+iH1T^@8Vum2Wv7;y6?sJ#CNYKJ7O"
)

TENSORS: dict[str, Callable[[], Any]] = {
    "float": lambda: SIX,
    "view": lambda: SIX.t()[1:],
    "column": lambda: SIX[:, 1],
    "scalar": lambda: torch.tensor(3),
    "empty": lambda: torch.zeros(0, 3),
    "empty rows": lambda: torch.zeros(3, 0),
    "gradient": lambda: SIX.clone().requires_grad_(),
    "parameter": lambda: torch.nn.Parameter(SIX),
    "fixed parameter": lambda: torch.nn.Parameter(SIX, requires_grad=False),
    "of one": lambda: torch.ones(1).expand(1, 1),
    "bfloat16": lambda: torch.tensor([1.5, -2.25, float("inf")]).bfloat16(),
    **{
        str(kind): lambda kind=kind: torch.tensor([[0, 1, 2], [3, 4, 5]]).to(kind)  # type: ignore[misc]
        for kind in (
            *(torch.float64, torch.float32, torch.float16, torch.complex64, torch.complex128, torch.bool),
            *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
        )
    },
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", TENSORS)
def test_tensors_become_arrays(name: str, protocol: int) -> None:
    tensor = TENSORS[name]()
    found = load_pickle(pickle.dumps({"betas": tensor}, protocol))["betas"]
    expected = tensor.detach()
    expected = expected.float().numpy() if name == "bfloat16" else expected.numpy()
    assert type(found) is np.ndarray
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tolist() == expected.tolist()
    found[...] = 0  # like any other array, it may be written to


def test_a_recorded_pickle_of_torch_1_7() -> None:
    found = load_pickle(zlib.decompress(base64.b85decode(TORCH_1_7)))
    assert {name: value.tolist() for name, value in found.items()} == {
        "t": [[0, 1, 2], [3, 4, 5]],
        "p": [[3, 4, 5]],
        "v": [[1, 4], [2, 5]],
        "s": 3,
        "e": [],
        "b": [1.5, -2.25],
    }
    assert found["t"].dtype == np.float32
    assert found["e"].shape == (0, 3)


# --- storages ------------------------------------------------------------------------------------------

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
MACHINE = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
FLOAT = Name("torch FloatStorage")
DATA = np.arange(6, dtype="<f4").tobytes()


def stored(*identifier: Any) -> bytes:
    """The pickle of a persistent id."""
    return b"\x80\x02" + op(identifier) + b"Q."


def storage(
    *identifier: Any,
    magic: Any = MAGIC,
    version: Any = VERSION,
    machine: Any = MACHINE,
    keys: Any = ("7",),
    length: int = 6,
    data: bytes = DATA,
) -> bytes:
    """The bytes of a storage as torch writes them, but for what is given."""
    head = [pickle.dumps(value, 2) for value in (magic, version, machine)]
    identified = stored(*(identifier or ("storage", FLOAT, "7", "cpu", 6, None)))
    return b"".join([*head, identified, pickle.dumps(list(keys), 2), length.to_bytes(8, "little"), data])


def tensor(
    stored: Any, offset: Any = 0, size: Any = (2, 3), stride: Any = (3, 1), hooks: Any = None
) -> bytes:
    made = stored
    if isinstance(stored, bytes) and not stored.startswith(b"OP:"):
        made = call("torch.storage _load_from_bytes", stored)
    hooks = call("collections OrderedDict") if hooks is None else hooks
    return call("torch._utils _rebuild_tensor_v2", made, offset, size, stride, False, hooks)


def test_the_forger_writes_what_torch_writes() -> None:
    class Storage:
        def __reduce__(self) -> Any:
            return torch.storage._load_from_bytes, (storage(),)

    class Tensor:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (
                Storage(),
                0,
                (2, 3),
                (3, 1),
                False,
                collections.OrderedDict(),
            )

    data = pickle.dumps(Tensor(), 3)
    assert torch.equal(pickle.loads(data), SIX)
    assert load_pickle(data).tolist() == SIX.tolist()
    assert load_pickle(stream(tensor(storage()))).tolist() == SIX.tolist()


@pytest.mark.parametrize("device", ["cuda:0", "cuda:7", "mps", "cpu", "xla:1"])
def test_any_device(device: str) -> None:
    data = storage("storage", FLOAT, "7", device, 6, None)
    assert load_pickle(stream(tensor(data))).tolist() == SIX.tolist()


def test_a_gpu_storage_differs_by_its_device_alone() -> None:
    """What torch itself makes of such bytes, where it is told to forget the device."""
    data = storage("storage", FLOAT, "7", "cuda:0", 6, None)
    loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    assert bytes(loaded._untyped_storage.tolist()) == DATA


def test_two_tensors_of_one_storage_share_it() -> None:
    made = put(call("torch.storage _load_from_bytes", storage()), 200)
    whole, part = load_pickle(stream([tensor(made), tensor(get(200), 3, (3,), (1,))]))
    whole[1, 0] = 9
    assert part.tolist() == [9, 4, 5]


FORGED: dict[str, Any] = {
    # the view
    "offset": tensor(storage(), offset=1),
    "negative offset": tensor(storage(), offset=-1),
    "offset of an empty view": tensor(storage(), offset=-1, size=(0,), stride=(1,)),
    "offset of a float": tensor(storage(), offset=0.0),
    "stride": tensor(storage(), stride=(4, 1)),
    "negative stride": tensor(storage(), stride=(3, -1)),
    "size": tensor(storage(), size=(3, 3)),
    "negative size": tensor(storage(), size=(-2, 3)),
    "endless size": tensor(storage(), size=(10**30,), stride=(0,)),
    "huge empty size": tensor(storage(), size=(0, 10**30), stride=(1, 1)),
    "repeated": tensor(storage(), size=(7,), stride=(0,)),
    "dimensions": tensor(storage(), size=(2,)),
    "a list as size": tensor(storage(), size=[2, 3]),
    "an array as storage": tensor(np.zeros(6)),
    "hooks": tensor(storage(), hooks={"a": 1}),
    "a parameter of a number": call("torch._utils _rebuild_parameter", 1, True, None),
    "a parameter with hooks": call("torch._utils _rebuild_parameter", tensor(storage()), True, [1]),
    "conjugate": call(
        *("torch._utils _rebuild_tensor_v2", call("torch.storage _load_from_bytes", storage())),
        *(0, (2, 3), (3, 1), False, None, {"conj": True}),
    ),
    # the storage
    "no bytes": tensor(storage()[:-1]),
    "more bytes": tensor(storage() + b"\0"),
    "nothing": tensor(b""),
    "text": call("torch.storage _load_from_bytes", "abc"),
    "a zip": tensor(b"PK\3\4" + bytes(100)),
    "magic": tensor(storage(magic=1)),
    "version": tensor(storage(version=1002)),
    "big-endian": tensor(storage(machine={**MACHINE, "little_endian": False})),
    "no machine": tensor(storage(machine=1)),
    "key": tensor(storage(keys=("8",))),
    "two keys": tensor(storage(keys=("7", "8"))),
    "length": tensor(storage(length=5)),
    "both lengths": tensor(storage("storage", FLOAT, "7", "cpu", 2**40, None, length=2**40)),
    "negative length": tensor(storage("storage", FLOAT, "7", "cpu", -1, None)),
    "length of a float": tensor(storage("storage", FLOAT, "7", "cpu", 6.0, None)),
    "a view of a storage": tensor(storage("storage", FLOAT, "7", "cpu", 6, ("8", 0, 6))),
    "a short id": tensor(storage("storage", FLOAT, "7", "cpu", 6)),
    "another id": tensor(storage("module", FLOAT, "7", "cpu", 6, None)),
    "a device of a number": tensor(storage("storage", FLOAT, "7", 0, 6, None)),
    "a type by text": tensor(storage("storage", "torch.FloatStorage", "7", "cpu", 6, None)),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_tensors_are_damage(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(AssetError, match="cannot be read as a pickle"):
            load_pickle(stream(FORGED[name]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        (pickle.dumps(np.dtype("f8"), 2), "'numpy.dtype', in a torch storage"),
        (b"cos\nsystem\n(S'true'\ntR.", "'os.system', in a torch storage"),
        (stored("storage", Name("torch load"), "7", "cpu", 6, None), "'torch.load', in a torch storage"),
        (
            stored("storage", Name("torch QInt8Storage"), "7", "cpu", 6, None),
            "'torch.QInt8Storage', in a torch",
        ),
        (stream(call("torch FloatStorage", 10**9)), "a call of 'torch.FloatStorage', in a torch storage"),
        (b"\x80\x02\x82\xf0.", "the pickle instruction EXT1, in a torch storage"),
    ],
)
def test_names_within_a_storage(inner: bytes, expected: str, tmp_path: Any) -> None:
    path = tmp_path / "body.pkl"
    for data in (inner, storage()[: storage().index(b"\x80\x02(")] + inner):
        path.write_bytes(stream({"transl": tensor(data)}))
        with pytest.raises(UnsafeFileError, match=f"refused, the pickle asks for {expected}") as error:
            load_pickle(path)
        assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "foreign", ["os system", "torch load", "torch.serialization load", "torch.storage UntypedStorage"]
)
def test_a_foreign_name_in_the_place_of_any_other(foreign: str) -> None:
    data = pickle.dumps(torch.nn.Parameter(SIX), 3)
    names = [name for name in TORCH if "c{}\n{}\n".format(*name.rsplit(".", 1)).encode() in data]
    assert len(names) == 3
    for name in names:
        old, new = (f"c{pair[0]}\n{pair[1]}\n".encode() for pair in (name.rsplit(".", 1), foreign.split()))
        with pytest.raises(UnsafeFileError, match=f"asks for '{foreign.replace(' ', '.')}'"):
            load_pickle(data.replace(old, new))


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02" + op(("storage", FLOAT, "7", "cpu", 6, None)) + b"Q.",
        stream(FLOAT),
        stream(Name("torch load")),
    ],
)
def test_storages_stay_inside(data: bytes) -> None:
    """A persistent id, or the type of a storage, means nothing outside of a storage."""
    with pytest.raises(UnsafeFileError):
        load_pickle(data)


FUZZED = [
    pickle.dumps({"a": TENSORS[name](), "b": SIX}, 3)
    for name in ("parameter", "view", "bfloat16", "torch.bool")
]


@hypothesis_settings(max_examples=400, deadline=None)
@given(
    base=st.sampled_from(FUZZED),
    changes=st.lists(st.tuples(st.integers(0, 1200), st.binary(max_size=2)), max_size=3),
    length=st.none() | st.integers(0, 1200),
)
def test_any_bytes_are_a_tensor_or_one_of_our_errors(
    base: bytes, changes: list[tuple[int, bytes]], length: int | None
) -> None:
    data = bytearray(base)
    for place, piece in changes:
        place %= len(data)
        data[place : place + len(piece)] = piece
    try:
        found = load_pickle(bytes(data[:length]))
    except HmtoolsError as error:
        assert "<bytes>" in str(error)  # noqa: PT017 - both ends are right
    else:
        for value in found.values() if isinstance(found, dict) else ():
            assert not isinstance(value, np.ndarray) or np.array(value).nbytes <= 8 * len(data)
