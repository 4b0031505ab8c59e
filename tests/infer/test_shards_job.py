from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from hmtools.bench.predicted_on import CLOSING
from hmtools.core.atomic import file_sha256
from hmtools.core.errors import CheckpointError, UsageError
from hmtools.core.settings import Settings, load_settings
from hmtools.engine.job import Job, Outcome
from hmtools.engine.local import run_local
from hmtools.humandata.predictions import iter_predictions, prediction_facts, prediction_files
from hmtools.infer import shards_job
from hmtools.infer.model import Model
from hmtools.infer.shards_job import InferTask, box_ratio_of, infer_job, open_model, own_gpu
from hmtools.infer.shards_run import infer_tasks
from hmtools.shards.reader import Shards
from tests.bench.testset_shards import TestSets


@pytest.fixture
def shards(test_sets: TestSets) -> Shards:
    """3DPW, two parts of three and two people."""
    return test_sets["pw3d"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"runs_root": tmp_path / "runs", "body_models": tmp_path / "none"})


@pytest.fixture
def task(shards: Shards, tiny: Path, settings: Settings) -> InferTask:
    (task,) = infer_tasks(tiny, [shards.path], batch=2, settings=settings)
    return task


def run(job: Job) -> Outcome:
    return run_local(job, workers=0, progress=False)


def test_every_part_becomes_a_table_and_the_last_file_says_so(task: InferTask, shards: Shards) -> None:
    job = infer_job(task, command="again")
    outcome = run(job)
    assert (outcome.ok, outcome.count("records")) == (True, 5)
    folder = task.out / "predictions"
    assert [path.name for path in prediction_files(task.out)] == [
        "pw3d-test-u00000-000.parquet",
        "pw3d-test-u00001-000.parquet",
    ]
    found = [key for part in iter_predictions(folder, ["key"]) for key in part["key"]]
    assert found == [shards.row(row)["key"] for row in range(len(shards))]
    closing = json.loads((task.out / CLOSING).read_text())
    assert {name: closing[name] for name in ("people", "predicted", "without", "not_finite", "standin")} == {
        "people": 5, "predicted": 5, "without": {}, "not_finite": 0, "standin": True,
    }  # fmt: skip
    assert (closing["box_ratio"], closing["box_ratio_from"]) == (1.2, "protocol smplerx@1 of 3DPW")
    for file in closing["files"]:
        assert file_sha256(task.out / file["name"]) == file["sha256"]
    facts = prediction_facts(folder)
    assert (facts["model"], facts["standin"]) == ("tiny", True)
    assert (facts["checkpoint_sha256"], facts["body_sha256"]) == (
        closing["checkpoint_sha256"], closing["body_sha256"],
    )  # fmt: skip
    assert (facts["precision"], facts["box_ratio"]) == ("fp32", 1.2)
    assert set(facts["versions"]) == {"hmtools", "torch", "python"}


