"""Pickles that run code: under ``pickle.load`` each does (that is checked first), under the guard none."""

from __future__ import annotations

import copyreg
import functools
import io
import operator
import os
import pickle
import runpy
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.core.errors import AssetError, UnsafeFileError
from hmtools.core.pickle_machine import SizedReader
from hmtools.core.safe_pickle import load_npy, load_npz, load_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class Call:
    """Pickles as a call of ``function(*args)``."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.reduced = (function, args)

    def __reduce__(self) -> Any:
        return self.reduced

    def __call__(self) -> None:
        """So that a call may stand where pickle wants a callable."""


def text(value: str) -> bytes:
    """BINUNICODE."""
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


# Makes the marker file, by ever less direct ways.
CALLS: dict[str, Callable[[Path], Call]] = {
    "os.system": lambda m: Call(os.system, f"touch {m}"),
    "eval": lambda m: Call(eval, f"open({str(m)!r}, 'w').close()"),
    "exec": lambda m: Call(exec, f"open({str(m)!r}, 'w').close()"),
    "open": lambda m: Call(open, str(m), "w"),
    "subprocess": lambda m: Call(subprocess.call, ["touch", str(m)]),
    "os.open": lambda m: Call(os.open, str(m), os.O_CREAT),
    "runpy": lambda m: Call(runpy._run_code, f"open({str(m)!r}, 'w').close()", {}),  # type: ignore[attr-defined]
    "numpy save": lambda m: Call(np.savetxt, str(m), [1]),
    "getattr": lambda m: Call(Call(getattr, Path(m), "touch")),
    "attrgetter": lambda m: Call(Call(operator.attrgetter("touch"), Path(m))),
    "methodcaller": lambda m: Call(operator.methodcaller("touch"), Path(m)),
    "partial": lambda m: Call(functools.partial(os.system, f"touch {m}")),
    "partial method": lambda m: Call(functools.partial(Path.touch, Path(m))),
    "list of map": lambda m: Call(list, Call(map, os.system, [f"touch {m}"])),
    "in a dict key": lambda m: Call(dict, [((1, Call(os.system, f"touch {m}")), 2)]),
    "in an object array": lambda m: Call(np.array, [Call(os.system, f"touch {m}")]),
}

# The same with single opcodes.
STREAMS: dict[str, Callable[[Path], bytes]] = {
    "GLOBAL": lambda m: b"cos\nsystem\n(S'touch " + bytes(m) + b"'\ntR.",
    "INST": lambda m: b"(S'touch " + bytes(m) + b"'\nios\nsystem\n.",
    "OBJ": lambda m: b"(cos\nsystem\nS'touch " + bytes(m) + b"'\no.",
    "NEWOBJ": lambda m: (
        b"\x80\x02cbuiltins\nset\n(cbuiltins\nmap\n(cos\nsystem\n]" + text(f"touch {m}") + b"at\x81tR."
    ),
    "NEWOBJ_EX": lambda m: (
        b"\x80\x04cbuiltins\neval\n(" + text(f"open({str(m)!r}, 'w').close()") + b"tR0cpathlib\nPath\n)}\x92."
    ),
    "STACK_GLOBAL": lambda m: (
        b"\x80\x04" + text("os") + text("system") + b"\x93" + text(f"touch {m}") + b"\x85R."
    ),
    "STACK_GLOBAL dotted": lambda m: (
        b"\x80\x04"
        + text("numpy.lib._npyio_impl")
        + text("os.system")
        + b"\x93"
        + text(f"touch {m}")
        + b"\x85R."
    ),
    "STACK_GLOBAL out of an allowed module": lambda m: (
        b"\x80\x04"
        + text("numpy")
        + text("lib._npyio_impl.os.system")
        + b"\x93"
        + text(f"touch {m}")
        + b"\x85R."
    ),
    "STACK_GLOBAL from the memo": lambda m: (
        b"\x80\x04"
        + text("os")
        + b"\x940"
        + text("system")
        + b"\x940h\x00h\x01\x93"
        + text(f"touch {m}")
        + b"\x85R."
    ),
    "BUILD gives an object a method": lambda m: (
        b"\x80\x02ctypes\nSimpleNamespace\n)\x81}"
        + text("__setstate__")
        + b"cos\nsystem\nsb"
        + text(f"touch {m}")
        + b"b."
    ),
    "BUILD changes a class": lambda m: (
        b"\x80\x02cargparse\nNamespace\nN}"
        + text("__setstate__")
        + b"cos\nsystem\ns\x86b)\x81"
        + text(f"touch {m}")
        + b"b."
    ),
    "APPEND calls a method": lambda m: (
        b"\x80\x02ctypes\nSimpleNamespace\n)\x81}"
        + text("append")
        + b"cos\nsystem\nsb"
        + text(f"touch {m}")
        + b"a."
    ),
    "after POP": lambda m: b"cos\nsystem\n(S'touch " + bytes(m) + b"'\ntR0N.",
    "EXT1": lambda m: b"\x80\x02\x82\xf0" + text(f"touch {m}") + b"\x85R.",
    "EXT2": lambda m: b"\x80\x02\x83\xf0\x00" + text(f"touch {m}") + b"\x85R.",
    "EXT4": lambda m: b"\x80\x02\x84\xf0\x00\x00\x00" + text(f"touch {m}") + b"\x85R.",
}


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """A file that an attack makes; extension code 240 means os.system, also in the interpreter's cache."""
    copyreg.add_extension("posix", "system", 240)
    yield tmp_path / "made"
    copyreg.clear_extension_cache()
    copyreg.remove_extension("posix", "system", 240)


