"""Who is who in a table of predictions: scenes, their frames, and people over time.

A scene is what belongs into one video or one picture: a source of free media, a sequence of converted shards
whose rows have tracks, or a single image of those without. A person is followed by ``track_id``; rows without
one are people of their own.

Tables are read twice, for they may be larger than memory: once for who and where (:func:`scan`), then for the
numbers, which are given away as soon as the last row of a track or a frame has come. A table in the order in
which it was predicted therefore needs memory for the tracks that are open at one time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hmtools.core.errors import SchemaError, UsageError
from hmtools.humandata.keys import image_key, key_decode
from hmtools.humandata.predictions import iter_predictions, open_table, prediction_files

__all__ = ["Frame", "PeopleIndex", "Scene", "Track", "count_rows", "frames", "scan", "tracks"]

_WHO = ("key", "source", "image_path")
_IDENTITY = (*_WHO, "frame", "track_id", "bbox_xywh")

Columns = dict[str, Any]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """What belongs into one video or picture.

    Attributes:
        name: source, ``dataset/split/sequence`` or ``dataset/split/sequence/frame``.
        label: the name as a file name, told apart from those of all other scenes.
        source: medium of the rows, as the table has it; None for records.
        frames: (N,) int64, rising, those that have people.
    """

    name: str
    label: str
    source: str | None
    frames: Ints

    @property
    def step(self) -> int:
        """Frames from one to the next: 1, or what a stride left."""
        return int(np.gcd.reduce(np.diff(self.frames))) if len(self.frames) > 1 else 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PeopleIndex:
    """Who is in each of the n rows of a table.

    Attributes:
        path: the table, or a folder of them.
        scenes: in the order of their first rows.
        people: (scene number, label as a file name, track id or None) of every person.
        scene: (n,) number of each row's scene.
        person: (n,) number of each row's person.
        frame: (n,) frame of each row, 0 where the table has none.
        boxes: (n, 4) x, y, w, h of each row, upright pixels; NaN where it has none.
    """

    path: Path
    scenes: tuple[Scene, ...]
    people: tuple[tuple[int, str, str | None], ...]
    scene: Ints
    person: Ints
    frame: Ints
    boxes: NDArray[np.float64]

    def biggest(self) -> NDArray[np.bool_]:
        """(n,) rows of the person of each scene whose boxes cover most, all frames together."""
        area = np.nan_to_num(self.boxes[:, 2] * self.boxes[:, 3])
        total = np.bincount(self.person, area, len(self.people))
        own = np.array([scene for scene, _, _ in self.people], np.int64)
        order = np.lexsort((-np.arange(len(own)), total, own))  # among equals the first one comes last
        last = np.append(np.flatnonzero(np.diff(own[order])), len(order) - 1)
        chosen: NDArray[np.bool_] = np.isin(self.person, order[last])
        return chosen

    def windows(self, kept: NDArray[np.bool_] | None = None) -> dict[Scene, NDArray[np.float64]]:
        """The smallest rectangle (4,) x, y, x, y around all boxes of each scene that has boxes, pixels."""
        known = np.isfinite(self.boxes).all(axis=1) & (True if kept is None else kept)
        low, high = (np.full((len(self.scenes), 2), sign * np.inf) for sign in (1, -1))
        np.minimum.at(low, self.scene[known], self.boxes[known, :2])
        np.maximum.at(high, self.scene[known], self.boxes[known, :2] + self.boxes[known, 2:])
        corners = np.concatenate([low, high], axis=1)
        return {scene: own for scene, own in zip(self.scenes, corners, strict=True) if np.isfinite(own).all()}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Track:
    """One person over time.

    Attributes:
        scene: where.
        label: file name without suffix, told apart from those of all other people.
        track_id: as the table has it.
        frames: (T,) int64, rising.
        columns: column -> (T, ...) as :func:`~hmtools.humandata.predictions.iter_predictions` gives them.
    """

    scene: Scene
    label: str
    track_id: str | None
    frames: Ints
    columns: Columns


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """The people of one frame.

    Attributes:
        scene: where.
        number: of the frame.
        people: (P,) number of each among the people of the scene, the same in all of its frames.
        labels: of the people, file names.
        columns: column -> (P, ...).
    """

    scene: Scene
    number: int
    people: Ints
    labels: tuple[str, ...]
    columns: Columns


def count_rows(path: Path) -> int:
    """Rows of a table or a folder of tables, by their headers."""
    return sum(int(open_table(file).metadata.num_rows) for file in prediction_files(path))


def scan(path: Path) -> PeopleIndex:
    """Read who is in a table.

    Args:
        path: a table, or a folder of tables.

    Raises:
        LayoutError: if there is none.
        SchemaError: for rows that say neither key nor source.
        UsageError: if it has no rows.
    """
    scenes: dict[tuple[str, str | None], int] = {}
    people: dict[_Who, int] = {}
    parts: list[tuple[Any, ...]] = []
    count = 0
    for batch in iter_predictions(path, _IDENTITY):
        size = _size(batch, path)
        places = [_place(batch, i, path, count + i) for i in range(size)]
        own = [scenes.setdefault((place.scene, place.source), len(scenes)) for place in places]
        who = [
            people.setdefault(
                (scene, place.track, place.person, count + i if place.track is None else -1), len(people)
            )
            for i, (scene, place) in enumerate(zip(own, places, strict=True))
        ]
        box = batch["bbox_xywh"]
        boxes = np.full((size, 4), np.nan) if box is None else box[:, :4].astype(np.float64)
        parts.append((own, who, [place.frame for place in places], boxes))
        count += size
    if not count:
        raise UsageError(f"{path}: no rows, so nobody was predicted; nothing to do")
    scene, person, frame, boxes = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _index(path, list(scenes), list(people), (scene, person, frame), boxes)


def _size(batch: Columns, path: Path) -> int:
    found = [len(batch[name]) for name in _WHO if batch[name] is not None]
    if not found:
        raise SchemaError(f"{path}: rows without key, source and image_path; nobody can tell what they show")
    return found[0]


def _cell(batch: Columns, name: str, row: int) -> Any:
    return None if batch[name] is None else batch[name][row]


class _Place(NamedTuple):
    """What a row says of itself; ``person``: its number in a record's image."""

    scene: str
    source: str | None
    frame: int
    track: str | None
    person: int | None = None


