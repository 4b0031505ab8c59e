"""Reads a huge JSON object one array element at a time, with the byte range of each.

COCO-style annotation files are a gigabyte of one object; loading one costs eight times that in memory, in
every worker. Here one pass yields each element with its place in the file, so that a unit of work is a list
of byte ranges and a worker parses only its own.
"""

from __future__ import annotations

import json
import os
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from hmtools.core.errors import LayoutError

__all__ = ["Broken", "Element", "iter_elements", "read_element"]

_CHUNK = 8 << 20
_LONGEST = 256 << 20  # an element longer than this is taken for a syntax error
_BLANK = " \t\r\n"
_LONGEST_WORD = 16  # -Infinity is the longest: what is no JSON by then will not become it
_TOKENS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?P<closed>"?)|[{}\[\]]', re.DOTALL)
# Annotations are mostly coordinates. A scan looks for ids and byte ranges, and is four times as fast
# when it makes no floats: the text of each is looked up here, and not found.
_NO_FLOATS: dict[str, None] = {}


class Broken(NamedTuple):
    """Stands for an object, array or string that ends but is not valid JSON: one bad row, not a bad file."""

    problem: str


@dataclass(frozen=True, slots=True)
class Element:
    """``value`` is ``document[key][index]``, or ``document[key]`` (index -1) when that is no array.

    Text is decoded as Latin-1 to keep characters and bytes aligned, and numbers with a fraction or exponent
    are None: use :func:`read_element` where such values matter. A row that is no JSON has a :class:`Broken`
    value. ``start`` and ``end`` are the byte range in the file.
    """

    key: str
    index: int
    start: int
    end: int
    value: Any


class _Scanner:
    """A sliding Latin-1 window over the file; positions are relative to the window."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path.open("rb")
        self.base = len(BOM_UTF8) if self.file.read(len(BOM_UTF8)) == BOM_UTF8 else 0
        self.file.seek(self.base)
        self.text, self.at = "", 0
        self.ended = False
        self.decode = json.JSONDecoder(parse_float=_NO_FLOATS.get).raw_decode

    def fill(self, size: int) -> None:
        """Append more of the file, dropping what lies behind the position; sets ``ended`` at its end."""
        data = self.file.read(size)
        self.ended = not data
        self.base += self.at
        self.text, self.at = self.text[self.at :] + data.decode("latin-1"), 0

    def peek(self) -> str:
        """The next character that is not blank ('' at the end)."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in _BLANK:
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if self.ended:
                return ""
            self.fill(_CHUNK)

    def expect(self, characters: str) -> str:
        found = self.peek()
        if not found or found not in characters:
            self.fail(
                f"expected one of {' '.join(characters)}, found {found!r}" if found else "the file ends"
            )
        self.at += 1
        return found

    def value(self) -> tuple[int, int, Any]:
        """Parse one value: (first byte, one past the last, value)."""
        bare = self.peek() not in '{["'
        size = _CHUNK
        while True:
            end, value = self.attempt()
            # 1, 1. and 1e+ are all cut from numbers: only what follows two characters later is certain
            if end is not None and (self.ended or end + 2 < len(self.text)):
                start = self.base + self.at
                self.at = end
                return start, self.base + end, value
            if self.ended:
                self.fail("the file ends inside the value that starts there")
            found = len(self.text) - self.at
            if end is None and found > (_LONGEST_WORD if bare else _LONGEST):
                self.fail(value.problem)
            self.fill(size)
            size *= 2

    def attempt(self) -> tuple[int | None, Any]:
        """End and value of what stands at the position; no end while it may go on beyond the window."""
        try:
            value, end = self.decode(self.text, self.at)
        except ValueError as error:
            return self.extent(), Broken(error.msg if isinstance(error, json.JSONDecodeError) else str(error))
        except RecursionError:
            return self.extent(), Broken("nested too deeply")
        return end, value

    def extent(self) -> int | None:
        """End of the object, array or string at the position, if all of it is in the window."""
        depth = 0
        for token in _TOKENS.finditer(self.text, self.at):
            if (depth == 0 and token.start() > self.at) or token["closed"] == "":
                return None  # a bare word, or a string that goes on beyond the window
            depth += (token[0] in "{[") - (token[0] in "}]")
            if depth <= 0:
                return token.end() if depth == 0 else None
        return None

    def key(self) -> str:
        """Parse a key and the colon after it."""
        start, end, _ = self.value()
        try:
            key = json.loads(self.text[start - self.base : end - self.base].encode("latin-1"))
        except ValueError:
            key = None
        if not isinstance(key, str):
            self.fail("a key must be a string")
        self.expect(":")
        return key

    def fail(self, problem: str) -> NoReturn:
        raise LayoutError(
            f"{self.path}: not valid JSON near byte {self.base + self.at} ({problem}); "
            "the download is incomplete or damaged, fetch it again"
        )


def iter_elements(path: Path) -> Iterator[Element]:
    """Yield the elements of every array of a JSON object, and its other values, in file order.

    Memory is bounded by the longest element (plus 8 MB).

    Raises:
        LayoutError: if the file is not one JSON object, naming the byte.
    """
    scan = _Scanner(path)
    with scan.file:
        scan.expect("{")
        if scan.peek() == "}":
            scan.at += 1
        else:
            yield from _members(scan)
        if scan.peek():
            scan.fail("something follows the object")


def _members(scan: _Scanner) -> Iterator[Element]:
    while True:
        key = scan.key()
        if scan.peek() == "[":
            yield from _array(scan, key)
        else:
            yield Element(key, -1, *scan.value())
        if scan.expect(",}") == "}":
            return


def _array(scan: _Scanner, key: str) -> Iterator[Element]:
    scan.expect("[")
    if scan.peek() == "]":
        scan.at += 1
        return
    index = 0
    while True:
        yield Element(key, index, *scan.value())
        if scan.expect(",]") == "]":
            return
        index += 1


def read_element(descriptor: int, start: int, end: int) -> Any:
    """Parse bytes ``start … end`` of an open file as one JSON value.

    Raises:
        ValueError: if they are not one (the file changed since it was scanned).
    """
    return json.loads(os.pread(descriptor, end - start, start))
