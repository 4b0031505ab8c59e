"""What a dataset is: a declaration, ``plan`` (cheap) and ``read`` (raw annotations → records).

Everything else — images, checks, derivation, writing, counting, resuming — is common code. Adding a dataset
is adding one file; see CONTRIBUTING.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hmtools.core.errors import LayoutError, UnsafeFileError, UsageError, nearest
from hmtools.engine.job import Unit
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec

__all__ = ["Dataset", "Option", "Rejected", "Source", "World", "json_text", "safe_path"]


@dataclass(frozen=True, slots=True)
class Option:
    """A choice of one dataset, set by ``--option name=value``.

    No ``values`` means free text; a ``location`` is a path, which never enters a fingerprint.
    """

    default: str
    help: str
    values: tuple[str, ...] = ()
    location: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """Something the download must hold: the first of ``paths`` (relative to the root) that is there.

    An empty folder is not there: unpacking can leave one beside the full one.
    """

    paths: tuple[str, ...]
    page: str
    optional: bool = False

    def find(self, root: Path) -> Path | None:
        """The path that is there, or None."""
        return next((root / path for path in self.paths if _holds_something(root / path)), None)


def _holds_something(path: Path) -> bool:
    return next(path.iterdir(), None) is not None if path.is_dir() else path.exists()


@dataclass(frozen=True, slots=True)
class World:
    """What the world frame of ``world_to_cam`` is: shared by a sequence, one per person, or none at all."""

    scope: str = "none"
    up: str = ""
    metric: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """A person that is not stored.

    Attributes:
        reason: the word it is counted under.
        source: what the release calls it (image and annotation).
        detail: what was expected and found; where ``reason`` ends in ``_missing``, it begins with the path of
            the file and a colon, or ``source`` names it.
        by_rule: left out by the set's own published rules, which is no defect and never fatal.
        source_index: of the person, where it is known: who is not in a sampling interval is no loss.
        sequence: likewise: nor is a sequence that nobody asked for.
    """

    reason: str
    source: str
    detail: str = ""
    by_rule: bool = False
    source_index: int | None = None
    sequence: str | None = None


class Dataset:
    """Base of every dataset; subclasses declare the class variables and define ``sources, plan, read``.

    An instance is one set with its options chosen; it pickles, so that workers can read units.

    Attributes:
        name: as typed on the command line; ``title`` for people.
        aliases: what else people call it; any of them, in any case, may be typed for the name.
        folders: names its download has below ``raw_root``, first match wins.
        layout: the tree a user must have; printed by every layout error.
        splits: official split name → role (train, val or test).
        options: this set's own choices.
        every: role → sampling interval that all shipped recipes can live with (default 1).
        box_ratio: padding that training puts on this set's boxes.
        body: what kind of body annotations it has, for people.
        official_counts: split → {"records": …} as the authors state them.
        boxes_from_bodies: the release has no body boxes: they follow from the bodies, once there are models.
        video: rows of frames whose image is rejected stay, so that tracks have no gaps.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    homepage: ClassVar[str]
    licence: ClassVar[str]
    commercial_use: ClassVar[bool]
    citation: ClassVar[str]
    layout: ClassVar[str]
    splits: ClassVar[Mapping[str, str]]
    aliases: ClassVar[tuple[str, ...]] = ()
    folders: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[Mapping[str, Option]] = {}
    every: ClassVar[Mapping[str, int]] = {}
    box_ratio: ClassVar[float] = 1.2
    body: ClassVar[str] = "none"
    official_counts: ClassVar[Mapping[str, Mapping[str, int]]] = {}
    world: ClassVar[World] = World()
    boxes_from_bodies: ClassVar[bool] = False
    video: ClassVar[bool] = False

    def __init__(self, options: Mapping[str, str] | None = None) -> None:
        self.chosen = {name: option.default for name, option in self.options.items()}
        for name, value in (options or {}).items():
            if name not in self.options:
                known = ", ".join(self.options) or "none"
                raise UsageError(
                    f"{self.name} has no option {name!r} (known: {known}){nearest(name, self.options)}"
                )
            allowed = self.options[name].values
            if allowed and value not in allowed:
                raise UsageError(
                    f"{self.name} option {name}: expected {' | '.join(allowed)}, found {value!r}"
                )
            self.chosen[name] = value

    @property
    def stored_as(self) -> str:
        """The name in keys and file names: the set's own, except for your own data."""
        return self.name

    @classmethod
    def folder_below(cls, raw: Path) -> Path | None:
        """The download below a folder of downloads: the first of the usual names that holds something.

        One that is empty counts where there is no other, so that it can be said what it misses.
        """
        there = [raw / name for name in cls.folders or (cls.name,) if (raw / name).is_dir()]
        return next((path for path in there if _holds_something(path)), next(iter(there), None))

    def sources(self, split: str) -> Sequence[Source]:
        """The files and folders that converting ``split`` needs."""
        raise NotImplementedError(f"{type(self).__name__}.sources")

    def spec(self, root: Path, split: str) -> RecordSpec:
        """What the tables of ``split`` store."""
        raise NotImplementedError(f"{type(self).__name__}.spec")

    def plan(self, root: Path, split: str) -> list[Unit]:
        """Cut a split into units in (sequence, frame) order, never looking at the number of workers.

        Raises:
            LayoutError: naming every missing path and its download page.
        """
        raise NotImplementedError(f"{type(self).__name__}.plan")

    def read(self, root: Path, unit: Unit) -> Iterator[Record | Rejected]:
        """The people of a unit, sorted by (sequence, frame, person), bodies already in the camera frame.

        Numbers that only a body model can bring there wait in the record: :mod:`hmtools.bodies.pending`.
        """
        raise NotImplementedError(f"{type(self).__name__}.read")

    def image_bytes(self, root: Path, image_path: str) -> bytes:
        """The encoded image that a record names.

        Raises:
            FileNotFoundError: if it is missing.
            UnsafeFileError: if the name leaves the root.
        """
        return safe_path(root, image_path).read_bytes()

    def has_image(self, root: Path, image_path: str) -> bool:
        """Whether the image that a record names is there; cheap, for ``--check``."""
        return safe_path(root, image_path).is_file()

    def rows(self, root: Path, split: str) -> str:
        """``official`` where persons and boxes are the published ones, ``derived`` where others were made.

        Boxes that the set's published rule makes of its bodies or labels count as published.
        """
        return "official"

    def role(self, split: str) -> str:
        """train, val or test."""
        return self.splits[split]

    def found_splits(self, root: Path) -> list[str]:
        """The splits whose every source is under ``root``."""
        return [split for split in self.splits if not self.missing(root, split)]

    def missing(self, root: Path, split: str) -> list[Source]:
        """The required sources that are not there."""
        return [s for s in self.sources(split) if not s.optional and s.find(root) is None]

    def require(self, root: Path, splits: Sequence[str]) -> None:
        """Check the layout before any work.

        Raises:
            LayoutError: listing every missing path with its download page, and the tree wanted.
        """
        gaps = {s for split in splits for s in self.missing(root, split)}
        lines = [
            f"  {root / ' or '.join(s.paths)}\n      from {s.page}"
            for s in sorted(gaps, key=lambda s: s.paths)
        ]
        if not root.is_dir():
            lines.insert(0, f"  {root}: no such folder")
        if lines:
            raise LayoutError(
                f"{self.title}: missing below {root}\n" + "\n".join(lines) + f"\n\n{self.layout_help()}"
            )

    def layout_help(self) -> str:
        """The tree a user must have, and where it comes from."""
        return f"{self.title} is expected as\n\n{self.layout.strip(chr(10))}\n\nfrom {self.homepage}"

    def inputs(self, root: Path, split: str) -> list[Path]:
        """Annotation files whose size and time tell whether the input changed; images are not among them."""
        found = [source.find(root) for source in self.sources(split)]
        return [path for path in found if path is not None and path.is_file()]

    def card(self) -> dict[str, Any]:
        """What the manifest and reports say about the set."""
        return {
            "title": self.title,
            "homepage": self.homepage,
            "licence": self.licence,
            "commercial_use": self.commercial_use,
            "citation": self.citation,
        }


def safe_path(root: Path, relative: str) -> Path:
    """``root / relative``, refusing what an annotation file has no business to name.

    Raises:
        UnsafeFileError: for an absolute path or one with ``..``.
    """
    parts = relative.replace("\\", "/").split("/")
    if relative.startswith(("/", "\\")) or ".." in parts or "\0" in relative or not relative:
        raise UnsafeFileError(f"{relative!r} leaves the download's folder {root}; refused")
    return root / relative


def json_text(value: Mapping[str, Any]) -> str:
    """Compact JSON for the ``meta`` column."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
