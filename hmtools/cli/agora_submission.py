"""``hmtools bench agora-submission``: predictions as a zip for AGORA's evaluation server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["agora_submission"]


def agora_submission(
    predictions: Annotated[
        Path,
        typer.Argument(metavar="PREDICTIONS", help="Our predictions: a parquet file, or a folder of them."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The zip to write.")],
) -> None:
    """Write predictions as AGORA's evaluation server takes them, and check them by its rules.

    A pickle per person, with unique numbers, 2D joints in pixels of 3840 x 2160, and arrays that NumPy 1
    reads. Bodies that are not finite are left out and listed. Hands are made relative to the mean hand, for
    which the neutral SMPL-X model must be in body_models.

    \b
    Examples:
      hmtools bench agora-submission runs/infer/agora-test --out agora.zip
    """  # noqa: D301 - \b keeps the lines of an example apart
    from hmtools.bench.agora_submission import write_submission
    from hmtools.core.errors import UsageError

    if out.suffix.lower() != ".zip":
        raise UsageError(f"--out {out}: the server takes a .zip")
    found = write_submission(predictions, out)
    typer.echo(
        f"{found.path}: {found.people:,} people of {found.images:,} images, {found.family}; passes the check"
    )
    for reason, count in found.left_out.items():
        typer.echo(f"  left out, {reason}: {count:,} ({', '.join(found.examples[reason])})")