def runs_under_pickle(data: bytes, marker: Path) -> bool:
    opened: Any = None
    try:
        opened = pickle.loads(data)
    except (TypeError, AttributeError, pickle.UnpicklingError):
        opened = None  # an attack may end in an error after it did its work
    if hasattr(opened, "close"):
        opened.close()
    if isinstance(opened, subprocess.Popen):
        opened.wait()
    made = marker.exists()
    marker.unlink(missing_ok=True)
    return made


def assert_refused(load: Callable[[], Any], marker: Path, where: str) -> UnsafeFileError:
    with pytest.raises(UnsafeFileError) as error:
        load()
    assert not marker.exists()
    assert where in str(error.value)
    assert "Do not open this file with pickle.load" in str(error.value)
    return error.value


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", CALLS)
def test_calls_are_refused_by_name(name: str, protocol: int, marker: Path, tmp_path: Path) -> None:
    data = pickle.dumps(CALLS[name](marker), protocol)
    assert runs_under_pickle(data, marker)
    path = tmp_path / "evil.pkl"
    path.write_bytes(data)
    assert_refused(lambda: load_pickle(path), marker, str(path))
    assert_refused(lambda: load_pickle(data, encoding="bytes"), marker, "<bytes>")


@pytest.mark.parametrize("name", STREAMS)
def test_opcodes_are_refused(name: str, marker: Path) -> None:
    data = STREAMS[name](marker)
    assert runs_under_pickle(data, marker)
    assert_refused(lambda: load_pickle(data), marker, "<bytes>")


def test_the_message_names_what_was_asked_for(marker: Path) -> None:
    for name, expected in {
        "GLOBAL": "'os.system'",
        "INST": "'os.system'",
        "STACK_GLOBAL dotted": "'numpy.lib._npyio_impl.os.system'",
        "EXT1": "the pickle instruction EXT1",
    }.items():
        data = STREAMS[name](marker)
        assert expected in str(assert_refused(lambda data=data: load_pickle(data), marker, "<bytes>"))  # type: ignore[misc]


def test_a_long_or_odd_name_stays_one_short_line() -> None:
    data = b"\x80\x04" + text("a\nb\x1b[31m" + "x" * 10_000) + text("y") + b"\x93."
    with pytest.raises(UnsafeFileError) as error:
        load_pickle(data)
    assert len(str(error.value)) < 700
    assert "\x1b" not in str(error.value)
    assert "\n" not in str(error.value)


class Hostile(pickle.Unpickler):
    """What a careless reader does with persistent ids."""

    def persistent_load(self, pid: Any) -> Any:
        return os.system(pid)  # noqa: S605 - this is the attack


def test_persistent_ids_are_refused(marker: Path) -> None:
    for data in (b"Ptouch " + bytes(marker) + b"\n.", b"\x80\x02" + text(f"touch {marker}") + b"Q."):
        Hostile(io.BytesIO(data)).load()
        assert marker.exists()
        marker.unlink()
        error = assert_refused(lambda data=data: load_pickle(data), marker, "<bytes>")  # type: ignore[misc]
        assert "persistent id" in str(error)


