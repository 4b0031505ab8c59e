"""The demo: synthetic downloads → shards → a small training → predictions → benchmarks → a page, a video.

Every step is the command that its line names, called in this process. Bodies are the licence-free stand-in
throughout, so its figures say that the chain works, and nothing about a method.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from hmtools.bench.protocols.registry import get_protocol
from hmtools.bench.published import TITLES
from hmtools.bench.results import REPORT, read_runs
from hmtools.bench.run import BenchResult, bench, mean_primary_error, open_testset
from hmtools.bench.source import open_predictions
from hmtools.bench.testsets import find_testset
from hmtools.bodies.assets import load_model, standin_dir
from hmtools.convert.run import convert
from hmtools.convert.validate import validate_split
from hmtools.core.atomic import write_json, write_text
from hmtools.core.errors import HmtoolsError, UsageError
from hmtools.core.log import format_count
from hmtools.core.recipes import load_recipe
from hmtools.core.settings import Settings, load_settings
from hmtools.engine.local import usable_cores
from hmtools.humandata.predictions import PREDICTIONS
from hmtools.humandata.reports import METRICS, write_report
from hmtools.infer.shards_run import infer_shards
from hmtools.shards.reader import Shards
from hmtools.shards.sheet import write_sheet
from hmtools.synth import make_miniature

__all__ = ["Finished", "Made", "Stage", "run_demo"]

_MARKER = ".hmtools-demo"
_FOLDERS = ("raw", "shards", "runs")
_PLANTED = ("hmtools.convert.unit", "hmtools.datasets")  # loggers that tell of defects in a download


@dataclass(frozen=True, slots=True)
class Made:
    """One line of the closing table: what was made, in numbers, where, and how long it took."""

    what: str
    numbers: str
    where: Path
    seconds: float


@dataclass(frozen=True, slots=True)
class Stage:
    """How long some steps took together, and how long they should, in seconds.

    Attributes:
        name: for people.
        seconds: that they took.
        budget: of the recipe, for two cores with nothing else to do; None: it has none.
    """

    name: str
    seconds: float
    budget: float | None

    @property
    def over(self) -> bool:
        """Whether it took longer than it should."""
        return self.budget is not None and self.seconds > self.budget


@dataclass(frozen=True, slots=True)
class Finished:
    """A demo that came to its end: what was made, in order, and how long its stages took."""

    made: list[Made]
    stages: list[Stage]


@dataclass(frozen=True, slots=True)
class _Demo:
    """A demo under way.

    Attributes:
        worlds: of the recipe: a dataset, its miniature, the interval it is converted with, which people are
            shown and which test set it is.
        training: recipe and changes, or None: the demo ends with the shards.
        video: the sequence that is drawn at the end: its dataset and split, the folder of its frames, and how
            many are shown in a second.
        out: the demo's folder.
        settings: resolved, the engine local.
    """

    worlds: list[dict[str, Any]]
    training: dict[str, Any] | None
    video: dict[str, Any]
    out: Path
    settings: Settings

    @property
    def shards(self) -> Path:
        return self.out / "shards"

    @property
    def runs(self) -> Path:
        return self.out / "runs"

    @property
    def run(self) -> Path:
        """Folder of the training; predictions and report are named after it."""
        return self.runs / "train" / str((self.training or {})["recipe"]).replace("/", "-")


class _Step(NamedTuple):
    """The stage that it is of, the command that it is, and what does it."""

    stage: str
    title: str
    run: Callable[[_Demo], Iterator[Made]]


def run_demo(recipe: str, out: Path, say: Callable[[str], None]) -> Finished:
    """Run a demo recipe below ``out``, which is emptied first if an earlier demo made it.

    Args:
        recipe: a shipped demo recipe.
        out: gets ``raw``, ``shards``, ``runs`` and pages.
        say: told what is done next, a line per step.

    Returns:
        What was made, and how long each stage took.

    Raises:
        UsageError: if ``out`` holds something else.
        HmtoolsError: if a step fails or the shards do not validate.
    """
    content, out = load_recipe(recipe), out.resolve()
    _prepare(out)
    settings = replace(load_settings(), engine="local")
    demo = _Demo(content["worlds"], content.get("training"), content.get("video", {}), out, settings)
    steps, made = _steps(demo), list[Made]()
    took = {step.stage: 0.0 for step in steps}
    for number, step in enumerate(steps, start=1):
        say(f"{number}/{len(steps)} {step.title}")
        began = time.perf_counter()
        for item in step.run(demo):
            now = time.perf_counter()
            made.append(replace(item, seconds=now - began))
            took[step.stage] += now - began
            began = now
    budgets = content.get("budgets", {})
    return Finished(made, [Stage(name, seconds, budgets.get(name)) for name, seconds in took.items()])


def _steps(demo: _Demo) -> list[_Step]:
    steps = [
        _Step("stand-in body", "hmtools body standin: a person made by code (first time: a minute)", _body),
        _Step("downloads", "hmtools synth: small ones in their official layouts", _synth),
        _Step("shards", "hmtools convert: shards of each", _convert),
        _Step("shards", "hmtools validate: every byte of them is read again", _validate),
        _Step("shards", "hmtools view: contact sheets", _view),
    ]
    if demo.training is None:
        return steps
    return [
        *steps,
        _Step("training", f"hmtools train {demo.training['recipe']} --procs 1", _train),
        _Step("results", "hmtools infer: its predictions for the test sets", _infer),
        _Step("results", "hmtools bench --testset all: errors, and their mean (MPE)", _bench),
        _Step("results", "hmtools report: a page of them", _report),
        _Step("results", "hmtools infer --boxes, hmtools render overlay: a video", _video),
    ]


def _prepare(out: Path) -> None:
    if out.exists() and not (out / _MARKER).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            f"{out} is a file or holds other files; give --out a new folder, or one that an earlier demo made"
        )
    out.mkdir(parents=True, exist_ok=True)
    folders = ", ".join(f"{name}/" for name in _FOLDERS)
    write_text(out / _MARKER, f"made by `hmtools demo`; the next demo empties {folders}\n")
    for name in _FOLDERS:
        shutil.rmtree(out / name, ignore_errors=True)


def _body(demo: _Demo) -> Iterator[Made]:
    folder = standin_dir()
    vertices = len(load_model("smplx", "neutral", roots=(folder,)).v_template)
    yield Made("stand-in body", f"{vertices:,} vertices, in files such as SMPL-X's", folder, 0)


def _synth(demo: _Demo) -> Iterator[Made]:
    for world in demo.worlds:
        synth, root = dict(world["synth"]), demo.out / "raw" / world["dataset"]
        make_miniature(world["dataset"], root, **synth)
        numbers = f"{world['dataset']}, {format_count(synth['frames'], 'image')} a split"
        yield Made("synthetic download", numbers, root, 0)


def _convert(demo: _Demo) -> Iterator[Made]:
    command = f"hmtools demo --out {demo.out}"
    for world in demo.worlds:
        name = world["dataset"]
        with _without_planted():
            reports = convert(
                name, root=demo.out / "raw" / name, out=demo.shards, splits=world["synth"]["splits"],
                overwrite=True, command=command, workers=0, progress=False, every=world.get("every"),
            )  # fmt: skip
        for report in reports:
            outcome, task = report.outcome, report.plan.task
            if not outcome.ok:
                raise HmtoolsError(f"the conversion of {name} failed; see `hmtools jobs {demo.shards}`")
            records, images = (format_count(outcome.count(f"{word}s"), word) for word in ("record", "image"))
            yield Made("shards", f"{records}, {images} ({task.images})", task.out, 0)


@contextmanager
def _without_planted() -> Iterator[None]:
    """Downloads are made with defects, which need nobody's attention: they stay in the units' logs."""

    def wanted(record: logging.LogRecord) -> bool:
        return not record.name.startswith(_PLANTED)

    handlers = list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(wanted)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(wanted)


def _splits(demo: _Demo, world: dict[str, Any]) -> list[Path]:
    return sorted(path.parent for path in (demo.shards / world["dataset"]).glob("*/manifest.json"))


def _validate(demo: _Demo) -> Iterator[Made]:
    folders = [folder for world in demo.worlds for folder in _splits(demo, world)]
    results = [validate_split(folder, workers=usable_cores()) for folder in folders]
    if problems := [problem for result in results for problem in result.problems]:
        raise HmtoolsError(f"the shards do not validate: {problems[0]}")
    checked = format_count(sum(result.records for result in results), "record")
    yield Made("validation", f"{checked} read again, no problem", demo.shards, 0)


def _view(demo: _Demo) -> Iterator[Made]:
    for world in demo.worlds:
        for folder in _splits(demo, world) if "view" in world else ():
            people = world["view"]["people"]
            page = demo.out / f"contact_sheet_{folder.parent.name}_{folder.name}.html"
            shards = Shards(folder)
            write_sheet(shards, page, people=people)
            yield Made("contact sheet", _people(min(people, len(shards))), page, 0)


def _train(demo: _Demo) -> Iterator[Made]:
    from hmtools.train.ending import Ending
    from hmtools.train.options import TrainOptions
    from hmtools.train.plan import make_plan, require_ready
    from hmtools.train.recipe_files import load_training
    from hmtools.train.start import start

    training = demo.training or {}
    recipe = load_training(training["recipe"], training.get("changes", ()))
    plan = make_plan(recipe, shards=demo.shards, gpus=1)
    require_ready(plan, ["hmtools", "train", training["recipe"]], shards=demo.shards)
    run = demo.run
    options = TrainOptions(out=run, shards=demo.shards, settings=demo.settings, device="cpu")
    ending = start(recipe, plan, options)
    if not isinstance(ending, Ending) or not ending.finished:
        raise HmtoolsError(f"the training did not come to its end; see {run / 'log.jsonl'}")
    yield Made("trained network", f"{ending.steps} steps of {recipe.batch.global_batch} crops", run, 0)


def _testsets(demo: _Demo) -> list[dict[str, Any]]:
    return [world for world in demo.worlds if "testset" in world]


def _infer(demo: _Demo) -> Iterator[Made]:
    for world in _testsets(demo):
        reports = infer_shards(
            demo.run, demo.shards / world["dataset"], out=demo.runs / "infer", gpus=0, workers=0,
            settings=demo.settings, progress=False,
        )  # fmt: skip
        for report in reports:
            if not report.outcome.ok:
                raise HmtoolsError(f"predicting {report.split} failed; see `hmtools jobs {demo.runs}`")
            yield Made("predictions", _people(report.outcome.count("records")), report.task.out, 0)


def _bench(demo: _Demo) -> Iterator[Made]:
    out, results = demo.runs / "bench", []
    for world in _testsets(demo):
        protocol = get_protocol(find_testset(world["testset"]))
        shards = open_testset(protocol, demo.shards)
        predictions = demo.runs / "infer" / protocol.dataset / protocol.splits[0] / PREDICTIONS
        result = bench(shards, open_predictions(predictions, shards), protocol, out / protocol.testset)
        results.append(result)
        yield Made("benchmark", _primary(result), result.report, 0)
    mean = mean_primary_error(results, out)
    if mean is not None:
        rows = [row for result in results for row in result.rows]
        write_report(out / REPORT, [*rows, mean])
        yield Made("benchmark", f"MPE {mean['value']:.1f} mm, stand-in bodies", out / REPORT, 0)


def _primary(result: BenchResult) -> str:
    row = next(row for row in result.rows if row["primary"] and row["subset"] == "all")
    testset, metric = TITLES[result.facts.testset], METRICS[row["metric"]].title
    return f"{testset} {metric} {row['value']:.1f} mm, {_people(row['n'])}"


def _people(count: int) -> str:
    return format_count(count, "person", "people")


def _report(demo: _Demo) -> Iterator[Made]:
    from hmtools.bench.page import write_page
    from hmtools.bench.pictures import Pictures

    page, runs = demo.out / "report.html", read_runs([demo.runs / "bench"])
    predictions = sorted((demo.runs / "infer").glob(f"*/*/{PREDICTIONS}"))
    write_page(runs, page, pictures=Pictures([demo.shards], [predictions], [run.label for run in runs]))
    yield Made("report page", format_count(len(_testsets(demo)), "test set"), page, 0)


def _video(demo: _Demo) -> Iterator[Made]:
    from hmtools.infer.model import load_model as load_network
    from hmtools.infer.pipeline import MediaOptions, run_media
    from hmtools.infer.render import RenderOptions, render_predictions

    video, out = demo.video, demo.runs / "video"
    frames, boxes = demo.out / "raw" / video["dataset"] / video["folder"], out / "boxes.json"
    out.mkdir(parents=True)
    write_json(boxes, _boxes(Shards(demo.shards / video["dataset"] / video["split"]), frames.name))
    # Also where licensed models are: the body that the network was trained with.
    settings = replace(demo.settings, body_models=standin_dir())
    model = load_network(demo.run, device="cpu", allow_standin=True, settings=settings)
    summary = run_media([frames], model, out, MediaOptions(sequences=True, boxes=boxes))
    numbers = f"{_people(summary.people)} in {format_count(summary.frames, 'frame')}, given boxes"
    yield Made("predictions", numbers, summary.path, 0)
    done = render_predictions(
        out, "overlay", out / "overlay.mp4", media=frames, options=RenderOptions(fps=video["fps"]),
        settings=settings,
    )  # fmt: skip
    yield Made("video", f"{format_count(done.frames, 'frame')} of {frames.name}", done.files[0], 0)


def _boxes(shards: Shards, sequence: str) -> list[dict[str, Any]]:
    """The labelled boxes of a sequence, as ``hmtools infer --boxes`` reads them."""
    columns = ["sequence", "frame", "bbox_xywh"]
    rows = shards.table.select(columns).to_pylist()
    return [
        {"frame": row["frame"], "bbox_xywh": row["bbox_xywh"]} for row in rows if row["sequence"] == sequence
    ]
