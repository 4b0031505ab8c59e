"""``hmtools infer``: the people of converted shards, of images and of videos."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hmtools.cli import complete
from hmtools.cli.engine_options import Address, Engine, UnitTimeout, Wait, engine_settings

if TYPE_CHECKING:
    from hmtools.infer.shards_run import InferReport

__all__ = ["infer"]

_BATCH = 32


def infer(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Weights (`hmtools weights list`), a file of weights, or the folder of a training run.",
            autocompletion=complete.model_words,
        ),
    ],
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT",
            help="Shards (OUT, OUT/DATASET or OUT/DATASET/SPLIT; also below the setting shards_root), or "
            "images, folders, videos.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the predictions. [default: infer/MODEL below the setting runs_root; of media "
            "infer/MODEL/media/NAME]",
        ),
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="GPUs at once, a process each; 0: the CPU. [default: all here; Ray, Slurm: all that fit]",
        ),
    ] = None,
    batch_size: Annotated[
        str,
        typer.Option(metavar="N", help="People at once, or auto; changes speed and memory, and no numbers."),
    ] = "auto",
    precision: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="fp32, or bf16: faster on a GPU.", autocompletion=complete.precisions
        ),
    ] = "fp32",
    start: Annotated[int | None, typer.Option(metavar="N", help="Media: first frame, from 0.")] = None,
    end: Annotated[
        int | None, typer.Option(metavar="N", help="Media: the frame before which it ends.")
    ] = None,
    stride: Annotated[int | None, typer.Option(metavar="N", help="Media: every Nth frame.")] = None,
    biggest: Annotated[
        bool, typer.Option("--biggest", help="Media: the largest person of each frame only.")
    ] = False,
    sequence: Annotated[
        bool, typer.Option("--sequence", help="Media: the images of a folder are frames of one scene.")
    ] = False,
    detector: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Media: what finds people: given, hog, onnx, ultralytics, whole (a frame is one person). "
            "[default: --boxes, else --detector-model, else hog (if OpenCV has it), else whole]",
            autocompletion=complete.detectors,
        ),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Media: boxes or keypoints, instead of a detector; all of them are taken.",
        ),
    ] = None,
    detector_model: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Media: local, for the detectors onnx and ultralytics."),
    ] = None,
    person_class: Annotated[
        int | None,
        typer.Option(metavar="N", help="Media: which class of that file is people. [default: 0]"),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Media: least confidence of people, 0 to 1. [default: 0.5; none for --boxes]",
        ),
    ] = None,
    min_size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH",
            help="Media: least width and height of people, pixels; 0x0: all. [default: 50x150 as in "
            "SMPLer-X's demo; none for --boxes]",
        ),
    ] = None,
    no_track: Annotated[
        bool, typer.Option("--no-track", help="Media: follow nobody from frame to frame; no track_id.")
    ] = False,
    max_lost: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Media: frames without a box after which a person gets a new id. [default: 15]",
        ),
    ] = None,
    allow_standin: Annotated[
        bool, typer.Option("--allow-standin", help="Media: accept the stand-in body; marked so.")
    ] = False,
    vertices: Annotated[
        bool, typer.Option("--vertices", help="Shards: write meshes beside the tables.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Shards on the CPU: processes, each with the network; 0: this one, to debug. [default: the "
            "setting workers, else this one alone (Ray, Slurm: all that fits)]",
        ),
    ] = None,
    engine: Engine = None,
    address: Address = None,
    unit_timeout: UnitTimeout = None,
    wait: Wait = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove the predictions that are there and start over.")
    ] = False,
    break_lock: Annotated[
        bool, typer.Option("--break-lock", help="Shards: take over from a writer that hangs.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Predict the people of converted shards, or of images, folders and videos.

    Shards: one table per part, `predictions.json` at the end; the same command again continues. Boxes are
    padded as the set's protocol pads them, the body is that of the shards.

    Media: `predictions.parquet`; the body is that of the setting body_models. `hmtools render` draws them.

    \b
    Examples:
      hmtools infer smplerx-h32 shards/pw3d/test
      hmtools infer runs/train/smplerx-h32 shards --engine slurm --gpus 8
      hmtools infer smplerx-h32 dance.mp4 --stride 2 --out runs/dance
      hmtools infer smplerx-h32 a.mp4 --detector-model yolo.onnx --min-size 20x60
    """  # noqa: D301 - \b keeps the lines of an example apart
    settings = engine_settings(
        engine=engine, workers=workers, address=address, unit_timeout=unit_timeout, wait=wait
    )
    of_media: dict[str, Any] = {
        "--start": start, "--end": end, "--stride": stride, "--biggest": biggest, "--sequence": sequence,
        "--detector": detector, "--boxes": boxes, "--detector-model": detector_model,
        "--person-class": person_class, "--confidence": confidence, "--min-size": min_size,
        "--no-track": no_track, "--max-lost": max_lost, "--allow-standin": allow_standin,
    }  # fmt: skip
    of_shards: dict[str, Any] = {
        "--vertices": vertices, "--workers": workers, "--engine": engine, "--unit-timeout": unit_timeout,
        "--wait": wait, "--break-lock": break_lock,
    }  # fmt: skip
    common: dict[str, Any] = {
        "out": out, "gpus": gpus, "batch": _batch(batch_size), "precision": _precision(precision),
        "overwrite": overwrite,
    }  # fmt: skip
    shards = _shards(inputs, settings.shards_root)
    if shards is None:
        from hmtools.cli.infer_media import infer_media

        _refuse(of_shards, "shards", inputs)
        infer_media(model, inputs, common, of_media, settings=settings, as_json=as_json)
        return
    _refuse(of_media, "images and videos", inputs)
    from hmtools.infer.shards_run import infer_shards

    common["batch"] = common["batch"] or _BATCH
    reports = infer_shards(
        model, shards, **common, workers=workers, vertices=vertices, settings=settings,
        break_lock=break_lock, progress=not as_json, wait=wait,
    )  # fmt: skip
    if as_json:
        typer.echo(json.dumps({report.split: _facts(report) for report in reports}, indent=1))
    else:
        _tell(reports)
    raise typer.Exit(max((report.outcome.exit_code for report in reports), default=0))


