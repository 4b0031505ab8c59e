"""The guarded unpickler: Python's own stack machine with every opcode that can *do* something replaced.

Python's advice, to override ``find_class``, leaves doors open: opcodes call methods of objects on the stack
(``__setstate__``, ``append``, ``__setitem__``), set attributes on classes and functions, and take objects
from the extension cache without asking. So opcodes are a list of what is allowed too. Opcodes that only push
data run as in the standard library; the rest act on exact built-in containers, on
:class:`~hmtools.core.pickle_globals.Global`, and on objects those made; others are refused.
"""

from __future__ import annotations

import pickle
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from typing import IO, Any, ClassVar, NoReturn

import numpy as np

from hmtools.core.errors import UnsafeFileError
from hmtools.core.pickle_globals import ALLOWED, ForbiddenError, Global, lookup

__all__ = ["GuardedUnpickler", "SizedReader"]

_DATA = (
    "PROTO FRAME STOP MARK POP POP_MARK DUP PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET "
    "NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8 "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST EMPTY_DICT DICT EMPTY_SET FROZENSET "
    "GLOBAL STACK_GLOBAL PERSID BINPERSID"  # these ask find_class and persistent_load
)
_REFUSED = "OBJ NEWOBJ_EX EXT1 EXT2 EXT4 NEXT_BUFFER READONLY_BUFFER"
# What costs a stream the least for what it takes is an empty set, 216 bytes for 4: honest files stay below.
_GROWTH, _ALWAYS = 64, 1 << 20
_RECONSTRUCTORS = ("copyreg._reconstructor", "copy_reg._reconstructor")
_OBJECTS = ("builtins.object", "__builtin__.object")


