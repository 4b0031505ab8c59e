"""``derive``: fill what needs body models in splits that were converted without them.

A job like any other: one unit is one part table, and its new version lies in ``.derive-<hash>/`` beside the
parts until all are done; tars are not touched. Only ``finalise`` changes the split, and it takes the manifest
away first: a split that is half one and half the other does not look finished, and running the command again
ends it.
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from hmtools.convert.bodies import Bodies, body_facts, deriver, merged_facts
from hmtools.convert.finalise import total_agreement
from hmtools.core.atomic import AtomicFile
from hmtools.core.errors import AssetError, LayoutError, SchemaError, UsageError
from hmtools.core.settings import Settings, load_settings
from hmtools.engine.job import Job, Outcome, OutFile, Result, Unit
from hmtools.engine.launch import EngineChoice, run_job
from hmtools.engine.lease import acquire
from hmtools.engine.slurm_watch import require_closed
from hmtools.humandata.agreement import agreement
from hmtools.humandata.checks import present_arrays
from hmtools.humandata.manifest import MANIFEST, Manifest, file_facts, read_manifest, write_manifest
from hmtools.humandata.record import Record
from hmtools.humandata.schema import BATCH_ROWS, RecordSpec, record_schema
from hmtools.humandata.table import normalise, to_batch
from hmtools.shards.index import INDEX, TRACKS, part_tables, write_index
from hmtools.shards.rows import RowFile
from hmtools.shards.sidecar import MESH_SUFFIX, open_meshes

__all__ = ["derive_split"]

_WORK = ".derive-"  # and a hash of what is derived from what: folder of the job, gone when it is done


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """What every unit has in common; picklable."""

    folder: Path
    work: Path
    spec: RecordSpec
    bodies: Bodies


def derive_split(
    folder: Path,
    *,
    workers: int | None = None,
    allow_standin: bool = False,
    progress: bool = True,
    settings: Settings | None = None,
) -> Outcome:
    """Fill the derived columns of one finished split.

    Args:
        folder: ``OUT/<dataset>/<split>``.
        workers: processes; default: the setting ``workers``, else every core.
        allow_standin: derive real data with the stand-in body, when ``body_models`` holds no other.
        progress: show progress.
        settings: resolved settings; default: loaded.

    Returns:
        How the job ended; ``count("filled")`` is the number of cells that were null and are not any more.

    Raises:
        LayoutError: if the split is not finished.
        UsageError: if the set has no bodies, or the split was derived with other body models.
        AssetError: if no model file of its families is there.
        LockedError: if another writer has the split.
    """
    settings = settings or load_settings()
    folder = folder.resolve()
    with _held(folder):
        return _derive(folder, settings, workers, allow_standin=allow_standin, progress=progress)


def _held(folder: Path) -> AbstractContextManager[object]:
    """The lease of the conversion that made the split: it must not begin anew meanwhile."""
    state = folder / ".job"
    if not state.is_dir():
        return nullcontext()
    require_closed(state)
    return acquire(state)


def _derive(
    folder: Path, settings: Settings, workers: int | None, *, allow_standin: bool, progress: bool
) -> Outcome:
    manifest = _manifest(folder)
    _require_meshes(folder, manifest)
    bodies = _bodies(folder, manifest, settings, allow_standin=allow_standin)
    work = folder / f"{_WORK}{_digest(manifest, bodies)}"
    task = _Task(folder=folder, work=work, spec=manifest.record_spec(), bodies=bodies)
    rows = {entry["name"]: entry["rows"] for entry in manifest.files}
    command = shlex.join(["hmtools", *sys.argv[1:]])
    job = Job(
        name=f"derive {manifest.dataset}/{manifest.split}",
        out=work,
        units=[
            Unit(index=i, name=part.name, payload=part.name, expected=rows.get(part.name, 0))
            for i, part in enumerate(part_tables(folder))
        ],
        fn=partial(_derive_part, task),
        finalise=partial(_finalise, task, manifest),
        owns=("*.arrow",),
        command=command,
    )
    # Waiting also on Slurm: the split is held meanwhile, and changed only when all is done.
    outcome = run_job(job, EngineChoice.of(settings, workers=workers, wait=True), progress=progress)
    if outcome.ok:
        for done in folder.glob(f"{_WORK}*"):  # with those of parts or models that are no more
            shutil.rmtree(done)
    return outcome


def _manifest(folder: Path) -> Manifest:
    if not (folder / MANIFEST).is_file():
        for kept in sorted(folder.glob(f"{_WORK}*/{MANIFEST}")):  # stopped while the split was being changed
            return read_manifest(kept.parent)
    return read_manifest(folder)


def _require_meshes(folder: Path, manifest: Manifest) -> None:
    """Joints of a mesh that is gone would stay null without a word."""
    for name in (entry["name"] for entry in manifest.files):
        if name.endswith(MESH_SUFFIX) and not (folder / name).is_file():
            raise SchemaError(f"{folder / name}: missing, but the manifest lists it; copy it again")


def _digest(manifest: Manifest, bodies: Bodies) -> str:
    listed = [f"{entry['name']} {entry['sha256']}" for entry in manifest.files]
    return hashlib.sha256("\n".join([*listed, str(bodies.facts)]).encode()).hexdigest()[:12]


def _bodies(folder: Path, manifest: Manifest, settings: Settings, *, allow_standin: bool) -> Bodies:
    families = manifest.spec["bodies"]
    if not families:
        raise UsageError(f"{folder}: {manifest.dataset} has no body parameters, so nothing follows from them")
    before = manifest.body_model
    root = settings.body_models
    if before is not None and before["standin"]:
        from hmtools.bodies.assets import standin_dir

        root = standin_dir()
    facts = body_facts(root, families)
    if facts is None:
        from hmtools.bodies.assets import load_model

        load_model(families[0], "neutral", roots=(root,))  # raises, with where to get it
        raise AssetError(f"{root}: no body model of {', '.join(families)}")
    merged = merged_facts(before, facts)
    if before is not None and merged is None:
        raise UsageError(
            f"{folder}: was derived with body models {before['sha256'][:12]}, those in {root} are "
            f"{facts['sha256'][:12]}; cells of two bodies do not mix. Point body_models "
            f"({settings.origin('body_models')}) at the first ones, or convert again with --overwrite"
        )
    if facts["standin"] and before is None and not allow_standin:
        raise UsageError(
            f"body_models = {root} ({settings.origin('body_models')}) holds the stand-in body, whose joints "
            "are not those of SMPL; point it at the licensed files, or say --allow-standin"
        )
    return Bodies(root, merged)


def _derive_part(task: _Task, unit: Unit) -> Result:
    rows = RowFile(task.folder / unit.payload)
    meshes = open_meshes(task.folder / unit.payload)
    derive = deriver(task.bodies)
    filled: Counter[str] = Counter()
    apart: dict[str, Counter[int]] = {}
    with (
        AtomicFile(task.work / unit.payload) as file,
        pa.ipc.new_file(file, record_schema(task.spec)) as table,
    ):
        for start in range(0, len(rows), BATCH_ROWS):
            records = [Record(**rows.row(i)) for i in range(start, min(start + BATCH_ROWS, len(rows)))]
            for row, record in enumerate(records, start):
                record.mesh = meshes.mesh(row) if meshes is not None else None
            before = Counter(name for record in records for name in present_arrays(record))
            derive.fill(records)
            filled += Counter(name for record in records for name in present_arrays(record)) - before
            table.write_batch(to_batch([normalise(r, task.spec) for r in records], task.spec))
            for record in records:
                for name, bins in agreement(record, task.spec).items():
                    apart.setdefault(name, Counter()).update(bins)
    written = OutFile(name=unit.payload, sha256=file.sha256, nbytes=file.size, rows=len(rows))
    return Result(
        unit=unit.id,
        files=(written,),
        counts={"records": len(rows), "filled": filled.total()},
        data={
            "needs": dict(derive.needs),
            "columns": sorted(filled),
            "agreement": {name: sorted(bins.items()) for name, bins in apart.items()},
        },
    )


def _finalise(task: _Task, manifest: Manifest, results: Sequence[Result]) -> None:
    work, folder = task.work, task.folder
    parts = [file.name for result in results for file in result.files]
    write_manifest(work, manifest)
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in parts:
        # A copy: the job's own output stays, so that a stop between two parts can be gone over again.
        with AtomicFile(folder / name) as file, (work / name).open("rb") as source:
            shutil.copyfileobj(source, file)
    facts = write_index(folder, [folder / name for name in parts], record_schema(task.spec))
    if facts.rows != manifest.counts["records"]:
        raise LayoutError(f"{folder}: manifest says {manifest.counts['records']} records, found {facts.rows}")
    from hmtools.bodies.derive import derived_columns

    needs = {f"{asset}: {why}" for result in results for asset, why in result.data["needs"].items()}
    columns = {name for result in results for name in result.data["columns"]}  # those that waited, too
    rewritten = {*parts, INDEX, TRACKS}
    write_manifest(
        folder,
        replace(
            manifest,
            body_model=task.bodies.facts,
            needs=sorted(needs),
            agreement=total_agreement(results),
            derived=sorted({*manifest.derived, *derived_columns(task.spec.bodies), *columns}),
            files=[
                {**entry, **file_facts(folder / entry["name"])} if entry["name"] in rewritten else entry
                for entry in manifest.files
            ],
        ),
    )
