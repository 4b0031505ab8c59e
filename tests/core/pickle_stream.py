"""An assembler for pickles: what a test wants to stand in a stream, with names that need not exist."""

from __future__ import annotations

import pickle
from typing import Any

DTYPE, RECONSTRUCT = "numpy dtype", "numpy._core.multiarray _reconstruct"
FROMBUFFER, SCALAR = "numpy._core.numeric _frombuffer", "numpy._core.multiarray scalar"


class Name:
    """A global in :func:`stream`."""

    def __init__(self, name: str) -> None:
        self.module, self.name = name.split()


def op(value: Any) -> bytes:
    """The opcodes that push a value: plain data as pickle writes it, or what :class:`Name` stands for."""
    if isinstance(value, Name):
        return f"c{value.module}\n{value.name}\n".encode()
    if isinstance(value, bytes) and value.startswith(b"OP:"):
        return value[3:]
    if isinstance(value, tuple):
        return b"(" + b"".join(map(op, value)) + b"t"
    if isinstance(value, dict):
        return b"}" + b"".join(op(k) + op(v) + b"s" for k, v in value.items())
    if isinstance(value, list):
        return b"](" + b"".join(map(op, value)) + b"e"
    return pickle.dumps(value, 3)[2:-1].removesuffix(b"q\x00")  # memo places from 0 on are the values' own


def call(name: str, *args: Any) -> bytes:
    return b"OP:" + op(Name(name)) + op(args) + b"R"


def new(name: str) -> bytes:
    return b"OP:" + op(Name(name)) + b")\x81"


def build(target: bytes, state: Any) -> bytes:
    return target + op(state) + b"b"


def put(target: bytes, index: int) -> bytes:
    return target + b"q" + bytes([index])


def get(index: int) -> bytes:
    return b"OP:h" + bytes([index])


def stream(*values: Any) -> bytes:
    """A pickle of the last value; the others are pushed and dropped before it."""
    return b"\x80\x03" + b"0".join(map(op, values)) + b"."


def dtype(spec: str, state: tuple[Any, ...] | None = None) -> bytes:
    made = call(DTYPE, spec, False, True)
    return made if state is None else build(made, state)


def array(shape: Any, kind: bytes, data: Any, fortran: Any = False) -> bytes:
    return build(call(RECONSTRUCT, Name("numpy ndarray"), (0,), b"b"), (1, shape, kind, fortran, data))