def test_the_extension_cache_is_not_asked(marker: Path) -> None:
    pickle.loads(
        b"\x80\x02\x82\xf0."
    )  # os.system is now an object in the cache, no name is looked up any more
    test_opcodes_are_refused("EXT1", marker)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nested_in_npz_and_npy(
    protocol: int, marker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = np.empty(2, dtype=object)
    evil[:] = [1, Call(os.system, f"touch {marker}")]
    monkeypatch.setattr(pickle, "dump", functools.partial(_dump_with, protocol))
    np.savez_compressed(tmp_path / "evil.npz", good=np.zeros(3), bad=evil)
    np.save(tmp_path / "evil.npy", evil)
    with np.load(tmp_path / "evil.npz", allow_pickle=True) as opened:
        _ = opened["bad"]
    assert marker.exists()
    marker.unlink()
    path = tmp_path / "evil.npz"
    assert_refused(lambda: load_npz(path, pickled=True), marker, f"{path}[bad.npy]")
    assert_refused(lambda: load_npy(tmp_path / "evil.npy", pickled=True), marker, "evil.npy")


def _dump_with(number: int, value: Any, file: Any, **_: Any) -> None:
    file.write(pickle.dumps(value, number))


def test_nothing_after_the_end_is_read(marker: Path) -> None:
    assert load_pickle(pickle.dumps(1) + STREAMS["GLOBAL"](marker)) == 1
    assert not marker.exists()


# --- allowed names, used as a pickler would not ------------------------------------------------------------

NDARRAY, OBJECT, CH = b"cnumpy\nndarray\n", b"cbuiltins\nobject\n", b"cchumpy.ch\nCh\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (NDARRAY + b"(tR.", "a call of 'numpy.ndarray'"),
        (b"cbuiltins\nlist\n(tR.", "a call of 'builtins.list'"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "a call of 'collections.OrderedDict'"),
        (NDARRAY + b"}b.", "a change of the state of 'numpy.ndarray'"),
        (CH + b"N}S'__array__'\nNs\x86b.", "a change of the state of 'chumpy.ch.Ch'"),
        (b"ccollections\nOrderedDict\n(tR}b.", "a change of the state of 'OrderedDict'"),
        (b"]}b.", "a change of the state of 'list'"),
        (b"\x80\x02" + CH + b")\x81}b}b.", "a change of the state of 'ChumpyArray'"),
        (b"\x80\x02" + CH + b")\x81}S'append'\nNsbNa.", "a call of a method of 'ChumpyArray'"),
        (NDARRAY + b"(Ne.", "a call of a method of 'Global'"),
        (b"](NN\x90.", "a call of a method of 'list'"),  # ADDITEMS on a list
        (b"\x8fNa.", "a call of a method of 'set'"),
        (b"](NNu.", "a change of the items of 'list'"),
        (NDARRAY + b"NNs.", "a change of the items of 'Global'"),
        (b"](I1\ntR.", "a call of a list"),
        (b"cbuiltins\nset\n(tR(tR.", "a call of a set"),
        (
            b"ccopyreg\n_reconstructor\n(" + CH + OBJECT + b"I1\ntR.",
            "a call of 'copyreg._reconstructor' with state",
        ),
        (
            b"ccopyreg\n_reconstructor\n(" + CH + NDARRAY + b"NtR.",
            "a call of 'copyreg._reconstructor' with state",
        ),
        (b"ccopyreg\n_reconstructor\n(" + OBJECT + OBJECT + b"NtR.", "a call of 'builtins.object'"),
        (b"\x80\x05\x97.", "the pickle instruction NEXT_BUFFER"),
        (b"\x80\x05N\x98.", "the pickle instruction READONLY_BUFFER"),
        (b"cchumpy.ch\nCh.__init__\n.", "'chumpy.ch.Ch.__init__'"),
        (b"cchumpyx\nCh\n.", "'chumpyx.Ch'"),
        (b"cnumpy.core\nmultiarray._reconstruct\n.", "'numpy.core.multiarray._reconstruct'"),
    ],
)
def test_allowed_names_cannot_be_misused(data: bytes, expected: str) -> None:
    with pytest.raises(UnsafeFileError) as error:
        load_pickle(data)
    assert f"asks for {expected}" in str(error.value)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02" + CH + b"(I1\nt\x81.",  # NEWOBJ with arguments
        CH + b"]R.",  # arguments that are no tuple
        b"\x80\x04]]\x93.",  # names that are no text
        b"\x80\x04" + text("os") + b"N\x93.",
        b"}(NNNu.",  # a key without a value
        b"ccopyreg\n_reconstructor\n(tR.",
        b"\xff.",  # no opcode
    ],
)
def test_streams_no_pickler_writes_are_damage(data: bytes) -> None:
    with pytest.raises(AssetError, match="cannot be read as a pickle"):
        load_pickle(data)


def test_the_reader_gives_what_is_there() -> None:
    reader = SizedReader(io.BytesIO(b"ab\ncd"), 5)
    assert reader.readline() == b"ab\n"
    with pytest.raises(EOFError, match="1 bytes too early"):
        reader.read(3)
    assert reader.read(2) == b"cd"
    with pytest.raises(EOFError, match="within a line"):
        reader.readline()
