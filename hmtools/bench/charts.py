"""Charts of errors: distributions, groups with intervals, one model against another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hmtools.bench.chart_parts import Axis, Chart, Shape, clip, coordinates, grid, line, mark, text, ticks
from hmtools.bench.summary import number

__all__ = ["Estimate", "Group", "Series", "cumulative", "groups", "histogram", "scatter"]

_WIDTH, _HEIGHT = 400.0, 236.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 36.0, 12.0, 24.0, 38.0
_BINS = 36
_CURVE_POINTS = 160
_TAIL = 99.0  # percentile where the axis of a distribution ends; what lies beyond is said in words
_MOST_DOTS = 1500  # of a scatter; more are counted in cells
_FEW_DOTS = 200  # that can be larger
_CELLS, _SHADES = 44, 5
_GROUPS_TOP = 6.0
_LABEL_LETTERS, _LABEL_WIDTH, _COUNT_WIDTH = 22, 134.0, 46.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """The errors of one run.

    Attributes:
        label: of the run.
        look: class of its colour.
        values: (N,) finite.
        expected: samples that should have had a value: those without a usable prediction count here.
    """

    label: str
    look: str
    values: NDArray[np.floating]
    expected: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its interval (NaN: none) over ``n`` samples."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Group:
    """One row of a chart of groups: a name, one estimate or None per run, and published values by name."""

    name: str
    estimates: tuple[Estimate | None, ...]
    published: tuple[tuple[str, float], ...] = ()


def histogram(series: Sequence[Series], unit: str) -> Chart:
    """How errors are distributed, as shares of the samples of each run."""
    used = [one for one in series if len(one.values)]
    x = Axis(0.0, _reach(used), _LEFT, _WIDTH - _RIGHT)
    fewest = min((len(one.values) for one in used), default=1)
    edges = np.linspace(x.low, x.high, min(_BINS, max(8, int(2 * fewest**0.5))) + 1)
    shares = [np.histogram(one.values, edges)[0] * 100 / len(one.values) for one in used]
    y = Axis(0.0, max((float(share.max()) for share in shares), default=1.0) * 1.06 or 1.0, _floor(), _TOP)
    shapes = _frame(x, y, unit, "% of samples")
    for one, share in zip(used, shares, strict=True):
        tops = np.repeat([y.at(float(value)) for value in share], 2)
        sides = np.repeat([x.at(float(edge)) for edge in edges], 2)[1:-1]
        outline = list(zip(sides.tolist(), tops.tolist(), strict=True))
        closed = [(x.begin, y.begin), *outline, (x.end, y.begin)]
        shapes.append(Shape(look=f"area {one.look}", data=coordinates(closed) + "Z"))
        shapes.append(line(f"curve {one.look}", *outline, title=one.label))
    for one in used:
        median = float(np.median(one.values))
        said = f"{one.label}: median {number(median, unit)} {unit}"
        if median <= x.high:
            shapes.append(
                line(f"median {one.look}", (x.at(median), y.end), (x.at(median), y.begin), title=said)
            )
    beyond = [f"{100 * float((one.values > x.high).mean()):.1f} %" for one in used]
    return Chart(
        title="Distribution",
        caption=f"Dashed: medians. Beyond {x.high:g} {unit}: {' / '.join(beyond) or 'none'}.",
        label="Histogram of errors. " + _medians(used, unit),
        width=_WIDTH,
        height=_HEIGHT,
        shapes=tuple(shapes),
    )


def cumulative(series: Sequence[Series], unit: str) -> Chart:
    """Share of the samples whose error is at most so large; missing predictions never get there."""
    used = [one for one in series if len(one.values)]
    x = Axis(0.0, _reach(used), _LEFT, _WIDTH - _RIGHT)
    y = Axis(0.0, 100.0, _floor(), _TOP)
    shapes = _frame(x, y, unit, "% of samples at or below")
    for one in used:
        places = np.linspace(0.0, x.high, _CURVE_POINTS)
        below = np.searchsorted(np.sort(one.values), places, side="right") * 100 / max(one.expected, 1)
        points = [(x.at(float(a)), y.at(float(b))) for a, b in zip(places, below, strict=True)]
        shapes.append(line(f"curve {one.look}", *points, title=one.label))
    lost = [
        f"{one.label}: {one.expected - len(one.values)}" for one in used if one.expected > len(one.values)
    ]
    left_out = f" Without a usable prediction, never reached: {', '.join(lost)}." if lost else ""
    return Chart(
        title="Cumulative",
        caption=f"Further up and to the left is better.{left_out}",
        label="Cumulative distribution of errors. " + _medians(used, unit),
        width=_WIDTH,
        height=_HEIGHT,
        shapes=tuple(shapes),
    )


def groups(
    title: str,
    caption: str,
    rows: Sequence[Group],
    looks: Sequence[str],
    unit: str,
    *,
    pitch: float = 19.0,
) -> Chart:
    """Means of groups of samples with their intervals, one dot per run, published values as ticks.

    Args:
        title: heading.
        caption: below it.
        rows: from top to bottom.
        looks: class of each run's colour.
        unit: of all values.
        pitch: height of a row, at least; more where many runs need it.
    """
    ends = [end for row in rows for e in row.estimates if e for end in (e.mean, e.low, e.high) if end == end]
    ends += [value for row in rows for _, value in row.published]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    low = 0.0 if low >= 0 and low < 0.4 * high else low
    pad = 0.05 * (high - low or abs(high) or 1.0)
    pitch = max(pitch, 9.0 * len(looks) + 7.0)
    bottom = _GROUPS_TOP + pitch * len(rows)
    x = Axis(low if low == 0 else low - pad, high + pad, _LABEL_WIDTH, _WIDTH - _COUNT_WIDTH)
    shapes = grid(x, ticks(x.low, x.high, 4), _GROUPS_TOP, bottom)
    shapes.append(text(x.end, bottom + 28, unit, anchor="end", look="tick"))
    shapes.append(text(_WIDTH - 2, bottom + 14, "n", anchor="end", look="tick"))
    for i, row in enumerate(rows):
        shapes += _group(row, _GROUPS_TOP + pitch * (i + 0.5), x, looks, unit)
    return Chart(
        title=title,
        caption=caption,
        label=f"{title}: " + "; ".join(_spoken(row, unit) for row in rows),
        width=_WIDTH,
        height=bottom + 34,
        shapes=tuple(shapes),
    )


def scatter(first: Series, second: Series, unit: str) -> Chart:
    """One dot per sample: error of one run to the right, of the other upwards.

    Args:
        first: errors of one run.
        second: those of the other for the same samples, in the same order.
        unit: of both.
    """
    reach = _reach([first, second])
    x, y = Axis(0.0, reach, _LEFT, _WIDTH - _RIGHT), Axis(0.0, reach, _floor(), _TOP)
    shapes = _frame(x, y, unit, clip(second.label, 34), clip(first.label, 34))
    inside = (first.values <= reach) & (second.values <= reach)
    a, b = first.values[inside], second.values[inside]
    if len(a) <= _MOST_DOTS:
        spots = "".join(
            f"M{x.at(p):.1f} {y.at(q):.1f}h0" for p, q in zip(a.tolist(), b.tolist(), strict=True)
        )
        shapes.append(Shape(look="dots few" if len(a) <= _FEW_DOTS else "dots", data=spots))
    else:
        shapes += _shaded(a, b, x, y)
    shapes.append(line("diagonal", (x.begin, y.begin), (x.end, y.end)))
    outside = int((~inside).sum())
    return Chart(
        title="Sample by sample",
        caption=f"Below the line {second.label} is better."
        + (f" {outside} samples lie beyond {reach:g} {unit}." if outside else ""),
        label=f"Errors of {second.label} against those of {first.label}, {len(first.values)} samples",
        width=_WIDTH,
        height=_HEIGHT,
        shapes=tuple(shapes),
    )


def _floor() -> float:
    return _HEIGHT - _BOTTOM


def _reach(series: Sequence[Series]) -> float:
    """A round number that nearly all errors stay below."""
    highest = max((float(np.percentile(one.values, _TAIL)) for one in series if len(one.values)), default=1.0)
    if not highest > 0:
        return 1.0
    step = ticks(0.0, highest * 1.02, 8)
    return step[-1] + (step[1] - step[0]) if len(step) > 1 else highest * 1.02


def _medians(series: Sequence[Series], unit: str) -> str:
    return "; ".join(
        f"{one.label}: median {number(float(np.median(one.values)), unit)} {unit}" for one in series
    )


def _frame(x: Axis, y: Axis, unit: str, up: str, right: str = "") -> list[Shape]:
    shapes = grid(x, ticks(x.low, x.high), y.end, y.begin)
    for value in ticks(y.low, y.high, 4):
        shapes.append(line("grid", (x.begin, y.at(value)), (x.end, y.at(value))))
        shapes.append(text(x.begin - 6, y.at(value) + 4, f"{value:g}", anchor="end", look="tick"))
    shapes.append(text(2, y.end - 11, up, look="name"))
    shapes.append(text(x.end, y.begin + 30, f"{right}, {unit}" if right else unit, anchor="end", look="name"))
    return shapes


def _group(row: Group, middle: float, x: Axis, looks: Sequence[str], unit: str) -> list[Shape]:
    shown = clip(row.name, _LABEL_LETTERS)
    shapes = [text(_LABEL_WIDTH - 8, middle + 4, shown, anchor="end", title=row.name)]
    shapes.append(line("rule", (x.begin, middle), (x.end, middle)))
    for name, value in row.published:
        at = x.at(value)
        said = f"published, {name}: {number(value, unit)} {unit}"
        shapes.append(line("tickmark", (at, middle - 7), (at, middle + 7), title=said))
    first = middle - 9.0 * (len(looks) - 1) / 2
    for i, (estimate, look) in enumerate(zip(row.estimates, looks, strict=True)):
        if estimate is None:
            continue
        y, at = first + 9.0 * i, x.at(estimate.mean)
        if estimate.low == estimate.low:
            shapes.append(line(f"whisker {look}", (x.at(estimate.low), y), (x.at(estimate.high), y)))
        said = f"{row.name}: {number(estimate.mean, unit)} {unit}, n = {estimate.n}"
        shapes.append(mark(look, at, y, said))
    counts = dict.fromkeys(estimate.n for estimate in row.estimates if estimate)
    most = f"{max(counts)}" if counts else ""
    return [*shapes, text(_WIDTH - 2, middle + 4, most, anchor="end", look="tick")]


def _spoken(row: Group, unit: str) -> str:
    means = " / ".join("none" if e is None else number(e.mean, unit) for e in row.estimates)
    return f"{row.name} {means} {unit}"


def _shaded(a: NDArray[np.floating], b: NDArray[np.floating], x: Axis, y: Axis) -> list[Shape]:
    """Cells that are the darker the more samples lie in them, by the logarithm of their number."""
    edges = np.linspace(0.0, x.high, _CELLS + 1)
    counts, _, _ = np.histogram2d(a, b, bins=(edges, edges))
    width, height = (x.end - x.begin) / _CELLS, (y.begin - y.end) / _CELLS
    with np.errstate(divide="ignore"):
        shade = np.ceil(np.log1p(counts) / np.log1p(counts.max()) * _SHADES).astype(int)
    shapes = []
    for level in range(1, _SHADES + 1):
        cells = np.argwhere(shade == level)
        tile = f"h{width:.1f}v{height:.1f}h-{width:.1f}Z"
        data = "".join(
            f"M{x.begin + i * width:.1f} {y.begin - (j + 1) * height:.1f}{tile}" for i, j in cells.tolist()
        )
        if data:
            shapes.append(Shape(look=f"shade s{level}", data=data))
    return shapes