class SizedReader:
    """A file that knows how much is left: no length in the stream makes Python reserve more than that."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = self.size = size

    def read(self, count: int) -> bytes:
        """Read exactly ``count`` bytes.

        Raises:
            EOFError: if fewer are left.
        """
        if count > self._left:
            raise EOFError(f"the data ends {count - self._left} bytes too early")
        data = self._file.read(count)
        self._left -= len(data)
        return data

    def readline(self) -> bytes:
        """Read up to and with the next newline (EOFError if none follows)."""
        data = self._file.readline(self._left)
        self._left -= len(data)
        if not data.endswith(b"\n"):
            raise EOFError("the data ends within a line")
        return data


def _taken(made: Any) -> int:
    """Bytes that an object takes, with what hangs on its attributes."""
    parts = (made, *getattr(made, "__dict__", {}).values())
    return sum(part.nbytes + 128 if isinstance(part, np.ndarray) else sys.getsizeof(part) for part in parts)


class GuardedUnpickler(pickle._Unpickler):
    """Loads one pickle from a :class:`SizedReader`; ``where`` names the file in messages.

    ``names`` is the table of what the pickle may ask for.

    The pure-Python unpickler of the standard library, because the C one cannot be told which opcodes to run.
    """

    stack: list[Any]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {}

    def __init__(
        self, file: SizedReader, *, where: str, encoding: str, names: Mapping[str, Global] = ALLOWED
    ) -> None:
        super().__init__(file, encoding=encoding)
        self._where = where
        self._names = names
        self._allowance = file.size * _GROWTH + _ALWAYS  # bytes that calls may still make
        # Objects that still wait for their state, by id; holding them here keeps the ids unique.
        self._unfinished: dict[int, tuple[Any, Callable[[Any, Any], None]]] = {}

    def refuse(self, what: str) -> NoReturn:
        """Raise the UnsafeFileError of this file."""
        raise UnsafeFileError(
            f"{self._where}: refused, the pickle asks for {what}. Only numbers, text, containers and arrays "
            "are loaded, because anything else could run code. Do not open this file with pickle.load; fetch "
            "it again from its official page, or save its arrays as .npz where you trust it and use that one."
        )

    def find_class(self, module: str, name: str) -> Global:
        """Return the stand-in of an allowed name; every other one is refused."""
        found = lookup(module, name, self._names)
        if found is None:
            self.refuse(repr(f"{module}.{name}"[:200]))
        return found

    def persistent_load(self, pid: Any) -> NoReturn:
        """Refuse: a persistent id means whatever its writer wanted."""
        self.refuse(f"the persistent id {pid!r}"[:200])

    def _make(self, what: Any, maker: str, args: tuple[Any, ...]) -> Any:
        if not isinstance(what, Global):
            self.refuse(f"a call of a {type(what).__name__}")
        make = getattr(what, maker)
        if make is None:
            self.refuse(f"a call of {what.name!r}")
        try:
            made = make(*args)
        except ForbiddenError as error:
            self.refuse(str(error))
        if what.finish is not None:
            self._unfinished[id(made)] = (made, what.finish)
        self._account(made)
        return made

    def _account(self, made: Any) -> None:
        """Bound what calls make: each may copy the same memoised bytes, for a few bytes of the stream."""
        self._allowance -= _taken(made)
        if self._allowance < 0:
            raise ValueError(f"it would grow to more than {_GROWTH} times its size")

    def _reduce(self) -> None:
        args, what = self.stack.pop(), self.stack.pop()
        if type(args) is not tuple:
            raise ValueError("arguments are not a tuple")
        if isinstance(what, Global) and what.name in _RECONSTRUCTORS:
            cls, base, state = args  # protocols 0 and 1 make an empty instance this way
            if not isinstance(base, Global) or base.name not in _OBJECTS or state is not None:
                self.refuse(f"a call of {what.name!r} with state")
            self.stack.append(self._make(cls, "new", ()))
        else:
            self.stack.append(self._make(what, "call", args))

    def _newobj(self) -> None:
        args, what = self.stack.pop(), self.stack.pop()
        if args != ():
            raise ValueError("a new object takes no arguments")
        self.stack.append(self._make(what, "new", ()))

    def _build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        found, finish = self._unfinished.pop(id(target), (None, None))
        if finish is None or found is not target:
            name = target.name if isinstance(target, Global) else type(target).__name__
            self.refuse(f"a change of the state of {name!r}")
        finish(target, state)
        self._account(target)

    def _extend(self, kind: type, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not kind:
            self.refuse(f"a call of a method of {type(target).__name__!r}")
        getattr(target, "update" if kind is set else "extend")(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) not in (dict, OrderedDict, defaultdict):
            self.refuse(f"a change of the items of {type(target).__name__!r}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key] = value

    def _inst(self) -> None:
        module, name = (self.readline()[:-1].decode("utf-8", "replace") for _ in range(2))
        self.refuse(repr(f"{module}.{name}"[:200]))

    def _bytearray8(self) -> None:
        # The standard library reserves the stated length before it looks whether so much is there.
        self.stack.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))


def _fill_dispatch() -> None:
    def code(name: str) -> int:
        return int(getattr(pickle, name)[0])

    def refusal(name: str) -> Callable[[GuardedUnpickler], None]:
        return lambda machine: machine.refuse(f"the pickle instruction {name}")

    table: dict[int, Callable[[Any], None]] = GuardedUnpickler.dispatch
    table.update({code(name): pickle._Unpickler.dispatch[code(name)] for name in _DATA.split()})
    table.update({code(name): refusal(name) for name in _REFUSED.split()})
    table[code("REDUCE")] = GuardedUnpickler._reduce
    table[code("NEWOBJ")] = GuardedUnpickler._newobj
    table[code("BUILD")] = GuardedUnpickler._build
    table[code("BYTEARRAY8")] = GuardedUnpickler._bytearray8
    table[code("INST")] = GuardedUnpickler._inst
    table[code("APPEND")] = lambda machine: machine._extend(list, [machine.stack.pop()])
    table[code("APPENDS")] = lambda machine: machine._extend(list, machine.pop_mark())
    table[code("ADDITEMS")] = lambda machine: machine._extend(set, machine.pop_mark())
    table[code("SETITEM")] = lambda machine: machine._set_items([machine.stack.pop(-2), machine.stack.pop()])
    table[code("SETITEMS")] = lambda machine: machine._set_items(machine.pop_mark())


_fill_dispatch()
