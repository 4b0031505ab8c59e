"""What ``hmtools bench`` measures: given predictions, those of a model that predicts first, or the newest."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from hmtools.bench.protocols.base import Protocol
    from hmtools.core.settings import Settings
    from hmtools.infer.shards_job import InferTask
    from hmtools.shards.reader import Shards

__all__ = ["measured"]

_FAVOURITE = "smplerx-h32"
_NOTHING = """nothing to measure on {testset}: no finished run below {runs},
no official weights in {weights}, and neither --model nor --predictions. The two ways on, then again:
  hmtools train smplerx/h32                        (your own)
  hmtools weights import FILE --name {favourite}   (official; `hmtools weights list` names the pages)"""


def measured(
    predictions: Path | None,
    model: str | None,
    testset: str,
    found: Sequence[tuple[type[Protocol], list[Shards]]],
    settings: Settings,
    *,
    quiet: bool = False,
) -> Path:
    """The predictions that are measured; a model predicts what is not there yet.

    Without predictions and model it is the newest finished run: a training run, or predictions of these very
    shards; else official weights. Standard error says which.

    Args:
        predictions: given ones.
        model: weights, or the folder of a training run.
        testset: as the user wrote it.
        found: protocols and their shards.
        settings: say folders and engine.
        quiet: show no progress.

    Raises:
        UsageError: for predictions and a model together, if there is nothing to measure, and if the folder
            of the model's predictions holds some of other weights or shards.
        UnitError: if not everybody could be predicted.
    """
    from hmtools.core.errors import UsageError

    if predictions is not None and model is not None:
        raise UsageError(f"--model {model} --predictions {predictions}: one of them predicts; give one")
    if predictions is not None:
        return predictions
    splits = list({own.path: own for _, shards in found for own in shards}.values())
    if model is None:
        chosen = _newest(splits, settings)
        if chosen is None:
            raise UsageError(
                _NOTHING.format(
                    testset=testset, runs=settings.runs_root, weights=settings.checkpoints,
                    favourite=_FAVOURITE,
                )
            )  # fmt: skip
        path, words, predicted = chosen
        typer.echo(f"measuring {words}", err=True)
        if predicted:
            return path
        model = str(path)
    return _predict(model, splits, settings, quiet=quiet)


def _newest(splits: Sequence[Shards], settings: Settings) -> tuple[Path, str, bool] | None:
    """The newest finished run, else official weights: path, words on it, whether it is predictions."""
    from hmtools.models.weights_folder import weights_in

    root = settings.runs_root
    runs = [(path.stat().st_mtime, path.parent, False) for path in root.glob("train/*/final.safetensors")]
    runs += [(when, path, True) for path in root.glob("infer/*") if (when := _finished(path, splits))]
    if runs:
        when, path, predicted = max(runs)
        day = datetime.fromtimestamp(when).astimezone().strftime("%Y-%m-%d %H:%M")
        kind = "predictions" if predicted else "training run"
        return path, f"the newest finished run: {kind} {path}, of {day}", predicted
    official = {
        item.published.name: item.path
        for item in reversed(weights_in(settings.checkpoints))  # imported ones come first, and win
        if item.published is not None and item.published.model == "smplerx"
    }
    if not official:
        return None
    path = official.get(_FAVOURITE) or next(iter(official.values()))
    return path, f"official weights: {path}", False


def _finished(folder: Path, splits: Sequence[Shards]) -> float:
    """When the last of the predictions of all these shards was finished; 0 if one is not there."""
    from hmtools.bench.predicted_on import CLOSING, read_closing, shards_sha256

    times = []
    for own in splits:
        place = folder / own.manifest.dataset / own.manifest.split
        closing = read_closing(place)
        if closing is None or closing.get("shards_sha256") != shards_sha256(own.manifest):
            return 0.0
        times.append((place / CLOSING).stat().st_mtime)
    return max(times, default=0.0)


def _predict(model: str, splits: Sequence[Shards], settings: Settings, *, quiet: bool) -> Path:
    """Predict the splits of which there are no predictions of this model yet; returns their folder."""
    from hmtools.bench.predicted_on import read_closing
    from hmtools.core.errors import UsageError
    from hmtools.infer.shards_run import infer_tasks, is_current, run_tasks, worker_choice

    gpu, workers = worker_choice(settings.engine, None, settings.workers)
    tasks = infer_tasks(model, [own.path for own in splits], gpu=gpu, settings=settings)
    closings = {task.out: read_closing(task.out) for task in tasks}
    others = [
        _of_others(task, said, model)
        for task in tasks
        if (said := closings[task.out]) is not None and not is_current(task, said)
    ]
    if others:  # before any of them is predicted
        raise UsageError("\n".join(others))
    for task in tasks:
        if closings[task.out] is not None:
            continue
        reports = run_tasks([task], settings=settings, workers=workers, progress=not quiet, wait=True)
        for report in reports:
            _require(task, report.outcome.failed, stopped=report.outcome.interrupted)
    return tasks[0].out.parent.parent


def _of_others(task: InferTask, closing: Mapping[str, Any], model: str) -> str:
    """What is said against predictions of other weights or shards: they may have cost days of a GPU."""
    from hmtools.bench.predicted_on import shards_sha256
    from hmtools.humandata.manifest import read_manifest

    again = shlex.join(["hmtools", "infer", model, str(task.shards), "--overwrite"])
    if closing.get("shards_sha256") == shards_sha256(read_manifest(task.shards)):
        same = closing.get("checkpoint_sha256") == task.checkpoint_sha256
        there = "with another body model or other boxes" if same else f"of other weights than {task.weights}"
        ways = "Move them away"
    elif (made_on := str(closing.get("shards"))) == str(task.shards):
        there = f"of {made_on} as it was before it was converted or derived anew"
        ways = "Move them away"
    else:
        there = f"of {made_on}, not of {task.shards}"
        ways = f"Give --shards {shlex.quote(made_on)}, or move them away"
    return f"{task.out}: the predictions there are {there}. {ways}, or replace them:\n  {again}"


def _require(task: InferTask, failed: dict[str, str], *, stopped: bool) -> None:
    from hmtools.core.errors import UnitError

    if stopped:
        raise typer.Exit(130)
    if failed:
        unit, reason = next(iter(failed.items()))
        raise UnitError(
            f"{task.out}: {len(failed)} units failed, first {unit}: {reason}\n  log: "
            f"{task.out / '.job' / 'logs' / f'{unit}.log'}; the same command tries again"
        )
