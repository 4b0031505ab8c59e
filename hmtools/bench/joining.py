"""Whose prediction is whose: from what predictions say of themselves to the rows of the shards.

Only what is certain is joined; the rest is counted and shown, never guessed:

1. A record ``key`` names its row.
2. ``source_index`` names the row that has it, where only one has.
3. An image and the number of a person name the row of that image and ``person``.
4. An image alone names its row if it is the only person in it, and the only prediction for it.

An image is found by its file name without ending (and without AGORA's ``_1280x720``). Where names occur more
than once, or images are frames of sequences, folders decide: the one with most folders in common, counted
from the file backwards, if it is one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from hmtools.bench.readers.base import Listed
from hmtools.core.errors import UsageError
from hmtools.shards.reader import Shards

__all__ = ["Joined", "ShardRows", "image_stem", "join"]

_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pkl", ".json", ".npz"})
_SMALL = "_1280x720"
_SHOWN = 5


def image_stem(path: str) -> str:
    """File name of an image without folder, ending and AGORA's ``_1280x720``."""
    name = PurePosixPath(path.replace("\\", "/")).name
    ending = PurePosixPath(name).suffix
    plain = name[: -len(ending)] if ending.lower() in _ENDINGS else name
    return plain.removesuffix(_SMALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRows:
    """The columns of N rows of one or more splits that say who they are."""

    key: Sequence[str]
    image_path: Sequence[str]
    person: Sequence[int | None]
    source_index: Sequence[int | None]
    sequence: Sequence[str | None]
    moving: Sequence[bool]
    size: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, shards: Sequence[Shards]) -> ShardRows:
        """Of all rows of some splits; ``moving``: frames of a video; ``size``: image -> width, height."""
        columns: dict[str, list[object]] = defaultdict(list)
        names = ("key", "image_path", "person", "source_index", "sequence", "fps", "width", "height", "frame")
        for own in shards:
            table = own.table.select(list(names))
            for name in names:
                columns[name] += table.column(name).to_pylist()
        videos: dict[object, object] = {}
        for path, frame in zip(columns["image_path"], columns["frame"], strict=True):
            # A file with several frames is a video: its name alone names no image.
            videos[path] = frame if videos.get(path, frame) == frame else None
        paths = [str(path or "") if videos[path] is not None else "" for path in columns["image_path"]]
        sizes = zip(paths, columns["width"], columns["height"], strict=True)
        return cls(
            key=columns["key"],  # type: ignore[arg-type] # typed by the schema of the index
            image_path=paths,
            person=columns["person"],  # type: ignore[arg-type]
            source_index=columns["source_index"],  # type: ignore[arg-type]
            sequence=columns["sequence"],  # type: ignore[arg-type]
            moving=[fps is not None for fps in columns["fps"]],
            size={path: (w, h) for path, w, h in sizes if path and w and h},  # type: ignore[misc]
        )


@dataclass(slots=True)
class Joined:
    """Whose prediction is whose.

    Attributes:
        place: record key -> number of the prediction.
        in_image: ``image_path`` of the rows -> numbers of all predictions for that image.
        counts: ``joined``; ``duplicates`` of a row that has one (the first is taken); ``extra``: of nobody in
            the rows; ``ambiguous``: may be of several; ``empty``: have no body.
        examples: the same names -> a few of them.
        fault: why persons' numbers cannot be relied on, or "".
    """

    place: dict[str, int] = field(default_factory=dict)
    in_image: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("joined", "duplicates", "extra", "ambiguous", "empty"), 0)
    )
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    fault: str = ""

    def note(self, what: str, name: str) -> None:
        """Count one prediction."""
        self.counts[what] += 1
        if len(self.examples[what]) < _SHOWN:
            self.examples[what].append(name)


def join(listed: Listed, rows: ShardRows | None) -> Joined:
    """Find the row of every prediction.

    Args:
        listed: the predictions.
        rows: of the shards; None: only keys are used, and none is extra.

    Raises:
        UsageError: if there is no prediction, they do not say whose they are, or none is of these rows.
    """
    if not len(listed):
        raise UsageError("no predictions: the file or folder is empty")
    finder = None if rows is None else _Finder(rows)
    joined = Joined()
    numbers: list[int] = []
    for number in range(len(listed)):
        if listed.empty is not None and listed.empty[number]:
            joined.note("empty", listed.where[number])
            continue
        numbers.append(number)
    found = _keys(listed, numbers, finder, joined)
    for number, key in found:
        if key in joined.place:
            joined.note("duplicates", listed.where[number])
        else:
            joined.place[key] = number
            joined.counts["joined"] += 1
    if not joined.place:
        _refuse(listed, rows, joined)
    if rows is not None:
        joined.fault = _numbering_fault(listed, rows, joined)
    return joined


