"""``hmtools report``: the table, the texts, the page, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from typer.testing import Result

from tests.bench.results import write_run

Run: TypeAlias = Callable[..., Result]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    write_run(root / "a", {"ehf": 60.0, "3dpw": 70.0}, count=12)
    write_run(root / "b", {"ehf": 50.0}, count=12, seed=1, model="[b]mine[/b]", standin=True)
    return root


def test_the_table(run: Run, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    shown = run("report", results / "a", results / "b").stdout
    assert "[b]mine[/b]" in shown  # no markup
    assert "STAND-IN BODY" in shown
    (line,) = [line for line in shown.splitlines() if line.startswith("EHF")]
    assert line.split()[:3] == ["EHF", "PVE,", "mm"]
    assert line.rstrip().endswith("56.8 r")
    assert "MPE, smplerx-h32: partial (2/5)" in shown


@pytest.mark.parametrize(
    ("form", "starts"), [("md", "**STAND-IN"), ("csv", "run,protocol,"), ("latex", "% STAND-IN")]
)
def test_texts_on_standard_output_and_in_a_file(
    run: Run, results: Path, tmp_path: Path, form: str, starts: str
) -> None:
    arguments = ("report", results / "a", results / "b", "--format", form)
    printed = run(*arguments).stdout
    assert printed.startswith(starts)
    run(*arguments, "--out", tmp_path / "table.txt")
    assert (tmp_path / "table.txt").read_text() == printed


def test_the_page(run: Run, results: Path, tmp_path: Path) -> None:
    assert "page.html: smplerx-h32" in run("report", results / "a", "--out", "page.html").stdout
    assert "Benchmark of" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--format", "latx"), "expected md, csv, latex, found 'latx'; did you mean 'latex'?"),
        (("--out", "none/page.html"), "no folder none; make it first"),
        (("--out", "page.txt"), "a page ends with .html; for text add --format"),
        (("--shards", "x"), "add --out PAGE.html"),
        (("--predictions", "x", "--out", "p.html"), "add --shards"),
        (("--shards", ".", "--out", "p.html"), "no converted split at or below it"),
    ],
)
def test_refused(run: Run, results: Path, options: tuple[str, ...], says: str) -> None:
    assert says in run("report", results / "a", *options, code=2).stderr


def test_one_prediction_for_each_result(run: Run, results: Path) -> None:
    options = ("--shards", ".", "--predictions", "x", "--out", "p.html")
    shown = run("report", results / "a", results / "b", *options, code=2).stderr
    assert "expected one for each of 2 results (smplerx-h32, [b]mine[/b]), found 1" in shown
