"""Predictions of a converted split as a :class:`~hmtools.engine.job.Job`: a unit is a part of the shards.

::

    OUT/<dataset>/<split>/
      predictions/<part>.parquet   one per part of the shards, in the order of its rows
      predictions.json             written last: what predicted, how many people, who not and why
      .job/                        state; the same command again continues

Numbers depend on neither engine nor batch nor order. A worker process loads the network once and has a GPU of
its own: Ray and Slurm show each worker the one that is set aside for it; on one machine workers share out the
GPUs they see by locks (:func:`own_gpu`).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hmtools import __version__
from hmtools.bench.predicted_on import CLOSING, shards_sha256
from hmtools.bench.protocols.registry import all_protocols
from hmtools.bodies.assets import load_model as load_body
from hmtools.core.atomic import file_sha256, sweep, write_json
from hmtools.core.errors import CheckpointError
from hmtools.datasets.base import Dataset
from hmtools.datasets.registry import all_datasets
from hmtools.engine.job import Job, OutFile, Result, Unit
from hmtools.humandata.manifest import Manifest
from hmtools.humandata.prediction_meshes import prediction_mesh_path
from hmtools.humandata.predictions import PREDICTIONS, PredictionWriter
from hmtools.humandata.schema import SCHEMA_VERSION
from hmtools.infer.model import Model, with_body
from hmtools.infer.predict import Precision, predict, prediction_spec, samples_of, without_crop
from hmtools.shards.index import is_part
from hmtools.shards.reader import Sample, Shards

__all__ = [
    "InferTask",
    "box_ratio_of",
    "finalise",
    "infer_job",
    "infer_unit",
    "open_model",
    "own_gpu",
]

_EXAMPLES = 20
_THREADS = 4  # that decode for one GPU
_LOCKS: dict[str, tuple[int, str]] = {}  # job -> open lock and device; held until the process ends


@dataclass(frozen=True, slots=True, kw_only=True)
class InferTask:
    """What a split is predicted with; picklable, so that workers anywhere can do it.

    Attributes:
        shards: the split.
        out: folder of the job.
        weights: the file.
        name: of the model.
        checkpoint_sha256: what the weights must be.
        body: folder of the body models.
        body_sha256: what the neutral SMPL-X model must be.
        standin: it is the licence-free stand-in.
        box_ratio: padding of the records' boxes.
        precision: of the network's passes.
        batch: people at once; changes no numbers.
        vertices: write meshes beside the tables.
        gpu: every worker takes a GPU; else the CPU.
    """

    shards: Path
    out: Path
    weights: Path
    name: str
    checkpoint_sha256: str
    body: Path
    body_sha256: str
    standin: bool
    box_ratio: float
    precision: Precision
    batch: int
    vertices: bool
    gpu: bool


def box_ratio_of(manifest: Manifest) -> tuple[float, str]:
    """Padding of the boxes of a split, and where it is from.

    That of the split's default protocol where it has one, because published figures are of those crops; else
    the converter's, which stored crops leave room for and training uses.
    """
    for kind in all_protocols():
        own = kind.default and kind.dataset == manifest.dataset and manifest.split in kind.splits
        if own and kind.box_ratio is not None:
            return kind.box_ratio, f"protocol {kind.id} of {kind.names[0]}"
    known = all_datasets().get(manifest.dataset)
    if known is not None:
        return known.box_ratio, f"dataset {manifest.dataset}"
    return Dataset.box_ratio, "default of all datasets"


def infer_job(task: InferTask, *, command: str = "") -> Job:
    """The job that predicts a split.

    Args:
        task: what to predict, and with what.
        command: that continues it.
    """
    manifest = Shards(task.shards).manifest
    ratio, ratio_from = box_ratio_of(manifest)
    stated = {
        "model": task.name,
        "checkpoint_sha256": task.checkpoint_sha256,
        "body_sha256": task.body_sha256,
        "standin": task.standin,
        "shards_sha256": shards_sha256(manifest),
        "box_ratio": task.box_ratio,
        "precision": task.precision,
        "vertices": task.vertices,
        "schema_version": SCHEMA_VERSION,
    }
    about = {
        "dataset": manifest.dataset,
        "split": manifest.split,
        "box_ratio_from": ratio_from if task.box_ratio == ratio else "asked for",
        "weights": str(task.weights),
        "shards": str(task.shards),
        "command": command,
    }
    return Job(
        name=f"infer {task.name} {manifest.dataset}/{manifest.split}",
        out=task.out,
        units=list(_units(manifest)),
        fn=partial(infer_unit, task),
        setup=partial(open_model, task),
        finalise=partial(finalise, task, {**about, **stated}),
        fingerprint={**stated, "hmtools": __version__},
        owns=(f"{PREDICTIONS}/*.parquet", f"{PREDICTIONS}/*.mesh.arrow", CLOSING),
        command=command,
        resources={"gpu": 1, "cpu": _THREADS} if task.gpu else {"cpu": 1},
    )


def _units(manifest: Manifest) -> Iterator[Unit]:
    """A unit for every part, whose payload is its name and its rows of the index."""
    rows = {entry["name"]: int(entry["rows"]) for entry in manifest.files if is_part(entry["name"])}
    start = 0
    for number, name in enumerate(sorted(rows)):
        stop = start + rows[name]
        part = name.removesuffix(".arrow")
        yield Unit(index=number, name=part, payload=(part, start, stop), expected=stop - start)
        start = stop


def open_model(task: InferTask) -> Model:
    """Load the network of a task; once in every process that does units.

    Raises:
        CheckpointError: if weights or body are not those that the job was made with.
    """
    body = load_body("smplx", "neutral", roots=(task.body,))
    device = own_gpu(str(task.out)) if task.gpu else "cpu"
    model = with_body(task.weights, body, device=device, precision=task.precision, name=task.name)
    wanted = {"checkpoint_sha256": task.checkpoint_sha256, "body_sha256": task.body_sha256}
    for name, sha256 in wanted.items():
        if model.facts[name] != sha256:
            raise CheckpointError(
                f"{task.weights}: changed since the job began: {name} was {sha256[:12]}, is "
                f"{str(model.facts[name])[:12]}; start again with --overwrite"
            )
    return model


def own_gpu(job: str) -> str:
    """The GPU of this process, among those it sees.

    Where it sees one, that is it: schedulers hide the others. Else the first that no other worker of the same
    job on this machine has locked; the lock ends with the process, however that ends. More workers than GPUs
    share them by process id.

    Args:
        job: names the job, such as its folder.
    """
    import torch

    count = torch.cuda.device_count()
    if count <= 1:
        return "cuda:0"
    if job not in _LOCKS:
        _LOCKS[job] = next(_free(job, count), (-1, f"cuda:{os.getpid() % count}"))
    return _LOCKS[job][1]


def _free(job: str, count: int) -> Iterator[tuple[int, str]]:
    import fcntl

    digest = hashlib.sha256(job.encode()).hexdigest()[:16]
    for number in range(count):
        path = Path(tempfile.gettempdir(), f"hmtools-{os.getuid()}-{digest}-gpu{number}.lock")
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        yield handle, f"cuda:{number}"


def infer_unit(task: InferTask, unit: Unit, model: Model) -> Result:
    """Predict the people of one part and write their table.

    Raises:
        ImageError: for an image of the shards that does not decode; the unit fails, the others do not.
    """
    part, start, stop = unit.payload
    path = task.out / PREDICTIONS / f"{part}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    without = _Without()
    infinite = 0
    samples = samples_of(Shards(task.shards), range(start, stop), threads=_THREADS if task.gpu else 1)
    found = predict(
        model.network, without.noting(samples), model.device, ratio=task.box_ratio, batch=task.batch,
        precision=task.precision, vertices=task.vertices,
    )  # fmt: skip
    spec = prediction_spec(vertices=model.vertex_count if task.vertices else None)
    facts = {**model.facts, "precision": task.precision, "box_ratio": task.box_ratio}
    with PredictionWriter(path, spec, facts) as writer:
        for row in found:
            infinite += not all(np.isfinite(row[name]).all() for name in row if name.startswith("smplx_"))
            writer.write([row])
    files = [_written(task.out, path, writer.rows, writer.sha256)]
    if task.vertices:
        mesh = prediction_mesh_path(path)
        files.append(_written(task.out, mesh, writer.rows, file_sha256(mesh)))
    return Result(
        unit=unit.id,
        files=tuple(files),
        counts={"records": writer.rows, "rejected": stop - start - writer.rows, "not_finite": infinite},
        data={"without": dict(without.reasons), "examples": without.examples},
    )


class _Without:
    """Counts the people who get no prediction, by reason."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()
        self.examples: list[dict[str, str]] = []

    def noting(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        for sample in samples:
            if reason := without_crop(sample):
                self.reasons[reason] += 1
                if len(self.examples) < _EXAMPLES:
                    self.examples.append({"key": str(sample.record["key"]), "reason": reason})
            yield sample


def _written(out: Path, path: Path, rows: int, sha256: str) -> OutFile:
    name = path.relative_to(out).as_posix()
    return OutFile(name=name, sha256=sha256, nbytes=path.stat().st_size, rows=rows)


def finalise(task: InferTask, stated: Mapping[str, Any], results: Sequence[Result]) -> None:
    """Write ``predictions.json``, which says that the split is done and what is in it."""
    sweep(task.out / PREDICTIONS)  # what killed workers left there
    without: Counter[str] = Counter()
    for result in results:
        without.update(result.data["without"])
    total = {name: sum(result.counts[name] for result in results) for name in ("records", "rejected")}
    write_json(
        task.out / CLOSING,
        {
            **stated,
            "people": sum(total.values()),
            "predicted": total["records"],
            "without": dict(without),
            "without_examples": [one for result in results for one in result.data["examples"]][:_EXAMPLES],
            "not_finite": sum(result.counts["not_finite"] for result in results),
            "hmtools": __version__,
            "files": [
                {"name": file.name, "sha256": file.sha256, "nbytes": file.nbytes, "rows": file.rows}
                for result in results
                for file in result.files
            ],
        },
    )
