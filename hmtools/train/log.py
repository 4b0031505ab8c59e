"""What a run says while it trains: a line in the terminal, ``log.jsonl``, TensorBoard and, if asked, MLflow.

``log.jsonl`` is the record: one JSON object a line. After a resume it holds every step once.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from hmtools.core.atomic import write_bytes, write_json
from hmtools.core.errors import UsageError
from hmtools.engine.worker import one_line
from hmtools.train.recipe import Recipe, recipe_json

__all__ = ["Scalars", "Sink", "TrainLog", "jsonl_sink", "mlflow_sink", "read_log", "tensorboard_sink"]

Scalars: TypeAlias = Mapping[str, float]

_SQLITE = "sqlite:///"

log = logging.getLogger(__name__)


class Sink(Protocol):
    """Where numbers go: TensorBoard, MLflow, a file."""

    def write(self, step: int, scalars: Scalars) -> None:
        """Record the numbers of a step."""

    def close(self) -> None:
        """Hand over what is still held back."""


class TrainLog:
    """Sends the numbers of each step to every sink."""

    def __init__(self, sinks: list[Sink]) -> None:
        self._sinks = sinks

    def write(self, step: int, scalars: Scalars) -> None:
        """Record numbers; a sink that fails is dropped with a warning: training goes on without it."""
        for sink in list(self._sinks):
            try:
                sink.write(step, scalars)
            except (OSError, ValueError, RuntimeError) as error:
                log.warning("%s no longer gets numbers: %s", type(sink).__name__, error)
                self._sinks.remove(sink)

    def close(self) -> None:
        """Close every sink, once; one that fails does so with a warning: what was trained is safe."""
        while self._sinks:
            sink = self._sinks.pop()
            try:
                sink.close()
            except (OSError, ValueError, RuntimeError) as error:
                log.warning("%s does not have everything: %s", type(sink).__name__, error)


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read ``log.jsonl``; a last line that was cut is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_bytes().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


class _JsonLines:
    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def write(self, step: int, scalars: Scalars) -> None:
        self._file.write(json.dumps({"step": step, **scalars}) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def jsonl_sink(path: Path, *, since: int) -> Sink:
    """Append to ``log.jsonl``, from which steps after ``since`` are taken: they will be run again."""
    kept = [row for row in read_log(path) if row.get("step", 0) <= since]
    write_bytes(path, b"".join(json.dumps(row).encode() + b"\n" for row in kept))
    return _JsonLines(path)


class _Mlflow:
    def __init__(self, uri: str, folder: Path, recipe: Recipe) -> None:
        try:
            import mlflow
        except ImportError as error:
            raise UsageError("--mlflow: MLflow is not installed; pip install 'hmtools[mlflow]'") from error
        self._mlflow, self._known, self._folder = mlflow, 0, folder
        try:
            self._begin(uri, recipe)
        except mlflow.exceptions.MlflowException as error:
            raise UsageError(f"--mlflow {uri}: MLflow refuses it: {one_line(error)}") from error

    def _begin(self, uri: str, recipe: Recipe) -> None:
        mlflow, folder = self._mlflow, self._folder
        mlflow.set_tracking_uri(uri)
        if uri.startswith(_SQLITE) and mlflow.get_experiment_by_name(recipe.name) is None:
            # Else artifacts of all runs would lie wherever the command was started.
            beside = Path(uri.removeprefix(_SQLITE)).absolute().with_name("mlartifacts")
            mlflow.create_experiment(recipe.name, artifact_location=beside.as_uri())
        mlflow.set_experiment(recipe.name)
        known = folder / "mlflow.json"  # so that a resumed run goes on under its id
        run_id = json.loads(known.read_text())["run_id"] if known.is_file() else None
        run = mlflow.start_run(run_id=run_id, run_name=folder.name)
        if run_id is None:
            write_json(known, {"run_id": run.info.run_id, "uri": uri})
            mlflow.log_params(dict(_flat(recipe_json(recipe))))
        else:  # MLflow takes nothing back, and steps that are run again give the same numbers
            history = mlflow.MlflowClient().get_metric_history(run_id, "loss")
            self._known = max((metric.step for metric in history), default=0)

    def write(self, step: int, scalars: Scalars) -> None:
        # A validation may be made up for after a resume, when the step itself is known.
        if step > self._known or "loss" not in scalars:
            with self._failing():
                self._mlflow.log_metrics(dict(scalars), step=step)

    def close(self) -> None:
        with self._failing():
            for name in ("recipe.json", "best.safetensors", "best.json", "final.safetensors", "final.json"):
                if (self._folder / name).is_file():
                    self._mlflow.log_artifact(str(self._folder / name))
            self._mlflow.end_run()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """MLflow's errors, of which a lost server is one, as those that sinks may have."""
        try:
            yield
        except self._mlflow.exceptions.MlflowException as error:
            raise RuntimeError(one_line(error)) from error


def mlflow_sink(uri: str, folder: Path, recipe: Recipe) -> Sink:
    """Log to MLflow: the recipe as parameters, numbers as metrics, best and last weights as artifacts.

    Args:
        uri: of the tracking server, or ``sqlite:///FILE``.
        folder: of the run.
        recipe: of the run.

    Raises:
        UsageError: if MLflow is not installed, or does not take the URI.
    """
    return _Mlflow(uri, folder, recipe)


def _flat(values: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names -> what MLflow takes as a parameter; lists of sets are shortened to their names."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _flat(value, f"{name}.{key}" if name else key)
    elif isinstance(values, list) and values and isinstance(values[0], dict):
        yield name, " ".join(f"{row.get('dataset')}/{row.get('split')}" for row in values)
    else:
        yield name, values


class _TensorBoard:
    def __init__(self, folder: Path, since: int) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=since + 1)

    def write(self, step: int, scalars: Scalars) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


def tensorboard_sink(folder: Path, *, since: int) -> Sink:
    """Write TensorBoard events; those of steps after ``since`` are purged."""
    return _TensorBoard(folder, since)
