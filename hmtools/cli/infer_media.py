"""``hmtools infer`` for images, folders and videos."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from hmtools.core.settings import Settings
    from hmtools.infer.pipeline import MediaOptions, Summary

__all__ = ["infer_media"]


def infer_media(
    model: str,
    inputs: Sequence[Path],
    common: Mapping[str, Any],
    media: Mapping[str, Any],
    *,
    settings: Settings,
    as_json: bool,
) -> None:
    """Predict the people of media and say what was done.

    Args:
        model: weights, or the folder of a training run.
        inputs: files and folders.
        common: ``out, gpus, batch, precision, overwrite`` of the command line.
        media: flag -> value of the options that are about media.
        settings: say folders.
        as_json: print the summary as JSON.

    Raises:
        UsageError: for more than one GPU.
    """
    from hmtools.core.errors import UsageError
    from hmtools.infer.model import load_model
    from hmtools.infer.pipeline import run_media

    gpus = common["gpus"]
    if gpus not in (None, 0, 1):
        raise UsageError(f"--gpus {gpus}: images and videos are predicted on one GPU; start one run for each")
    options = _options(common, media, progress=not as_json)
    device = {None: "auto", 0: "cpu", 1: "cuda"}[gpus]
    loaded = load_model(
        model, device=device, precision=common["precision"], allow_standin=bool(media["--allow-standin"]),
        settings=settings,
    )  # fmt: skip
    out = common["out"]
    if out is None:
        first = inputs[0].resolve()
        name = first.name if first.is_dir() else first.stem
        out = settings.runs_root / "infer" / loaded.name / "media" / name
    summary = run_media(list(inputs), loaded, out, options)
    if as_json:
        typer.echo(json.dumps(summary.as_json() | {"path": str(summary.path)}, indent=1))
    else:
        _tell(summary, standin=bool(loaded.facts["standin"]))


def _options(common: Mapping[str, Any], media: Mapping[str, Any], *, progress: bool) -> MediaOptions:
    from hmtools.infer.media import Span
    from hmtools.infer.pipeline import MediaOptions

    span = {name: media[f"--{name}"] for name in ("start", "end", "stride")}
    chosen = {"detector": media["--detector"], "batch": common["batch"]}
    return MediaOptions(
        span=Span(**{name: value for name, value in span.items() if value is not None}),
        sequences=media["--sequence"],
        biggest=media["--biggest"],
        boxes=media["--boxes"],
        detector_model=media["--detector-model"],
        overwrite=common["overwrite"],
        progress=progress,
        **{name: value for name, value in chosen.items() if value is not None},
    )


def _tell(summary: Summary, *, standin: bool) -> None:
    from hmtools.core.log import format_duration

    body = "; STAND-IN body, not SMPL-X" if standin else ""
    typer.echo(
        f"{summary.people} people in {summary.frames} frames of {summary.sources} sources "
        f"(detector {summary.detector}, {format_duration(summary.seconds)}){body}"
    )
    for reason, count in summary.skipped.items():
        typer.echo(f"  left out: {reason} {count}")
    folder = summary.path.parent
    typer.echo(f"{summary.path}\nnext: hmtools render overlay {folder}; hmtools export {folder} --to tracks")
