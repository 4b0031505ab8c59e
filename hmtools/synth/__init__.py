"""Miniatures: tiny synthetic datasets in their official layouts, with the truth about them.

Their people are stand-in bodies, seen through cameras that are known. Their images are geometry images
(:mod:`hmtools.synth.geometry_image`): colours code positions, so a converter's crops can be checked to a
fraction of a pixel. What every label must become lies beside them (:func:`read_truth`). The same arguments
give the same bytes.

>>> from pathlib import Path
>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     make_miniature("mscoco", Path(folder), frames=2, people=3, seed=1, size=(160, 120))
...     len(read_truth(Path(folder)).images)
2
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hmtools.core.atomic import write_json
from hmtools.core.errors import LayoutError, UsageError, nearest
from hmtools.synth.geometry_image import MAX_SIDE, MIN_SIDE
from hmtools.synth.layouts import MAX_PEOPLE, Layout, Request
from hmtools.synth.truth import MARKER, TRUTH, ImageTruth, PersonTruth, Truth, read_truth

__all__ = [
    "MARKER",
    "MAX_PEOPLE",
    "ImageTruth",
    "PersonTruth",
    "Truth",
    "layout",
    "layout_names",
    "make_miniature",
    "read_truth",
]


def layout_names() -> tuple[str, ...]:
    """Names of the layouts that can be made, sorted."""
    from hmtools.synth import layouts

    return tuple(sorted(module.name for module in pkgutil.iter_modules(layouts.__path__)))


def layout(name: str) -> Layout:
    """Find a layout by its dataset's short name.

    Raises:
        UsageError: if there is none of that name.
    """
    known = layout_names()
    if name not in known:
        raise UsageError(
            f"there is no miniature of {name!r}{nearest(name, known)}; known layouts: {', '.join(known)}"
        )
    found: Layout = importlib.import_module(f"hmtools.synth.layouts.{name}").LAYOUT
    return found


def make_miniature(
    name: str,
    out: Path,
    frames: int,
    people: int,
    seed: int,
    size: tuple[int, int] = (640, 480),
    splits: Sequence[str] | None = None,
    *,
    variant: str | None = None,
    render: bool = False,
    progress: Callable[[], None] | None = None,
) -> None:
    """Write a miniature of a dataset: official tree, marker and truth.

    Args:
        name: short name of the dataset, see :func:`layout_names`.
        out: folder to fill; it must be empty or absent.
        frames: images per split, at least 1.
        people: people per image, 0 to 50, or what the set can show (EHF: 1). A dataset's oddities (nobody,
            or a crowd) come on top.
        seed: source of everything random, at least 0.
        size: usual width and height in pixels, 64 to 4096; some images differ from it.
        splits: official split names; the layout's default when None.
        variant: form of the tree, one of the layout's ``variants``; for tests of readers that accept several.
        render: draw shaded people for eyes instead of pictures that code positions; slower.
        progress: called after each image.

    Raises:
        UsageError: if an argument is impossible; the message lists every one that is.
        LayoutError: if ``out`` is not empty or cannot be written.
    """
    made = layout(name)
    chosen = made.default_splits if splits is None else tuple(dict.fromkeys(splits))
    form = made.variants[0] if variant is None else variant
    wrong = [*_wrong_numbers(made, frames, people, seed, size), *_wrong_names(made, chosen, form)]
    if wrong:
        raise UsageError(f"cannot make a miniature of {name}: {'; '.join(wrong)}")
    request = Request(
        root=out,
        frames=frames,
        people=people,
        seed=seed,
        width=size[0],
        height=size[1],
        splits=chosen,
        variant=form,
        render=render,
        advance=progress or (lambda: None),
    )
    with _writing(out):
        _claim(out)
        _mark(name, request)
        made.write(request)


def _wrong_names(made: Layout, splits: tuple[str, ...], variant: str) -> Iterator[str]:
    if not splits:
        yield "at least one split is needed"
    for split in splits:
        if split not in made.splits:
            yield f"split {split!r} is not one of {', '.join(made.splits)}{nearest(split, made.splits)}"
    if variant not in made.variants:
        yield f"variant {variant!r} is not one of {', '.join(made.variants)}"


def _wrong_numbers(made: Layout, frames: int, people: int, seed: int, size: tuple[int, int]) -> Iterator[str]:
    for what, value, low, high in (
        ("--frames", frames, 1, None),
        ("--people", people, *made.people),
        ("--seed", seed, 0, None),
        ("--size: width", size[0], MIN_SIDE, MAX_SIDE),
        ("--size: height", size[1], MIN_SIDE, MAX_SIDE),
    ):
        if value < low or (high is not None and value > high):
            limits = f"at least {low}" if high is None else f"{low}" if low == high else f"{low} to {high}"
            yield f"{what} must be {limits}, got {value}"


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Turn what the file system refuses into a message that names the folder."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise LayoutError(
            f"cannot write the miniature to {out}: {reason} ({error.filename or out}); "
            f"choose a folder that can be written, with room for it"
        ) from error


def _claim(out: Path) -> None:
    """Create ``out``; refuse it when something is there."""
    if out.exists() and not out.is_dir():
        raise LayoutError(f"{out} is a file; --out needs an empty or new folder")
    out.mkdir(parents=True, exist_ok=True)
    found = sorted(entry.name for entry in os.scandir(out))
    if not found:
        return
    shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
    unfinished = MARKER in found and TRUTH not in found
    what = "holds an unfinished miniature" if unfinished else "is not empty"
    raise LayoutError(f"{out} {what} (found {shown}); choose a new folder or delete this one first")


def _mark(name: str, request: Request) -> None:
    """Write the marker before anything else: nothing synthetic may ever stand without it."""
    from hmtools import __version__
    from hmtools.bodies.standin.cache import standin_hash

    write_json(
        request.root / MARKER,
        {
            "generator": f"hmtools {__version__}",
            "layout": name,
            "seed": request.seed,
            "standin_sha256": standin_hash(),
            "frames": request.frames,
            "people": request.people,
            "size": [request.width, request.height],
            "render": request.render,
            "splits": list(request.splits),
        },
    )
