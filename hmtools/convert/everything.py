"""``convert all``: every dataset whose download lies below one folder, each with what it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hmtools.convert.run import SplitReport, make_plans, run_plans, wanted_splits
from hmtools.core.errors import HmtoolsError, LayoutError, UsageError
from hmtools.core.settings import Settings, load_settings
from hmtools.datasets.base import Dataset, Source
from hmtools.datasets.registry import all_datasets
from hmtools.engine.launch import EngineChoice, engine_session

__all__ = ["FoundSet", "SetReport", "convert_all", "find_sets"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSet:
    """One dataset and what of it is there.

    Attributes:
        name: of the dataset.
        root: its folder, or None when there is none.
        splits: official names of the splits that are complete and wanted.
        missing: of the other wanted splits, the sources that are not there.
        error: why its folder could not be looked at.
    """

    name: str
    root: Path | None
    splits: Sequence[str] = ()
    missing: Mapping[str, Sequence[Source]] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReport:
    """How one set fared: what was found, a report per converted split, and why it stopped if it did."""

    found: FoundSet
    reports: Sequence[SplitReport] = ()
    error: str = ""

    @property
    def exit_code(self) -> int:
        """0 when all that was found is converted; what is missing is no failure."""
        return max([bool(self.error), *(report.exit_code for report in self.reports)])


def find_sets(raw: Path, splits: Sequence[str] = ()) -> list[FoundSet]:
    """Which datasets lie below ``raw`` under one of their usual folder names, by name.

    Args:
        raw: folder of downloads, one folder each.
        splits: roles (train, val, test); a set without any of them has nothing to convert.

    Raises:
        UsageError: for a split that is no role: official names differ from set to set.
    """
    if wrong := [name for name in splits if name not in ("train", "val", "test")]:
        raise UsageError(
            f"--split {wrong[0]}: `convert all` takes roles (train, val, test); official names differ from "
            "set to set"
        )
    return [_find(kind(), raw, splits) for kind in all_datasets().values() if kind.folders]


def _find(dataset: Dataset, raw: Path, roles: Sequence[str]) -> FoundSet:
    try:
        return _look(dataset, dataset.folder_below(raw), roles)
    except (HmtoolsError, OSError) as error:  # a folder that may not be read, say: the others can
        return FoundSet(name=dataset.name, root=raw, error=str(error))


def _look(dataset: Dataset, root: Path | None, roles: Sequence[str]) -> FoundSet:
    if root is None:
        return FoundSet(name=dataset.name, root=None)
    wanted = [
        split
        for split in wanted_splits(dataset, [role for role in roles if role in dataset.splits.values()])
        if not roles or dataset.role(split) in roles
    ]
    missing = {split: gaps for split in wanted if (gaps := dataset.missing(root, split))}
    return FoundSet(
        name=dataset.name,
        root=root,
        splits=[split for split in wanted if split not in missing],
        missing=missing,
    )


def convert_all(
    raw: Path | None = None,
    splits: Sequence[str] = (),
    *,
    settings: Settings | None = None,
    choices: Mapping[str, Any] | None = None,
    **running: Any,
) -> list[SetReport]:
    """Convert every dataset that lies below ``raw``; running it again continues.

    A set that fails does not keep the others from being converted.

    Args:
        raw: folder of downloads; default: the setting ``raw_root``.
        splits: roles to convert; default: every split that is complete.
        settings: resolved settings; default: loaded.
        choices: ``out, images, limit, strict, allow_standin`` of :func:`~hmtools.convert.run.make_plans`, for
            every set alike.
        running: ``workers, overwrite, break_lock, progress, wait, command, started`` of
            :func:`~hmtools.convert.run.run_plans`.

    Returns:
        One report per known dataset, by name; a stopped run (signal) ends the list.

    Raises:
        LayoutError: if no dataset is below ``raw``.
        UsageError: for a split that is no role.
    """
    settings = settings or load_settings()
    raw = (raw or settings.raw_root).resolve()
    sets = find_sets(raw, splits)
    if not any(found.root for found in sets):
        folders = ", ".join(all_datasets()[found.name].folders[0] for found in sets)
        raise LayoutError(
            f"{raw}: no download of a known dataset here; expected one folder for each, of names like "
            f"{folders}. Name the folder that holds them with --root DIR, or set raw_root"
        )
    reports = []
    with engine_session(EngineChoice.of(settings, workers=running.get("workers"))):
        for found in sets:
            report = _convert_set(found, settings, choices or {}, running)
            reports.append(report)
            if any(split.outcome.interrupted for split in report.reports):
                break
    return reports


def _convert_set(
    found: FoundSet, settings: Settings, choices: Mapping[str, Any], running: Mapping[str, Any]
) -> SetReport:
    done: list[SplitReport] = []
    if not found.splits:
        return SetReport(found=found, error=found.error)
    try:
        plans = make_plans(found.name, root=found.root, splits=found.splits, settings=settings, **choices)
        done.extend(run_plans(plans, settings=settings, **running))
    except (HmtoolsError, OSError) as caught:
        return SetReport(found=found, reports=done, error=str(caught))
    return SetReport(found=found, reports=done)