class _Finder:
    """Rows by what predictions may say of them."""

    def __init__(self, rows: ShardRows) -> None:
        self.rows = rows
        self.keys = frozenset(rows.key)
        self.image_of = dict(zip(rows.key, rows.image_path, strict=True))
        self.people: dict[str, dict[int, str]] = defaultdict(dict)
        self.sequences: dict[str, str] = {}
        self.by_index: dict[int, list[str]] = defaultdict(list)
        for number, key in enumerate(rows.key):
            image, person, index = rows.image_path[number], rows.person[number], rows.source_index[number]
            if image:
                self.people[image][-1 if person is None else person] = key
                if rows.moving[number]:
                    self.sequences[image] = str(rows.sequence[number] or "").rpartition("/")[2]
            if index is not None:
                self.by_index[index].append(key)
        self.by_stem: dict[str, list[str]] = defaultdict(list)
        for image in self.people:
            self.by_stem[image_stem(image)].append(image)

    def images(self, path: str) -> list[str]:
        """The images of the rows that a path may mean."""
        candidates = self.by_stem.get(image_stem(path), [])
        folders = _folders(path)
        if folders:
            candidates = [image for image in candidates if self._same_sequence(image, folders)]
        if len(candidates) < 2:
            return list(candidates)
        shared = [_shared(folders, _folders(image)) for image in candidates]
        return [image for image, count in zip(candidates, shared, strict=True) if count == max(shared)]

    def _same_sequence(self, image: str, folders: list[str]) -> bool:
        """Whether a path may be of the sequence of a frame, where its folder names it."""
        sequence = self.sequences.get(image, "")
        return sequence not in _folders(image) or sequence in folders


def _folders(path: str) -> list[str]:
    return list(PurePosixPath(path.replace("\\", "/")).parts[-2::-1])


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def _keys(
    listed: Listed, numbers: Sequence[int], finder: _Finder | None, joined: Joined
) -> list[tuple[int, str]]:
    """Key of every prediction that has one for certain; counts the others."""
    found: list[tuple[int, str]] = []
    unnumbered: dict[str, list[int]] = defaultdict(list)
    for number in numbers:
        key = None if listed.key is None else listed.key[number]
        if key is not None:
            if finder is not None and key not in finder.keys:
                joined.note("extra", str(key))
                continue
            if finder is not None and finder.image_of[key]:
                joined.in_image[finder.image_of[key]].append(number)
            found.append((number, key))
            continue
        if finder is None:
            joined.note("ambiguous", listed.where[number])
            continue
        _find_one(listed, number, finder, joined, found, unnumbered)
    for image, those in unnumbered.items():
        people = list(finder.people[image].values()) if finder is not None else []
        if len(people) == len(those) == 1:
            found.append((those[0], people[0]))
        else:
            for number in those:
                joined.note("ambiguous", listed.where[number])
    return sorted(found)


def _find_one(
    listed: Listed,
    number: int,
    finder: _Finder,
    joined: Joined,
    found: list[tuple[int, str]],
    unnumbered: dict[str, list[int]],
) -> None:
    """Find a prediction without a key."""
    where = listed.where[number]
    index = -1 if listed.source_index is None else int(listed.source_index[number])
    image = None if listed.image is None else listed.image[number]
    if index >= 0:
        keys = finder.by_index.get(index, [])
        if len(keys) == 1:
            found.append((number, keys[0]))
            joined.in_image[finder.image_of[keys[0]]].append(number)
        else:
            joined.note("ambiguous" if keys else "extra", where)
        return
    if image is None:
        joined.note("ambiguous", where)
        return
    images = finder.images(image)
    if len(images) != 1:
        joined.note("ambiguous" if images else "extra", where)
        return
    joined.in_image[images[0]].append(number)
    person = -1 if listed.person is None else int(listed.person[number])
    if person < 0:
        unnumbered[images[0]].append(number)
    elif person in finder.people[images[0]]:
        found.append((number, finder.people[images[0]][person]))
    else:
        joined.note("extra", where)


def _refuse(listed: Listed, rows: ShardRows | None, joined: Joined) -> None:
    """Say why no prediction is anybody's; images may do for protocols that match people themselves."""
    if joined.in_image:
        joined.fault = (
            f"no prediction can be told to be of one person: {joined.counts['ambiguous']} of "
            f"{len(listed)} are of images with several people or predictions, and do not say of whom"
        )
        return
    if joined.counts["empty"] == len(listed):
        raise UsageError(f"no predictions: all {len(listed)} rows are without a body")
    shown = ", ".join(
        dict.fromkeys(name for what in ("extra", "ambiguous") for name in joined.examples[what])
    )
    if rows is None:
        raise UsageError(
            f"predictions without record keys ({shown}): the shards are needed to tell whose they are"
        )
    some = ", ".join([str(key) for key in rows.key[:2]] + [path for path in rows.image_path[:1] if path])
    raise UsageError(
        f"none of {len(listed)} predictions is of these shards: found {shown}; the shards have "
        f"{some or 'no rows'}"
    )


def _numbering_fault(listed: Listed, rows: ShardRows, joined: Joined) -> str:
    """SMPLer-X numbers everybody of AGORA's validation 0; the last of an image overwrites the others."""
    if joined.fault or listed.person is None or listed.key is not None:
        return joined.fault
    several: dict[str, int] = defaultdict(int)
    for image in rows.image_path:
        several[image] += 1
    crowded = [image for image in joined.in_image if several.get(image, 0) > 1]
    lone = all(
        len(joined.in_image[image]) == 1 and int(listed.person[joined.in_image[image][0]]) == 0
        for image in crowded
    )
    if len(crowded) < 2 or not lone:
        return ""
    return (
        f"every prediction for the {len(crowded)} images with several people has person number 0: as "
        "SMPLer-X writes AGORA's validation, where the last person of an image overwrites the others. Nobody "
        "can say whose they are; write a number for each person"
    )