_Who = tuple[int, str | None, int | None, int]  # scene, track, person, and the row of those without a track


def _place(batch: Columns, row: int, path: Path, number: int) -> _Place:
    key, source, image, track = (_cell(batch, name, row) for name in (*_WHO, "track_id"))
    frame = -1 if batch["frame"] is None else int(batch["frame"][row])
    if key is None:
        if source is None and image is None:
            raise SchemaError(f"{path}: row {number} has neither key nor source nor image_path")
        return _Place(source or image, source or image, max(frame, 0), track)
    try:
        said = key_decode(key)
    except UsageError:  # a key of somebody else's making names its image and nothing more
        return _Place(key, None, max(frame, 0), track)
    frame = said.frame if frame < 0 else frame
    if track is None:
        image = image_key(said.dataset, said.split, said.sequence, said.frame)
        return _Place(image, None, frame, None, said.person)
    return _Place(f"{said.dataset}/{said.split}/{said.sequence}", None, frame, track)


def _index(
    path: Path,
    scenes: Sequence[tuple[str, str | None]],
    people: Sequence[_Who],
    numbers: tuple[Ints, Ints, Ints],
    boxes: NDArray[np.float64],
) -> PeopleIndex:
    scene, person, frame = numbers
    labels = _told_apart([_short(*one) for one in scenes], [_safe(name) for name, _ in scenes])
    order = np.argsort(scene, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(scene, minlength=len(scenes)))[:-1])
    found = [
        Scene(name=name, label=label, source=source, frames=np.unique(frame[own]))
        for (name, source), label, own in zip(scenes, labels, rows, strict=True)
    ]
    nth: Counter[int] = Counter()
    names = []
    for own, track, number, _ in people:
        nameless = str(nth[own] if number is None else number)
        names.append(_person_label(labels[own], nameless if track is None else _safe(track)))
        nth[own] += track is None
    names = _told_apart(names, names)
    listed = [(own, name, track) for (own, track, _, _), name in zip(people, names, strict=True)]
    return PeopleIndex(
        path=path,
        scenes=tuple(found),
        people=tuple(listed),
        scene=scene,
        person=person,
        frame=frame,
        boxes=boxes,
    )


def _person_label(scene: str, own: str) -> str:
    """Track names that already begin with their sequence's stand alone."""
    return own if own.startswith(f"{scene}_") else f"{scene}_{own}"


def _short(name: str, source: str | None) -> str:
    path = PurePosixPath(name)
    return _safe(path.name if source is None else path.stem)


def _safe(name: str) -> str:
    """A name that is one plain file name on every system."""
    return re.sub(r"[^\w.+=@-]+", "_", name).strip("._") or "unnamed"


