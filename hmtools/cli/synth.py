"""``hmtools synth``: a small synthetic dataset in its official layout."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hmtools.cli.complete import layouts
from hmtools.core.errors import UsageError

if TYPE_CHECKING:
    from hmtools.synth import Truth

__all__ = ["synth"]


def synth(
    name: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            help="Name of the dataset, e.g. mscoco.",
            show_default=False,
            autocompletion=layouts,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="New or empty folder.", show_default=False)
    ],
    frames: Annotated[int, typer.Option("--frames", metavar="N", help="Images per split, 1 or more.")] = 20,
    people: Annotated[
        int | None,
        typer.Option(
            "--people",
            metavar="N",
            help="People per image, 0 to 50; sets with one person per image take 1. [default: 2 or 1]",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="0 or more; the same seed gives the same bytes.")
    ] = 0,
    size: Annotated[
        str, typer.Option("--size", metavar="WxH", help="Usual image size, sides of 64 to 4096 px.")
    ] = "640x480",
    split: Annotated[
        list[str] | None,
        typer.Option("--split", metavar="SPLIT", help="Official split; repeatable. [default: the set's own]"),
    ] = None,
    render: Annotated[
        bool, typer.Option("--render", help="Draw shaded people for eyes; positions cannot be read off them.")
    ] = False,
) -> None:
    """Make a small synthetic dataset in its official layout.

    File names, annotation files and their oddities (crowd regions, invalid hands, boxes that leave the
    image, grayscale and rotated files ...) are those of the real download. The people are stand-in bodies,
    the pictures patterns whose colours code positions. A marker file says that the folder is synthetic.

    \b
    Examples:
      hmtools synth mscoco --out raw/MSCOCO --frames 40 --people 3 --seed 1
      hmtools synth mscoco --out raw/MSCOCO --split train2017 --size 1280x720
      hmtools synth ehf --out raw/EHF --frames 10 --render
    """  # noqa: D301 - \b keeps the lines of an example apart
    from hmtools.core.log import Progress
    from hmtools.synth import layout, make_miniature, read_truth

    name, width_height = _official(name), _size(size)
    made = layout(name)
    count = min(max(2, made.people[0]), made.people[1]) if people is None else people
    splits = tuple(dict.fromkeys(split or made.default_splits))
    progress = Progress(f"synth {name}", units=max(0, frames) * len(splits))
    with ExitStack() as stack:

        def advance() -> None:
            if not progress.units_done:  # only now nothing can be refused any more
                stack.enter_context(progress)
            progress.advance()

        make_miniature(name, out, frames, count, seed, width_height, splits, render=render, progress=advance)
    typer.echo(_summary(name, out, read_truth(out)))


def _official(name: str) -> str:
    """The name that is meant by one in other letters, or by an alias; as it is where there is no such set."""
    from hmtools.datasets.registry import get_dataset

    try:
        return get_dataset(name).name
    except UsageError:
        return name


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    if match is None:
        raise UsageError(f"--size takes width x height in pixels, e.g. 640x480, got {text!r}")
    return int(match[1]), int(match[2])


def _summary(name: str, out: Path, truth: Truth) -> str:
    from hmtools.core.log import format_count

    rejected = sum(person.rejected is not None for person in truth.people)
    counts = f"{format_count(len(truth.images), 'image')}, {format_count(len(truth.people), 'annotation')}"
    if rejected:
        counts += f", {rejected} of them not to be converted (defects, or left out by the set's rules)"
    return f"{out}: {counts}\nnext: hmtools convert {name} --root {out}"
