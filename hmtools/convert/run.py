"""``convert``: from a dataset's name and its download to finished splits."""

from __future__ import annotations

import hashlib
import logging
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hmtools.convert.bodies import choose_bodies, is_miniature
from hmtools.convert.boxes import boxes_error, lacks_boxes
from hmtools.convert.finalise import finalise_split, package_versions
from hmtools.convert.report import SplitReport
from hmtools.convert.unit import ConvertTask, convert_unit
from hmtools.core.errors import LayoutError, UsageError, nearest
from hmtools.core.settings import Settings, load_settings
from hmtools.datasets.base import Dataset
from hmtools.datasets.registry import all_datasets, get_dataset
from hmtools.engine.job import Job, Unit
from hmtools.engine.launch import EngineChoice, engine_session, run_job
from hmtools.humandata.schema import SCHEMA_VERSION
from hmtools.synth.truth import TRUTH

__all__ = [
    "IMAGE_POLICIES",
    "Plan",
    "SplitReport",
    "convert",
    "make_plans",
    "resolve_root",
    "run_plans",
    "wanted_splits",
]

log = logging.getLogger(__name__)

IMAGE_POLICIES = ("crop", "full", "none")
OWNED = ("*-u*-???.*", "index.arrow", "tracks.arrow", "manifest.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One split, ready to run: its task, its units and the options that decide its bytes."""

    task: ConvertTask
    units: Sequence[Unit]
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """``dataset/split``."""
        return f"{self.task.dataset.stored_as}/{self.task.split}"


def resolve_root(dataset: Dataset, root: Path | None, settings: Settings) -> Path:
    """The download of a set: ``root``, else the first of its usual folder names below ``raw_root``.

    Raises:
        LayoutError: if nothing is there, with the tree that is wanted.
    """
    if root is not None:
        return root.resolve()
    if (found := dataset.folder_below(settings.raw_root)) is not None:
        return found
    names = dataset.folders or (dataset.name,)
    raise LayoutError(
        f"{dataset.title}: no folder {' or '.join(names)} below raw_root = {settings.raw_root} "
        f"({settings.origin('raw_root')}); give --root DIR, or set raw_root\n\n{dataset.layout_help()}"
    )


def make_plans(
    name: str,
    *,
    root: Path | None = None,
    out: Path | None = None,
    splits: Sequence[str] = (),
    options: Mapping[str, str] | None = None,
    images: str | None = None,
    every: int | None = None,
    limit: int | None = None,
    only: Sequence[str] = (),
    strict: bool = False,
    allow_standin: bool = False,
    settings: Settings | None = None,
) -> list[Plan]:
    """Check the layout and plan every split; nothing is written.

    Args and errors: as :func:`convert`.
    """
    settings = settings or load_settings()
    dataset = get_dataset(name)(options)
    if dataset.stored_as != dataset.name and dataset.stored_as in all_datasets():
        raise UsageError(
            f"--name {dataset.stored_as}: that is the name of an official dataset; choose another"
        )
    where = resolve_root(dataset, root, settings)
    if is_miniature(where) and not (where / TRUTH).is_file():
        raise LayoutError(f"{where}: an unfinished miniature; delete it and run `hmtools synth` again")
    if images is not None and images not in IMAGE_POLICIES:
        raise UsageError(f"--images: expected {' | '.join(IMAGE_POLICIES)}, found {images!r}")
    for number, flag in ((every, "--every"), (limit, "--limit")):
        if number is not None and number < 1:
            raise UsageError(f"{flag}: expected 1 or more, found {number}")
    chosen = _splits(dataset, where, splits)
    dataset.require(where, chosen)
    base = (out or settings.shards_root).resolve() / dataset.stored_as
    plans = []
    for split in chosen:
        role = dataset.role(split)
        interval = 1 if is_miniature(where) else dataset.every.get(role, 1)  # of a few none would be left
        task = ConvertTask(
            dataset=dataset,
            root=where,
            split=split,
            out=base / split,
            images=images or ("crop" if role == "train" else "full"),
            every=every or interval,
            only=tuple(only),
            strict=strict,
            bodies=choose_bodies(
                where, dataset.spec(where, split).bodies, settings, allow_standin=allow_standin
            ),
        )
        plans.append(_plan(task, limit))
    return plans


def wanted_splits(dataset: Dataset, wanted: Sequence[str]) -> list[str]:
    """Official names of the wanted splits or roles; every split of the set when none is named.

    Raises:
        UsageError: for a name that is neither.
    """
    chosen: list[str] = [] if wanted else list(dataset.splits)
    for name in wanted:
        matches = [s for s, role in dataset.splits.items() if name in (s, role)]
        if not matches:
            known = ", ".join(f"{s} ({role})" for s, role in dataset.splits.items())
            raise UsageError(
                f"{dataset.name} has no split {name!r} (known: {known}){nearest(name, dataset.splits)}"
            )
        chosen += [match for match in matches if match not in chosen]
    return chosen


def _splits(dataset: Dataset, root: Path, wanted: Sequence[str]) -> list[str]:
    if wanted:
        return wanted_splits(dataset, wanted)
    # nothing named: what is there; if nothing is, the layout check names what every split misses
    return dataset.found_splits(root) or list(dataset.splits)


def _plan(task: ConvertTask, limit: int | None) -> Plan:
    units = task.dataset.plan(task.root, task.split)
    if task.only:
        units = [u for u in units if not u.sequences or any(_matches(s, task.only) for s in u.sequences)]
        if not units:
            raise UsageError(f"--only {' '.join(task.only)}: no sequence of {task.split} matches")
    if limit is not None:
        units, take = _limited(units, limit)
        task = replace(task, take=take)
    dataset = task.dataset
    options = {
        "images": task.images,
        "every": task.every,
        "limit": limit,
        "only": list(task.only),
        **{name: value for name, value in dataset.chosen.items() if not dataset.options[name].location},
    }
    return Plan(task=task, units=units, options=options)


def _matches(sequence: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(sequence, pattern) for pattern in patterns)


def _limited(units: Sequence[Unit], limit: int) -> tuple[list[Unit], dict[int, int]]:
    """The first units that cover ``limit`` images, and how many the last of them may take."""
    kept: list[Unit] = []
    for unit in units:
        if limit <= 0:
            break
        size = unit.images or unit.expected
        kept.append(unit)
        if size > limit:
            share = unit.expected * limit // size
            kept[-1] = replace(unit, images=limit, expected=share)
            return kept, {unit.index: limit}
        limit -= size
    return kept, {}


def _fingerprint(plan: Plan) -> dict[str, Any]:
    """What decides the bytes of a split; never the engine, the workers or a location."""
    task = plan.task
    inputs = {}
    for path in task.dataset.inputs(task.root, task.split):
        stat = path.stat()
        name = path.relative_to(task.root).as_posix() if path.is_relative_to(task.root) else path.name
        inputs[name] = [stat.st_size, stat.st_mtime_ns]
    return {
        "dataset": task.dataset.stored_as,
        "split": task.split,
        "options": plan.options,
        # The key is what a user reads when it differs, and starting again is not what they need then.
        "body_model (finished shards take new models with `hmtools derive`)": _body_words(task),
        "inputs": inputs,
        "plan": hashlib.sha256(b"".join(_canonical(list(plan.units)))).hexdigest(),
        "versions": {**package_versions(), "schema": SCHEMA_VERSION},
    }


def _body_words(task: ConvertTask) -> str:
    """One value, so that the message about another one can be read."""
    facts = task.bodies.facts if task.bodies else None
    return "none" if facts is None else f"{facts['family']} {facts['sha256'][:16]}"


def _canonical(value: Any) -> Iterator[bytes]:
    """Bytes that depend on the content of a plan alone (those of a pickle also depend on object identity)."""
    if is_dataclass(value):
        yield type(value).__name__.encode()
        value = [getattr(value, item.name) for item in fields(value)]
    if isinstance(value, np.ndarray):
        yield f"{value.dtype.str}{value.shape}".encode() + value.tobytes()
    elif isinstance(value, dict):
        yield from _canonical(sorted(value.items()))
    elif isinstance(value, (list, tuple)):
        yield f"[{len(value)}".encode()
        for item in value:
            yield from _canonical(item)
    else:
        yield f"{type(value).__name__}:{value!r};".encode()


def convert(
    name: str,
    *,
    root: Path | None = None,
    out: Path | None = None,
    splits: Sequence[str] = (),
    options: Mapping[str, str] | None = None,
    images: str | None = None,
    every: int | None = None,
    limit: int | None = None,
    only: Sequence[str] = (),
    strict: bool = False,
    allow_standin: bool = False,
    workers: int | None = None,
    overwrite: bool = False,
    break_lock: bool = False,
    progress: bool = True,
    settings: Settings | None = None,
    wait: bool = False,
    command: str | None = None,
    started: Callable[[Plan], None] | None = None,
) -> list[SplitReport]:
    """Convert a dataset from its official download into shards: ``OUT/<dataset>/<split>/``.

    Running it again continues: finished units are kept, failed ones are tried again.

    Args:
        name: of the dataset, see ``hmtools datasets``.
        root: the download; default: its usual folder below the setting ``raw_root``.
        out: where shards go; default: the setting ``shards_root``.
        splits: official split names or roles (train, val, test); default: every split that is there.
        options: the set's own options.
        images: ``crop``, ``full`` or ``none``; default: crop for train, full for val and test.
        every: keep records whose ``source_index`` is a multiple of it; default: the set's own.
        limit: at most so many images of each split.
        only: sequences (names or globs) to convert.
        strict: the first defect fails its unit.
        allow_standin: derive joints with the stand-in body where it is all that ``body_models`` holds.
        workers: units at once; default: the setting ``workers``, else all that fits; 0: inline, to debug.
        overwrite: remove what is there and start over.
        break_lock: take the job even from a writer that seems alive.
        progress: show progress.
        settings: resolved settings, which also say the engine; default: loaded.
        wait: with Slurm, follow the submitted jobs to their end.
        command: what ``hmtools jobs`` shows as the command to continue with.
        started: called with each plan before it runs.

    Returns:
        One report per split, in order; a stopped run (signal) ends the list.

    Raises:
        LayoutError: listing every missing path, before any work.
        UsageError: for a wrong dataset, split or option, or options that differ from a started conversion.
        LockedError: if another writer has the split.
        AssetError: if splits were named, or are all there is, that cannot be cropped without body models.
    """
    settings = settings or load_settings()
    plans = make_plans(
        name, root=root, out=out, splits=splits, options=options, images=images, every=every, limit=limit,
        only=only, strict=strict, allow_standin=allow_standin, settings=settings,
    )  # fmt: skip
    if blocked := [plan.task for plan in plans if lacks_boxes(plan.task)]:
        error = boxes_error(blocked, settings)
        if splits or len(blocked) == len(plans):
            raise error
        log.warning("left out: %s", error)
        plans = [plan for plan in plans if plan.task not in blocked]
    return list(
        run_plans(
            plans, workers=workers, overwrite=overwrite, break_lock=break_lock, progress=progress,
            settings=settings, wait=wait, command=command, started=started,
        )
    )  # fmt: skip


def run_plans(
    plans: Sequence[Plan],
    *,
    settings: Settings,
    workers: int | None = None,
    overwrite: bool = False,
    break_lock: bool = False,
    progress: bool = True,
    wait: bool = False,
    command: str | None = None,
    started: Callable[[Plan], None] | None = None,
) -> Iterator[SplitReport]:
    """Run plans one after the other; arguments, results and errors are those of :func:`convert`.

    Splits that cannot be cropped without body models are its last error, when the others are done.
    """
    engine = EngineChoice.of(settings, workers=workers, wait=wait)
    command = command or shlex.join(["hmtools", *sys.argv[1:]])
    blocked = [plan.task for plan in plans if lacks_boxes(plan.task)]
    if len(blocked) == len(plans) and blocked:
        raise boxes_error(blocked, settings)
    with engine_session(engine):
        for plan in plans:
            if plan.task in blocked:
                continue
            if started is not None:
                started(plan)
            outcome = run_job(
                _job(plan, command), engine, overwrite=overwrite, break_lock=break_lock, progress=progress
            )
            yield SplitReport(plan=plan, outcome=outcome)
            if outcome.interrupted:
                return
    if blocked:
        raise boxes_error(blocked, settings)


def _job(plan: Plan, command: str) -> Job:
    return Job(
        name=f"convert {plan.name}",
        out=plan.task.out,
        units=plan.units,
        fn=partial(convert_unit, plan.task),
        finalise=partial(finalise_split, plan.task, plan.options, command),
        fingerprint=_fingerprint(plan),
        owns=OWNED,
        command=command,
    )