def _told_apart(short: Sequence[str], full: Sequence[str]) -> list[str]:
    """The short names where nobody else has them, else the full ones, else with a number behind."""
    often = Counter(name.casefold() for name in short)  # some file systems do not tell case
    taken: set[str] = set()
    found = []
    for few, all_of_it in zip(short, full, strict=True):
        wanted = few if often[few.casefold()] == 1 else all_of_it
        name, number = wanted, 2
        while name.casefold() in taken:
            name, number = f"{wanted}-{number}", number + 1
        taken.add(name.casefold())
        found.append(name)
    return found


def tracks(
    index: PeopleIndex, names: Sequence[str], kept: NDArray[np.bool_] | None = None
) -> Iterator[Track]:
    """People over time, each when its last row has come.

    Args:
        index: of the table.
        names: columns to read.
        kept: (n,) rows to read; default all.

    Raises:
        SchemaError: for a track that has two rows of one frame.
    """
    rows = np.arange(len(index.person)) if kept is None else np.flatnonzero(kept)
    last = np.full(len(index.people), -1, np.int64)
    np.maximum.at(last, index.person[rows], rows)
    order = np.argsort(last, kind="stable")
    order = order[last[order] >= 0]
    turn = np.full(len(last), -1, np.int64)
    turn[order] = np.arange(len(order))
    group = np.full(len(index.person), -1, np.int64)
    group[rows] = turn[index.person[rows]]
    for number, place, columns in _gathered(index.path, names, group):
        scene, label, track_id = index.people[order[number]]
        when = index.frame[place]
        by_time = np.argsort(when, kind="stable")
        when = when[by_time]
        if len(when) > 1 and not np.diff(when).all():
            twice = int(when[:-1][np.diff(when) == 0][0])
            name = index.scenes[scene].name
            raise SchemaError(f"{index.path}: track {track_id!r} of {name} has two rows of frame {twice}")
        yield Track(
            scene=index.scenes[scene],
            label=label,
            track_id=track_id,
            frames=when,
            columns={name: None if v is None else v[by_time] for name, v in columns.items()},
        )


def frames(
    index: PeopleIndex, names: Sequence[str], kept: NDArray[np.bool_] | None = None
) -> Iterator[Frame]:
    """Frames that have people, scene by scene and in the order of time.

    Args:
        index: of the table.
        names: columns to read.
        kept: (n,) rows to read; default all.
    """
    chosen = np.ones(len(index.person), bool) if kept is None else kept
    places = np.stack([index.scene, index.frame], axis=1)
    group = np.full(len(places), -1, np.int64)
    listed, inverse = np.unique(places[chosen], axis=0, return_inverse=True)
    group[chosen] = inverse.reshape(-1)
    first = np.full(len(index.scenes), len(index.people), np.int64)
    np.minimum.at(first, [scene for scene, _, _ in index.people], np.arange(len(index.people)))
    for number, rows, columns in _gathered(index.path, names, group):
        scene, frame = listed[number].tolist()
        people = index.person[rows]
        yield Frame(
            scene=index.scenes[scene],
            number=frame,
            people=people - first[scene],
            labels=tuple(index.people[person][1] for person in people),
            columns=columns,
        )


def _gathered(path: Path, names: Sequence[str], group: Ints) -> Iterator[tuple[int, Ints, Columns]]:
    """Rows of each group, group 0 first: its number, its rows' numbers, its columns. -1 is left out."""
    left = np.bincount(group[group >= 0])
    waiting: dict[int, list[tuple[Ints, Columns]]] = {}
    start = due = 0
    for batch in iter_predictions(path, list(dict.fromkeys([*_WHO, *names]))):
        size = _size(batch, path)
        own = group[start : start + size]
        for number in np.unique(own[own >= 0]).tolist():
            rows = np.flatnonzero(own == number)
            taken = {name: None if batch[name] is None else batch[name][rows] for name in names}
            waiting.setdefault(number, []).append((rows + start, taken))
            left[number] -= len(rows)
        start += size
        while due < len(left) and not left[due]:
            parts = waiting.pop(due)
            rows = np.concatenate([some for some, _ in parts])
            yield due, rows, _joined([part for _, part in parts], [len(some) for some, _ in parts])
            due += 1


def _joined(parts: Sequence[Mapping[str, Any]], sizes: Sequence[int]) -> Columns:
    """Columns of several batches as one; a batch that lacks one gets what stands for null."""
    if len(parts) == 1:
        return dict(parts[0])
    found: Columns = {}
    for name in parts[0]:
        like = next((part[name] for part in parts if part[name] is not None), None)
        if like is None:
            found[name] = None
            continue
        null = None if like.dtype == object else -1 if like.dtype.kind == "i" else np.nan
        found[name] = np.concatenate(
            [
                np.full((size, *like.shape[1:]), null, like.dtype) if part[name] is None else part[name]
                for part, size in zip(parts, sizes, strict=True)
            ]
        )
    return found
