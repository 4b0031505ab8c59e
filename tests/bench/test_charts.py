"""Charts: shapes that say what the numbers say."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hmtools.bench.chart_parts import Axis, Chart, clip, ticks
from hmtools.bench.charts import Estimate, Group, Series, cumulative, groups, histogram, scatter

NAN = float("nan")


def series(values: list[float], look: str = "m0", expected: int | None = None) -> Series:
    return Series(label=look, look=look, values=np.array(values), expected=expected or len(values))


def points(chart: Chart, look: str) -> np.ndarray:
    """Ends of the steps of the first path of a class, in units of the chart."""
    data = next(shape.data for shape in chart.shapes if shape.look == look)
    return np.array([pair.split() for pair in re.split("[ML]", data.rstrip("Z"))[1:]], float)


def words(chart: Chart) -> list[str]:
    return [shape.text for shape in chart.shapes if shape.text]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 100, [0, 20, 40, 60, 80, 100]), (54.2, 107, [60, 80, 100]), (0, 0.7, [0, 0.2, 0.4, 0.6])],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_no_span_has_one_tick() -> None:
    assert ticks(5.0, 5.0) == [5.0]


def test_long_names_keep_both_ends() -> None:
    assert clip("downtown_sitOnStairs_00", 22) == "downtown_s..nStairs_00"
    assert clip("short", 22) == "short"


def test_a_histogram_holds_every_sample_within_its_axis() -> None:
    values = np.random.default_rng(0).uniform(0, 90, 400)
    chart = histogram([series(values.tolist())], "mm")
    steps = points(chart, "curve m0")
    floor, unit = 236 - 38.0, 1.0
    heights = floor - steps[::2, 1]
    # The axis of shares: the tick labels say how high one percent is.
    label = next(s for s in chart.shapes if s.look == "word tick" and s.anchor == "end" and s.text == "4")
    unit = (floor - (label.y - 4)) / 4
    assert heights.sum() / unit == pytest.approx(100, abs=1.5)
    assert "median" in chart.label


def test_a_curve_ends_below_one_hundred_where_predictions_are_missing() -> None:
    chart = cumulative([series([10.0, 20.0, 30.0], expected=4)], "mm")
    curve = points(chart, "curve m0")
    y = Axis(0, 100, 236 - 38.0, 24.0)
    assert curve[-1, 1] == pytest.approx(y.at(75), abs=0.1)
    assert curve[0, 1] == pytest.approx(y.at(0), abs=0.1)
    assert (np.diff(curve[:, 1]) <= 0).all()
    assert "never reached: m0: 1" in chart.caption


def test_groups_place_means_intervals_and_published_values() -> None:
    rows = [
        Group("first", (Estimate(50.0, 40.0, 60.0, 7), Estimate(100.0, NAN, NAN, 7)), (("S32", 75.0),)),
        Group("x" * 40, (None, Estimate(80.0, 70.0, 90.0, 3))),
    ]
    chart = groups("By test", "words", rows, ["m0", "m1"], "mm")
    dots = [s for s in chart.shapes if s.look.startswith("dot ")]
    assert [s.look for s in dots] == ["dot m0", "dot m1", "dot m1"]
    x = [float(re.findall(r"[-\d.]+", s.data)[0]) for s in dots]
    (tick,) = [s for s in chart.shapes if s.look == "tickmark"]
    at = float(re.findall(r"[-\d.]+", tick.data)[0])
    assert at == pytest.approx((x[0] + x[1]) / 2, abs=0.1)
    whiskers = [s for s in chart.shapes if s.look.startswith("whisker")]
    assert len(whiskers) == 2
    ends = [float(v) for v in re.findall(r"[-\d.]+", whiskers[0].data)[::2]]
    assert np.mean(ends) == pytest.approx(x[0], abs=0.1)
    assert "first 50.0 / 100.0 mm" in chart.label
    assert max(map(len, words(chart))) <= 22


@pytest.mark.parametrize("count", [300, 5000])
def test_a_scatter_shows_every_pair(count: int) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.gamma(3, 20, count), rng.gamma(3, 20, count)
    chart = scatter(series(a.tolist()), series(b.tolist(), "m1"), "mm")
    drawn = [s for s in chart.shapes if s.look.startswith(("dots", "shade"))]
    if count == 300:
        beyond = int(next(iter(re.findall(r"(\d+) samples lie", chart.caption)), "0"))
        assert drawn[0].data.count("M") == count - beyond
    else:
        assert {s.look for s in drawn} >= {"shade s2", "shade s5"}
        assert sum(s.data.count("M") for s in drawn) <= 44 * 44


def test_nothing_to_draw_draws_no_nonsense() -> None:
    for chart in (
        histogram([series([])], "mm"),
        cumulative([series([])], "mm"),
        groups("t", "", [], [], "mm"),
    ):
        assert "nan" not in " ".join(shape.data for shape in chart.shapes)
    assert histogram([series([0.0, 0.0])], "mm").shapes
