"""The main job on embedded defaults: synthesise a world, convert it, validate the shards, show them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hmtools.convert.run import convert
from hmtools.convert.validate import validate_split
from hmtools.core.atomic import write_text
from hmtools.core.errors import HmtoolsError, UsageError
from hmtools.core.recipes import load_recipe
from hmtools.engine.local import usable_cores
from hmtools.shards.reader import Shards
from hmtools.shards.sheet import write_sheet
from hmtools.synth import make_miniature

__all__ = ["Made", "run_demo"]

_MARKER = ".hmtools-demo"  # says that a folder is ours to empty


@dataclass(frozen=True, slots=True)
class Made:
    """One line of the closing table: what was made, in numbers, where, and how long it took."""

    what: str
    numbers: str
    where: Path
    seconds: float


def run_demo(recipe: str, out: Path, say: Callable[[str], None]) -> list[Made]:
    """Run a demo recipe below ``out``, which is emptied first if an earlier demo made it.

    Raises:
        UsageError: if ``out`` holds something else.
        HmtoolsError: if a step fails or the shards do not validate.
    """
    worlds, out = load_recipe(recipe)["worlds"], out.resolve()
    raw, shards = _prepare(out)
    made: list[Made] = []
    folders: list[tuple[Path, int]] = []
    names = " and ".join(world["dataset"] for world in worlds)

    say(f"1/4 a synthetic world in the official layouts of {names} (first time: makes its stand-in body)")
    made += [_synthesised(raw / world["dataset"], world) for world in worlds]

    say(f"2/4 hmtools convert {names}, each from {raw} to {shards}")
    for world in worlds:
        steps, converted = _converted(world["dataset"], raw, shards, f"hmtools demo --out {out}")
        made += steps
        folders += [(folder, world["view"]["people"]) for folder in converted]

    say(f"3/4 hmtools validate {shards}")
    began = time.perf_counter()
    results = [validate_split(folder, workers=usable_cores()) for folder, _ in folders]
    if problems := [problem for result in results for problem in result.problems]:
        raise HmtoolsError(f"the shards do not validate: {problems[0]}")
    checked = f"{sum(r.records for r in results)} records read again, no problem"
    made.append(Made("validation", checked, shards, time.perf_counter() - began))

    say(f"4/4 hmtools view {folders[-1][0]}")
    for folder, people in folders:
        began = time.perf_counter()
        page = out / f"contact_sheet_{folder.parent.name}_{folder.name}.html"
        write_sheet(Shards(folder), page, people=people)
        made.append(Made("contact sheet", f"up to {people} people", page, time.perf_counter() - began))
    return made


def _synthesised(root: Path, world: dict[str, Any]) -> Made:
    began = time.perf_counter()
    synth = dict(world["synth"])
    make_miniature(world["dataset"], root, **synth)
    numbers = f"{synth['frames']} images, {synth['people']} people each, {len(synth['splits'])} splits"
    return Made("synthetic download", numbers, root, time.perf_counter() - began)


def _converted(name: str, raw: Path, shards: Path, command: str) -> tuple[list[Made], list[Path]]:
    began = time.perf_counter()
    reports = convert(name, root=raw / name, out=shards, overwrite=True, command=command)
    if not all(report.outcome.ok for report in reports):
        raise HmtoolsError(f"the conversion of {name} failed; see `hmtools jobs {shards}`")
    seconds = (time.perf_counter() - began) / len(reports)
    made = []
    for report in reports:
        outcome, task = report.outcome, report.plan.task
        counts = f"{outcome.count('records')} records, {outcome.count('images')} images ({task.images})"
        made.append(Made("shards", counts, task.out, seconds))
    return made, [report.plan.task.out for report in reports]


def _prepare(out: Path) -> tuple[Path, Path]:
    if out.exists() and not (out / _MARKER).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            f"{out} is a file or holds other files; give --out a new folder, or one that an earlier demo made"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / _MARKER, "made by `hmtools demo`; the next demo empties raw/ and shards/\n")
    for name in ("raw", "shards"):
        shutil.rmtree(out / name, ignore_errors=True)
    return out / "raw", out / "shards"
