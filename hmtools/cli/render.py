"""``hmtools render``: pictures and videos of predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hmtools.cli import complete
from hmtools.cli.export_report import beside, rows_done, tell_left_out

__all__ = ["render"]


def render(
    view: Annotated[
        str,
        typer.Argument(
            metavar="VIEW",
            help="overlay, side or multiview.",
            show_default=False,
            autocompletion=complete.render_views,
        ),
    ],
    predictions: Annotated[
        Path,
        typer.Argument(metavar="PREDICTIONS", help="predictions.parquet, or a folder of such tables."),
    ],
    media: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="The images or video: the file, or the folder that sources are below."
        ),
    ] = None,
    shards: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Converted shards that were predicted on, in place of --media."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Longer side in pixels. [default: as the picture; side 720, multiview 1024]"
        ),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(metavar="X", help="Frames of the source a second. [default: as the video, or 30]"),
    ] = None,
    biggest: Annotated[
        bool, typer.Option("--biggest", help="Only the person of each scene whose boxes cover most.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Folder, or an .mp4, .png or .jpg file. [default: render, beside the tables]",
        ),
    ] = None,
) -> None:
    """Draw predictions: a video of each scene that moves, a picture of each that does not.

    \b
    overlay    people over their pictures
    side       people from their side, on a plain ground
    multiview  front, back, left and right as one picture of 2 x 2

    Nothing is inferred again; only overlay needs the pictures.

    \b
    Examples:
      hmtools render overlay runs/infer/dance --media dance.mp4 --out mesh.mp4
      hmtools render multiview predictions.parquet --biggest --size 1440
      hmtools render overlay runs/infer/ehf --shards shards/ehf/test --out pages
    """  # noqa: D301 - \b keeps the lines apart
    from hmtools.core.log import Progress, format_count
    from hmtools.infer.outputs.scenes import count_rows
    from hmtools.infer.render import RenderOptions, render_predictions

    options = RenderOptions(size=size, fps=fps, biggest=biggest)
    place = beside(predictions) / "render" if out is None else out
    with Progress(f"render {view}", units=count_rows(predictions)) as bar:
        done = render_predictions(
            predictions,
            view,
            place,
            media=media,
            shards=shards,
            options=options,
            advance=rows_done(bar),
        )
    shown = str(done.files[0]) if len(done.files) == 1 else f"{place}: {len(done.files):,} files"
    typer.echo(f"{shown}, {format_count(done.frames, 'frame')}")
    tell_left_out(done.skips.counts)
    for line in done.skips.examples[:5]:
        typer.echo(f"  {line}")
