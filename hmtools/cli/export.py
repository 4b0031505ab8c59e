"""``hmtools export``: predictions as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hmtools.cli import complete
from hmtools.cli.export_report import beside, rows_done, tell_left_out

__all__ = ["export"]


def export(
    predictions: Annotated[
        Path,
        typer.Argument(metavar="PREDICTIONS", help="predictions.parquet, or a folder of such tables."),
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="KIND",
            help="tracks, amass, ply, obj, glb or gltf.",
            show_default=False,
            autocompletion=complete.export_kinds,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where they go. [default: export/KIND, beside the tables]"),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Frames of the source a second, for amass and gltf. [default: as predicted, or 30]",
        ),
    ] = None,
    biggest: Annotated[
        bool, typer.Option("--biggest", help="Only the person of each scene whose boxes cover most.")
    ] = False,
) -> None:
    """Write predictions as files for other programs; nothing is inferred again.

    \b
    tracks  a .npz per person: pose, betas, trans, expression, camera, frame_ids
    amass   a .npz per person as AMASS has them, z up
    ply     a binary .ply per person and frame, in the camera's frame
    obj     a .obj per person and frame, in the camera's frame
    glb     a .glb per person and frame, y up
    gltf    an animated .glb per person: skeleton, skin and a clip, y up

    \b
    Examples:
      hmtools export runs/infer/dance/predictions.parquet --to gltf --out dance
      hmtools export runs/infer/dance --to amass --out motions --fps 25 --biggest
      hmtools export runs/infer/dance --to tracks
    """  # noqa: D301 - \b keeps the lines apart
    from hmtools.core.log import Progress, format_count
    from hmtools.infer.outputs.export import export_predictions
    from hmtools.infer.outputs.scenes import count_rows

    place = beside(predictions) / "export" / to if out is None else out  # kinds share names of files
    with Progress(f"export {to}", units=count_rows(predictions)) as bar:
        done = export_predictions(predictions, to, place, fps=fps, biggest=biggest, advance=rows_done(bar))
    typer.echo(f"{place}: {format_count(len(done.files), 'file')}")
    tell_left_out(done.left_out)
    for note in done.notes:
        typer.echo(note)
    if not done.files:
        typer.echo("nothing was written", err=True)
        raise typer.Exit(1)