def _shards(inputs: Sequence[Path], root: Path) -> Path | None:
    """The one input that is shards, as it is named or below the setting ``shards_root``; None for media."""
    from hmtools.core.errors import LayoutError, UsageError
    from hmtools.shards.reader import find_splits, find_unfinished

    there = [path if path.exists() or not (root / path).is_dir() else root / path for path in inputs]
    if lost := [str(path) for path in there if not path.exists()]:
        raise LayoutError(
            f"{', '.join(lost)}: no such file or folder, here or below shards_root = {root}; expected "
            "converted shards, or images, folders and videos"
        )
    found = [path for path in there if path.is_dir() and (find_splits(path) or find_unfinished(path))]
    if found and len(there) > 1:
        raise UsageError(
            f"{found[0]}: shards are predicted by themselves; name one folder, which may hold several splits"
        )
    return found[0] if found else None


def _refuse(options: Mapping[str, Any], kind: str, inputs: Sequence[Path]) -> None:
    """Options that would have no effect are no mistake to be silent about."""
    from hmtools.core.errors import UsageError

    if given := [flag for flag, value in options.items() if value is not None and value is not False]:
        raise UsageError(f"{given[0]}: is about {kind}; {inputs[0]} is none of them")


def _batch(text: str) -> int | None:
    from hmtools.core.errors import UsageError

    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--batch-size: expected auto or a number from 1 on, found {text!r}")
    return int(text)


def _precision(name: str) -> Any:
    from hmtools.core.errors import UsageError, nearest

    known = complete.precisions("")
    if name not in known:
        raise UsageError(f"--precision: expected {' or '.join(known)}, found {name!r}{nearest(name, known)}")
    return name


def _facts(report: InferReport) -> dict[str, Any]:
    outcome = report.outcome
    return {
        "out": str(report.task.out),
        "ok": outcome.ok,
        "model": report.task.name,
        "predicted": outcome.count("records"),
        "without": outcome.count("rejected"),
        "failed": outcome.failed,
        "submitted": list(outcome.submitted),
        "interrupted": outcome.interrupted,
        "seconds": round(outcome.seconds, 3),
    }


def _tell(reports: Sequence[InferReport]) -> None:
    from hmtools.core.log import format_duration, show, table

    headings = ["split", "state", "people", "without", "time", "predictions"]
    rows = [
        [
            report.split, _state(report), report.outcome.count("records"), report.outcome.count("rejected"),
            format_duration(report.outcome.seconds), report.task.out,
        ]
        for report in reports
    ]  # fmt: skip
    show(table(headings, rows))
    for report in reports:
        _tell_one(report)


def _state(report: InferReport) -> str:
    outcome = report.outcome
    if outcome.submitted:
        return "submitted"
    if outcome.interrupted:
        return "stopped"
    if outcome.failed:
        return f"units failed: {len(outcome.failed)}"
    return "already done" if outcome.skipped == len(outcome.results) else "done"


def _tell_one(report: InferReport) -> None:
    outcome, out = report.outcome, report.task.out
    for unit, reason in outcome.failed.items():
        typer.echo(f"  {unit} failed: {reason}\n    log: {out / '.job' / 'logs' / f'{unit}.log'}")
    if outcome.submitted:
        ids = " ".join(map(str, outcome.submitted))
        typer.echo(f"{report.split}: Slurm jobs {ids}; follow: hmtools jobs {out} --follow")
        return
    if outcome.failed or outcome.interrupted:
        typer.echo("Run the same command again to continue; finished units are kept.")
        return
    closing = report.closing or {}
    body = ", STAND-IN body, not SMPL-X" if closing.get("standin") else ""
    ratio = f"boxes x {report.task.box_ratio:.4g} ({closing.get('box_ratio_from')})"
    typer.echo(f"{report.split}: {report.task.name}, {ratio}{body}")
    if reasons := closing.get("without"):
        listed = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
        typer.echo(f"{report.split}: no prediction: {listed}")
    if broken := closing.get("not_finite"):
        typer.echo(f"{report.split}: {broken} predictions are not finite: did the training diverge?")