def test_a_unit_that_failed_is_all_that_runs_again(
    task: InferTask, shards: Shards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "shards"
    shutil.copytree(shards.path, copy)
    task = dataclasses.replace(task, shards=copy, vertices=True)
    tar = copy / "pw3d-test-u00001-000.tar"
    whole = tar.read_bytes()
    record = Shards(copy).row(3)
    start = record["offset"]
    tar.write_bytes(whole[:start] + bytes(record["nbytes"]) + whole[start + record["nbytes"] :])
    outcome = run(infer_job(task))
    assert list(outcome.failed) == ["u00001"]
    assert record["key"] in outcome.failed["u00001"]
    assert not (task.out / CLOSING).exists()
    tar.write_bytes(whole)
    monkeypatch.setattr(shards_job, "_THREADS", 1)
    again = run(infer_job(task))
    assert (again.ok, again.skipped) == (True, 1)
    closing = json.loads((task.out / CLOSING).read_text())
    assert len([file for file in closing["files"] if file["name"].endswith(".mesh.arrow")]) == 2
    assert prediction_files(task.out)[0].with_name("pw3d-test-u00000-000.mesh.arrow").is_file()


def test_batch_changes_nothing_and_other_weights_are_refused(task: InferTask, tmp_path: Path) -> None:
    assert run(infer_job(task)).ok
    same = dataclasses.replace(task, batch=3, gpu=True)
    assert run(infer_job(same)).skipped == 2
    other = dataclasses.replace(task, checkpoint_sha256="0" * 64)
    with pytest.raises(UsageError, match=r"made with other inputs.*checkpoint_sha256.*--overwrite"):
        run(infer_job(other))
    with pytest.raises(CheckpointError, match="changed since the job began: checkpoint_sha256 was 0000"):
        open_model(other)


def test_people_who_cannot_be_predicted_are_counted(
    task: InferTask, shards: Shards, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [
        dataclasses.replace(sample, image=None) if number == 1 else sample
        for number, sample in enumerate(shards)
    ]
    monkeypatch.setattr(shards_job, "samples_of", lambda shards, rows, **_: (samples[row] for row in rows))
    monkeypatch.setattr(shards_job, "with_body", lambda *_, **__: model)
    assert run(infer_job(task)).ok
    closing = json.loads((task.out / CLOSING).read_text())
    key = shards.row(1)["key"]
    assert (closing["people"], closing["predicted"], closing["without"]) == (5, 4, {"no_image": 1})
    assert closing["without_examples"] == [{"key": key, "reason": "no_image"}]


def test_the_job_goes_to_other_processes(task: InferTask) -> None:
    job = infer_job(dataclasses.replace(task, gpu=True))
    assert job.resources == {"gpu": 1, "cpu": 4}
    assert infer_job(task).resources == {"cpu": 1}
    fn, setup, finalise = pickle.loads(pickle.dumps((job.fn, job.setup, job.finalise)))
    assert fn.args == setup.args == finalise.args[:1]
    assert "/" not in json.dumps(job.fingerprint)  # no location
    assert not {"batch", "gpu"} & job.fingerprint.keys()


@pytest.mark.slow
def test_worker_processes_write_the_same(task: InferTask, tmp_path: Path) -> None:
    assert run(infer_job(task)).ok
    apart = dataclasses.replace(task, out=tmp_path / "apart", batch=5)
    assert run_local(infer_job(apart), workers=1, progress=False).ok
    for one, other in zip(iter_predictions(task.out), iter_predictions(apart.out), strict=True):
        assert list(one["key"]) == list(other["key"])
        np.testing.assert_allclose(one["joints3d"], other["joints3d"], rtol=1e-4, atol=1e-4)


def test_boxes_are_padded_as_the_protocol_or_the_dataset_says(test_sets: TestSets) -> None:
    manifest = test_sets["pw3d"].manifest
    cases = {
        ("egobody_egocentric", "test"): (1.2 * 0.833, "protocol smplerx@1 of EgoBody"),
        ("ubody", "intra_train"): (1.25, "dataset ubody"),
        ("mscoco", "train2017"): (1.2, "dataset mscoco"),
        ("mine", "train"): (1.2, "default of all datasets"),
    }
    for (dataset, split), wanted in cases.items():
        ratio, why = box_ratio_of(dataclasses.replace(manifest, dataset=dataset, split=split))
        assert why == wanted[1]
        assert ratio == pytest.approx(wanted[0])


def test_workers_share_out_the_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    held = []
    for wanted in ("cuda:0", "cuda:1", f"cuda:{os.getpid() % 2}"):
        monkeypatch.setattr(shards_job, "_LOCKS", {})  # as another process would start
        assert own_gpu("job") == own_gpu("job") == wanted
        held.append(shards_job._LOCKS["job"][0])
    assert own_gpu("another job") == "cuda:0"
    os.close(held[0])  # its worker died
    monkeypatch.setattr(shards_job, "_LOCKS", {})
    assert own_gpu("job") == "cuda:0"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert own_gpu("yet another") == "cuda:0"
