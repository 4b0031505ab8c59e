"""Record keys: ``<dataset>/<split>/<sequence>/<frame:06d>_<person>``.

A key names one person in one image, is a legal webdataset sample name (no dot: webdataset cuts at the first
one) and a safe relative path. ``%``, ``.`` and blanks are percent-encoded, as is every character that a
file name or terminal would choke on and the first of two underscores that open a dataset name (webdataset
skips ``__name__/`` as metadata); ``/`` separates and is kept inside a sequence. Encoding is injective and
:func:`key_decode` is its inverse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from hmtools.core.errors import UsageError

__all__ = ["Key", "image_key", "key_decode", "key_encode"]

_LAST = re.compile(r"(?P<frame>\d{6,})_(?P<person>\d+)")
_PLAIN = re.compile(r"[A-Za-z0-9_/+=@,~()&#:;!^-]*")  # nothing to encode: the fast path


@dataclass(frozen=True, slots=True)
class Key:
    """What a key says; ``frame`` and ``person`` count from 0."""

    dataset: str
    split: str
    sequence: str
    frame: int
    person: int


def key_encode(dataset: str, split: str, sequence: str, frame: int, person: int) -> str:
    """Return the key of one person in one image.

    Args:
        dataset: dataset name.
        split: the official split name.
        sequence: sequence name; may hold ``/``. For stills the official split folder.
        frame: 0-based position in the source video or list.
        person: index in the image before any filter, from 0.

    Raises:
        UsageError: for an empty name, a negative number, or text that is not valid Unicode.
    """
    return f"{image_key(dataset, split, sequence, frame)}_{_number(person, 'person')}"


def image_key(dataset: str, split: str, sequence: str, frame: int) -> str:
    """The key without its ``_<person>``: names an image that all its people share."""
    names = [_name(dataset, "dataset", slash=False), _name(split, "split", slash=False)]
    if names[0].startswith("__"):
        names[0] = "%5F" + names[0][1:]
    return f"{names[0]}/{names[1]}/{_name(sequence, 'sequence', slash=True)}/{_number(frame, 'frame'):06d}"


def key_decode(key: str) -> Key:
    """The parts of a key.

    Raises:
        UsageError: if ``key`` is not one that :func:`key_encode` makes.
    """
    parts = key.split("/")
    last = _LAST.fullmatch(parts[-1])
    if last is None or len(parts) < 4:
        raise UsageError(f"not a record key: {key!r}; expected <dataset>/<split>/<sequence>/<frame>_<person>")
    try:
        dataset, split, *sequence = (unquote(part, errors="strict") for part in parts[:-1])
        found = Key(dataset, split, "/".join(sequence), int(last["frame"]), int(last["person"]))
    except ValueError as error:  # escaped bytes that are no UTF-8, a number with thousands of digits
        raise UsageError(f"not a record key: {key!r:.200} ({error})") from error
    if key_encode(found.dataset, found.split, found.sequence, found.frame, found.person) != key:
        raise UsageError(f"not a record key: {key!r} is not in canonical form")
    return found


def _number(value: int, what: str) -> int:
    if value < 0:
        raise UsageError(f"{what} of a key counts from 0, found {value}")
    return value


def _name(text: str, what: str, *, slash: bool) -> str:
    if not text:
        raise UsageError(f"{what} of a key is empty")
    if _PLAIN.fullmatch(text) and "//" not in text and text[0] != "/" and text[-1] != "/":
        return text if slash else text.replace("/", "%2F")
    return "".join(_encode(text, position, slash) for position in range(len(text)))


def _encode(text: str, position: int, slash: bool) -> str:
    char = text[position]
    if char == "/":
        # Only a slash between two names separates; others would make empty path components.
        between = 0 < position < len(text) - 1 and text[position - 1] != "/"
        return char if slash and between else "%2F"
    if char in "%.\\" or char.isspace() or not char.isprintable():
        try:
            return "".join(f"%{byte:02X}" for byte in char.encode())
        except UnicodeEncodeError as error:
            raise UsageError(f"a name in a key is not valid Unicode: {text!r}") from error
    return char
