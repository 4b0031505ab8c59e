"""The log of a run: every step once, also after a resume; sinks that fail are dropped."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hmtools.core.errors import UsageError
from hmtools.train.log import Scalars, TrainLog, jsonl_sink, mlflow_sink, read_log, tensorboard_sink
from hmtools.train.recipe import write_recipe
from tests.train.toy_recipe import toy_recipe


def write(path: Path, steps: range, *, since: int) -> None:
    log = TrainLog([jsonl_sink(path, since=since)])
    for step in steps:
        log.write(step, {"loss": 10.0 / step})
    log.close()


def test_every_step_is_there_once_after_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, range(1, 8), since=0)
    with path.open("a") as file:
        file.write('{"step": 8, "lo')  # killed in the middle of a line
    write(path, range(6, 10), since=5)
    assert [row["step"] for row in read_log(path)] == list(range(1, 10))
    assert read_log(path)[5]["loss"] == pytest.approx(10 / 6)


def test_a_new_run_has_no_log(tmp_path: Path) -> None:
    assert read_log(tmp_path / "log.jsonl") == []


def scalars(data: bytes) -> list[tuple[str, int, float]]:
    """Records of a TensorBoard file: length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found, start = [], 0
    while start < len(data):
        (length,) = struct.unpack_from("<Q", data, start)
        event = Event.FromString(data[start + 12 : start + 12 + length])
        found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
        start += length + 16
    return found


def test_tensorboard_files_hold_the_numbers(tmp_path: Path) -> None:
    log = TrainLog([tensorboard_sink(tmp_path, since=0)])
    log.write(1, {"loss": 0.5, "lr": 1e-3})
    log.close()
    (events,) = tmp_path.iterdir()
    assert scalars(events.read_bytes()) == [("loss", 1, 0.5), ("lr", 1, pytest.approx(1e-3))]


def test_a_sink_that_fails_is_dropped_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Full:
        def write(self, step: int, scalars: Scalars) -> None:
            raise OSError("no space left")

        def close(self) -> None:
            raise AssertionError("dropped sinks are not closed")

    path = tmp_path / "log.jsonl"
    log = TrainLog([Full(), jsonl_sink(path, since=0)])
    log.write(1, {"loss": 1.0})
    log.write(2, {"loss": 2.0})
    log.close()
    assert [row["step"] for row in read_log(path)] == [1, 2]
    assert caplog.text.count("no space left") == 1


class GoneError(Exception):
    pass


def fake_mlflow(monkeypatch: pytest.MonkeyPatch, *, lost: set[str]) -> None:
    """An MLflow whose server is lost for some calls."""

    def call(name: str) -> Callable[..., Any]:
        def answer(*_: Any, **__: Any) -> Any:
            if name in lost:
                raise GoneError(f"{name}: no answer")
            return SimpleNamespace(info=SimpleNamespace(run_id="1"))

        return answer

    names = ("set_tracking_uri", "set_experiment", "start_run", "log_params", "log_metrics", "log_artifact")
    module = SimpleNamespace(
        exceptions=SimpleNamespace(MlflowException=GoneError),
        **{name: call(name) for name in (*names, "end_run")},
    )
    monkeypatch.setitem(sys.modules, "mlflow", module)


def test_a_tracking_server_that_is_lost_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for lost, said in (("log_metrics", "no longer gets numbers"), ("end_run", "does not have everything")):
        fake_mlflow(monkeypatch, lost={lost})
        (tmp_path / lost).mkdir()
        log = TrainLog([mlflow_sink("http://lost", tmp_path / lost, toy_recipe())])
        log.write(1, {"loss": 1.0})
        log.close()
        assert f"{said}: GoneError: {lost}: no answer" in caplog.text


def test_a_tracking_uri_that_is_refused_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_mlflow(monkeypatch, lost={"set_experiment"})
    with pytest.raises(UsageError, match=r"--mlflow \./mlruns: MLflow refuses it: GoneError: set_experiment"):
        mlflow_sink("./mlruns", tmp_path, toy_recipe())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow and its database have warnings of their own
def test_mlflow_has_parameters_metrics_and_artifacts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    folder.mkdir()
    write_recipe(folder / "recipe.json", toy_recipe())
    uri = f"sqlite:///{tmp_path}/tracking.db"
    for steps in (range(1, 4), range(2, 6)):  # the second one goes on from a checkpoint after step 1
        log = TrainLog([mlflow_sink(uri, folder, toy_recipe())])
        for step in steps:
            log.write(step, {"loss": 1.0 / step})
        (folder / "final.safetensors").write_bytes(b"weights")
        log.close()
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
    assert run.info.status == "FINISHED"
    assert (run.data.params["optim.lr"], run.data.params["data.sets"]) == ("0.05", "mscoco/train2017")
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(n, 1.0 / n) for n in range(1, 6)]
    names = [artifact.path for artifact in client.list_artifacts(run.info.run_id)]
    assert names == ["final.safetensors", "recipe.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlartifacts", "run", "tracking.db"]
