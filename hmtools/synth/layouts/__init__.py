"""One module per official layout; a module listing finds them, nothing registers them elsewhere.

A layout module has one public constant ``LAYOUT``, a :class:`Layout` of the module's name. Layouts share the
scenes and the images of :mod:`hmtools.synth`, and never import what they are there to prove.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MAX_PEOPLE", "Layout", "Request"]

MAX_PEOPLE = 50
"""Most people that one image can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of a layout, already checked.

    Attributes:
        root: an existing, empty folder.
        frames: images per split.
        people: people per image.
        seed: source of everything random, >= 0.
        width: usual image width in pixels; oddities of a dataset may differ from it.
        height: usual image height in pixels.
        splits: official split names, each once.
        render: draw people for eyes instead of positions for tests.
        variant: which of the layout's ``variants`` of the tree to write.
        advance: call it after each image.
    """

    root: Path
    frames: int
    people: int
    seed: int
    width: int
    height: int
    splits: tuple[str, ...]
    variant: str
    render: bool
    advance: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One official layout that can be made in miniature.

    Attributes:
        name: the dataset's short name, which is the module's name.
        title: the dataset's name for people.
        splits: official split names that can be made.
        default_splits: those made when none is named.
        variants: forms of the tree that readers of the dataset accept; the first is the usual one.
        people: fewest and most people that an image of this set can show.
        write: writes the tree and the truth file below ``request.root``.
    """

    name: str
    title: str
    splits: tuple[str, ...]
    default_splits: tuple[str, ...]
    variants: tuple[str, ...]
    write: Callable[[Request], None]
    people: tuple[int, int] = (0, MAX_PEOPLE)
