"""``hmtools view``: a self-contained contact sheet of shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hmtools.cli.shards_argument import existing_folder

__all__ = ["view"]


def view(
    shards: Annotated[
        Path,
        typer.Argument(metavar="SHARDS", help="OUT/DATASET/SPLIT; also below the setting shards_root."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The HTML file to write.")] = Path(
        "contact_sheet.html"
    ),
    people: Annotated[int, typer.Option(metavar="N", help="How many people to show, evenly spaced.")] = 100,
    query: Annotated[
        str | None, typer.Option(metavar="QUERY", help="Only records that match, e.g. 'width > 600'.")
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Whole frames instead of each person's surroundings.")
    ] = False,
    meshes: Annotated[
        bool, typer.Option("--meshes/--no-meshes", help="Draw bodies where their body model is at hand.")
    ] = True,
) -> None:
    """Write a contact sheet: meshes, boxes and skeletons over the upright images, in one HTML file.

    \b
    Examples:
      hmtools view shards/mscoco/val2017 --out sheet.html
      hmtools view mscoco/train2017 --query 'valid_lhand = true' --people 40
    """  # noqa: D301 - \b keeps Typer from joining the lines
    import hmtools
    from hmtools.core.errors import UsageError
    from hmtools.shards.sheet import write_sheet

    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: no folder {out.parent}; make it first")
    if people < 1:
        raise UsageError(f"--people: expected 1 or more, found {people}")
    shards = existing_folder(shards, "one converted split (OUT/DATASET/SPLIT)")
    opened = hmtools.open(shards)
    if query is not None:
        opened = opened.select(query)
        if not len(opened):
            raise UsageError(f"--query {query!r}: no record of {shards} matches")
    page = write_sheet(opened, out, people=people, whole=whole, meshes=meshes)
    typer.echo(f"{page}: {min(people, len(opened))} of {len(opened)} people")
