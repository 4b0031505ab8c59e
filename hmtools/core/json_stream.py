"""Reads a huge JSON object one array element at a time, with the byte range of each.

COCO-style annotation files are a gigabyte of one object; loading one costs eight times that in memory, in
every worker. Here one pass yields each element with its place in the file, so that a unit of work is a list
of byte ranges and a worker parses only its own.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from dataclasses import dataclass
from typing import Any, NamedTuple

from hmtools.core.errors import LayoutError

__all__ = ["Broken", "Element", "iter_elements", "read_element"]

_CHUNK = 8 << 20
_LONGEST = 256 << 20  # an element longer than this is taken for a syntax error
_BLANK = " \t\r\n"
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)


class Broken(NamedTuple):
    """Stands for an element with balanced brackets that is not valid JSON: one bad row, not a bad file."""

    problem: str


@dataclass(frozen=True, slots=True)
class Element:
    """``value`` is ``document[key][index]``, or ``document[key]`` (index -1) when that is no array.

    Text is decoded as Latin-1 to keep characters and bytes aligned: use :func:`read_element` where strings
    matter. A row that is no JSON has a :class:`Broken` value. ``start`` and ``end`` are the byte range in the
    file.
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
        self.text, self.at, self.base = "", 0, 0
        self.ended = False
        self.decode = json.JSONDecoder().raw_decode

    def fill(self, size: int = _CHUNK) -> bool:
        """Append more of the file, dropping what lies behind the position; False at its end."""
        data = self.file.read(size)
        self.ended = not data
        self.base += self.at
        self.text, self.at = self.text[self.at :] + data.decode("latin-1"), 0
        return bool(data)

    def peek(self) -> str:
        """The next character that is not blank ('' at the end)."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in _BLANK:
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.fill():
                return ""

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
        self.peek()
        size = _CHUNK
        while True:
            try:
                value, end = self.decode(self.text, self.at)
                # a number may go on beyond the window, so something must follow it
                if end < len(self.text) or self.ended:
                    start = self.base + self.at
                    self.at = end
                    return start, self.base + end, value
                problem = "the file ends"
            except ValueError as error:
                problem = str(error)
                if (end := self.balanced()) is not None:
                    start = self.base + self.at
                    self.at = end
                    return start, self.base + end, Broken(problem)
            if len(self.text) - self.at > _LONGEST or not self.fill(size):
                if self.ended and "file ends" in problem:
                    continue
                self.fail(problem)
            size *= 2

    def balanced(self) -> int | None:
        """End of the bracketed value at the position, if all of it is in the window."""
        depth = 0
        for token in _TOKENS.finditer(self.text, self.at):
            depth += (token[0] in "{[") - (token[0] in "}]")
            if depth == 0 and token[0] in "}]":
                return token.end()
        return None

    def fail(self, problem: str) -> None:
        raise LayoutError(
            f"{self.path}: not valid JSON near byte {self.base + self.at} ({problem}); "
            "the download is incomplete or damaged, fetch it again"
        )


def iter_elements(path: Path) -> Iterator[Element]:
    """Yield the elements of every array of a JSON object, and its other values, in file order.

    Memory is bounded by the longest element (plus 8 MB).

    Raises:
        LayoutError: if the file is not a JSON object, naming the byte.
    """
    scan = _Scanner(path)
    with scan.file:
        if scan.peek() == "\xef":  # UTF-8 byte order mark
            scan.at += 3
        scan.expect("{")
        if scan.peek() == "}":
            return
        while True:
            key = scan.value()[2]
            scan.expect(":")
            if scan.peek() == "[":
                yield from _array(scan, str(key))
            else:
                yield Element(str(key), -1, *scan.value())
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
