"""What a page says of one test set."""

from __future__ import annotations

from pathlib import Path

import pytest

from hmtools.bench.results import read_runs
from hmtools.bench.sections import section, signed
from hmtools.bench.summary import summarise
from tests.bench.results import write_run


@pytest.mark.parametrize(
    ("value", "shown"), [(3.14, "+3.1"), (-3.14, "-3.1"), (-0.04, "0.0"), (0.04, "0.0"), (0.0, "0.0")]
)
def test_signs(value: float, shown: str) -> None:
    assert signed(value, "mm") == shown


@pytest.mark.parametrize(("count", "many"), [(19, False), (20, True)])
def test_few_samples_have_no_distribution(tmp_path: Path, count: int, many: bool) -> None:
    write_run(tmp_path, {"ehf": 60.0}, count=count)
    runs = read_runs([tmp_path])
    (line,) = [one for one in summarise(runs).lines if one.primary and one.testset == "EHF"]
    found = section(runs, line, "here")
    assert ("Distribution" in [chart.title for chart in found.charts]) is many
    assert ("99 %" in found.heads) is many
    assert bool(found.few) is not many
    figures = dict(zip(found.heads, found.stats[0].values, strict=True))
    assert figures["n"] == str(count)
    assert float(figures["median"]) < float(figures["largest"])


def test_figures_and_the_verdict(tmp_path: Path) -> None:
    write_run(tmp_path / "a", {"ubody": 60.0}, count=90)
    write_run(tmp_path / "b", {"ubody": 48.0}, count=90, seed=1, missing=4, model="b")
    write_run(tmp_path / "c", {"ehf": 48.0}, count=9, model="c")
    runs = read_runs([tmp_path / name for name in "abc"])
    (line,) = [one for one in summarise(runs).lines if one.primary and one.testset == "UBody"]
    found = section(runs, line, "here")
    assert [row.label for row in found.stats] == ["smplerx-h32", "b"]
    assert found.stats[1].values[:3] == ("84", "4", "2")
    assert float(found.stats[0].values[3]) == pytest.approx(line.cells[0].value, abs=0.06)  # type: ignore[union-attr]
    assert found.missing.endswith("report of c.")
    (versus,) = found.versus
    assert versus.look == "good"
    assert versus.verdict.startswith("b is better than smplerx-h32 by ")
    assert "6 samples only in smplerx-h32" in versus.words
    assert "over 84 common samples" in versus.words
    assert [chart.title for chart in found.charts] == [
        "Distribution", "Cumulative", "Sample by sample", "By joint", "By box size", "By sequence",
    ]  # fmt: skip
    assert [(chosen.title, len(chosen.choices)) for chosen in found.chosen[2:]] == [
        ("smplerx-h32: the worst 24", 24),
        ("smplerx-h32: the best 24", 24),
        ("b: the worst 24", 24),
        ("b: the best 24", 24),
    ]
