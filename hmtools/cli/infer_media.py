"""``hmtools infer`` for images, folders and videos."""

from __future__ import annotations

import json
import re
import shlex
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
        UsageError: for more than one GPU, and options that have no effect or none that is known.
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
        _tell(summary, inputs, standin=bool(loaded.facts["standin"]))


def _options(common: Mapping[str, Any], media: Mapping[str, Any], *, progress: bool) -> MediaOptions:
    from hmtools.infer.media import Span
    from hmtools.infer.pipeline import MediaOptions

    _check(media)
    span = {name: media[f"--{name}"] for name in ("start", "end", "stride")}
    names = ("detector", "person_class", "confidence", "max_lost")
    chosen = {name: media[f"--{name.replace('_', '-')}"] for name in names}
    return MediaOptions(
        span=Span(**{name: value for name, value in span.items() if value is not None}),
        sequences=media["--sequence"],
        biggest=media["--biggest"],
        track=not media["--no-track"],
        min_size=_size(media["--min-size"]),
        batch=common["batch"],
        boxes=media["--boxes"],
        detector_model=media["--detector-model"],
        overwrite=common["overwrite"],
        progress=progress,
        **{name: value for name, value in chosen.items() if value is not None},
    )


def _check(media: Mapping[str, Any]) -> None:
    from hmtools.core.errors import UsageError

    if media["--person-class"] is not None and media["--detector-model"] is None:
        raise UsageError("--person-class: is about the file of --detector-model, which is not given")
    if media["--no-track"] and media["--max-lost"] is not None:
        raise UsageError("--max-lost: is about tracks, and --no-track makes none; give one")


def _size(text: str | None) -> tuple[float, float] | None:
    from hmtools.core.errors import UsageError

    match = None if text is None else re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if text is not None and match is None:
        raise UsageError(f"--min-size: expected width x height in pixels, e.g. 20x60, found {text!r}")
    return None if match is None else (float(match[1]), float(match[2]))


def _tell(summary: Summary, inputs: Sequence[Path], *, standin: bool) -> None:
    from hmtools.core.log import format_count, format_duration

    body = "; STAND-IN body, not SMPL-X" if standin else ""
    typer.echo(
        f"{format_count(summary.people, 'person', 'people')} in {format_count(summary.frames, 'frame')} of "
        f"{format_count(summary.sources, 'source')} "
        f"(detector {summary.detector}, {format_duration(summary.seconds)}){body}"
    )
    for reason, count in summary.skipped.items():
        typer.echo(f"  left out: {reason} {count}")
    typer.echo(summary.path)
    if summary.people:
        folder = shlex.quote(str(summary.path.parent))
        where = f" --media {shlex.quote(str(inputs[0]))}" if len(inputs) == 1 else ""
        typer.echo(f"next: hmtools render overlay {folder}{where}; hmtools export {folder} --to tracks")
