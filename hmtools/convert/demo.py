"""The main job on embedded defaults: synthesise a world, convert it, validate the shards, show them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
    values, out = load_recipe(recipe), out.resolve()
    raw, shards = _prepare(out)
    name = values["dataset"]
    made = []

    say(f"1/4 a synthetic world in the official layout of {name}")
    began = time.perf_counter()
    synth = dict(values["synth"])
    make_miniature(name, raw, **synth)
    numbers = f"{synth['frames']} images, {synth['people']} people each, {len(synth['splits'])} splits"
    made.append(Made("synthetic download", numbers, raw, time.perf_counter() - began))

    say(f"2/4 hmtools convert {name} --root {raw} --out {shards}")
    began = time.perf_counter()
    reports = convert(name, root=raw, out=shards, overwrite=True, command=f"hmtools demo --out {out}")
    if not all(report.outcome.ok for report in reports):
        raise HmtoolsError(f"the conversion failed; see `hmtools jobs {shards}`")
    seconds = time.perf_counter() - began
    folders = [report.plan.task.out for report in reports]
    for report in reports:
        outcome = report.outcome
        counts = f"{outcome.count('records')} records, {outcome.count('images')} images"
        numbers = f"{counts} ({report.plan.task.images})"
        made.append(Made("shards", numbers, report.plan.task.out, seconds / len(reports)))

    say(f"3/4 hmtools validate {shards}")
    began = time.perf_counter()
    results = [validate_split(folder, workers=usable_cores()) for folder in folders]
    if problems := [problem for result in results for problem in result.problems]:
        raise HmtoolsError(f"the shards do not validate: {problems[0]}")
    checked = f"{sum(r.records for r in results)} records read again, no problem"
    made.append(Made("validation", checked, shards, time.perf_counter() - began))

    say(f"4/4 hmtools view {folders[-1]}")
    for folder in folders:
        began = time.perf_counter()
        page = out / f"contact_sheet_{folder.name}.html"
        people = values["view"]["people"]
        write_sheet(Shards(folder), page, people=people)
        made.append(Made("contact sheet", f"{people} people", page, time.perf_counter() - began))
    return made


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
