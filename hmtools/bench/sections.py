"""What a page says of one test set: figures, charts, model against model, people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hmtools.bench.aggregate import ALL
from hmtools.bench.chart_parts import Chart
from hmtools.bench.charts import Group, Series, cumulative, groups, histogram, scatter
from hmtools.bench.people import Choice, best_and_worst, differing
from hmtools.bench.results import Run, Setting
from hmtools.bench.samples import JointErrors, Samples, joint_errors, read_samples
from hmtools.bench.slices import MOST_SEQUENCES, by_box_size, by_joint, by_occlusion, by_sequence
from hmtools.bench.summary import Line, number
from hmtools.bench.versus import Pairing, pair
from hmtools.humandata.reports import METRICS

__all__ = ["FEWEST", "LOOKS", "Chosen", "Section", "StatRow", "Versus", "section", "signed"]

LOOKS: tuple[str, ...] = ("m0", "m1", "m2", "m3", "m4", "m5")
"""Class of the colour of each run; later runs begin again."""

FEWEST = 20
"""Samples from which on percentiles and the shape of a distribution say something."""

_HEADS = ("n", "missing", "invalid", "mean", "median", "90 %", "99 %", "largest")
_PERCENTILES = ("90 %", "99 %")
_HAND_JOINTS = ("hand_wrist", "thumb", "index", "middle", "ring", "pinky")


@dataclass(frozen=True, slots=True)
class StatRow:
    """Figures of one run as words, in the order of the section's heads."""

    label: str
    look: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Versus:
    """One run against the first.

    Attributes:
        verdict: the sentence that decides.
        words: what it rests on.
        look: good, bad or an empty string.
        pairing: the pairs.
        run: number of the other run.
    """

    verdict: str
    words: str
    look: str
    pairing: Pairing
    run: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """People under a heading, not drawn yet."""

    title: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One test set.

    Attributes:
        anchor: id on the page.
        title: of the test set.
        metric: primary metric in words.
        unit: of it.
        facts: small print under the heading.
        heads: of the columns of the figures.
        stats: figures per run.
        few: a sentence where no run has :data:`FEWEST` samples, and less is shown for that.
        missing: a sentence where there are no samples to draw from.
        versus: every other run against the first.
        charts: in their order.
        chosen: people.
    """

    anchor: str
    title: str
    metric: str
    unit: str
    facts: Mapping[str, str]
    heads: tuple[str, ...]
    stats: tuple[StatRow, ...]
    few: str
    missing: str
    versus: tuple[Versus, ...]
    charts: tuple[Chart, ...]
    chosen: tuple[Chosen, ...]


def section(runs: Sequence[Run], line: Line, anchor: str) -> Section:
    """Everything about the primary metric of one setting.

    Args:
        runs: all runs; those without samples of this setting stay out of the charts.
        line: the setting's primary line of the summary.
        anchor: id on the page.
    """
    protocol, testset, _ = line.setting
    primary = line
    looks = [LOOKS[i % len(LOOKS)] for i in range(len(runs))]
    paths = [run.samples.get(line.setting) for run in runs]
    samples = [None if p is None else read_samples(p, protocol=protocol, testset=testset) for p in paths]
    line = _per_sample(line, samples)
    samples = [None if s is None or line.metric not in s.metrics else _counted(s) for s in samples]
    joints = [None if p is None else joint_errors(p, protocol=protocol, testset=testset) for p in paths]
    labels = [run.label for run in runs]
    against = _versus(samples, labels, line)
    few = max((len(_finite(one, line.metric)) for one in samples if one is not None), default=0) < FEWEST
    heads = tuple(head for head in _HEADS if not (few and head in _PERCENTILES))
    lost = [label for label, one in zip(labels, samples, strict=True) if one is None]
    return Section(
        anchor=anchor,
        title=line.testset,
        metric=line.title,
        unit=line.unit,
        facts=_facts(runs, primary),
        heads=heads,
        stats=tuple(
            _stats(one, label, look, line, heads)
            for one, label, look in zip(samples, labels, looks, strict=True)
            if one is not None
        ),
        few=f"No percentiles and no distribution of fewer than {FEWEST} samples." * few,
        missing=f"No per_sample.parquet with this set beside the report of {', '.join(lost)}."
        if lost
        else "",
        versus=tuple(against),
        charts=tuple(_charts(samples, joints, labels, looks, line, against)),
        chosen=tuple(_chosen(samples, labels, line, against)),
    )


def signed(value: float, unit: str) -> str:
    """A difference with its sign; none where it rounds to zero."""
    shown = number(value, unit)
    if not float(shown):
        return shown.removeprefix("-")
    return shown if value < 0 else f"+{shown}"


def _per_sample(line: Line, samples: Sequence[Samples | None]) -> Line:
    """The metric that samples have where the primary one is a figure over all of them, such as NMVE."""
    there = dict.fromkeys(name for one in samples if one is not None for name in one.metrics)
    if line.metric in METRICS or not there:
        return line
    name = next(iter(there))
    return replace(line, metric=name, title=METRICS[name].title, unit=METRICS[name].unit)


def _counted(samples: Samples) -> Samples:
    return samples.take(samples.status != "excluded")


def _facts(runs: Sequence[Run], line: Line) -> dict[str, str]:
    """What the runs were measured on; a value that differs is said for each."""
    rows = [_primary(run, line.setting, line.metric) for run in runs]
    facts = {"primary": f"{line.title}, {line.unit}", "protocol": line.setting[0], "split": line.setting[2]}
    for name, words in (("rows", "rows"), ("image_mode", "images")):
        values = dict.fromkeys(str(row[name]) for row in rows if row is not None)
        facts[words] = " / ".join(values)
    hashes = dict.fromkeys(str(row["shards_sha256"])[:12] for row in rows if row is not None)
    facts["shards"] = " / ".join(hashes)
    return {name: value for name, value in facts.items() if value}


def _primary(run: Run, setting: Setting, metric: str) -> Mapping[str, Any] | None:
    wanted = (*setting, metric, ALL)
    names = ("protocol", "testset", "split", "metric", "subset")
    return next((row for row in run.rows if tuple(row[name] for name in names) == wanted), None)


def _stats(samples: Samples, label: str, look: str, line: Line, heads: Sequence[str]) -> StatRow:
    values = _finite(samples, line.metric)
    figures = (
        [values.mean(), *np.percentile(values, [50, 90, 99]), values.max()] if len(values) else [None] * 5
    )
    counts = [len(values), *(int((samples.status == state).sum()) for state in ("missing", "invalid"))]
    shown = [number(None if figure is None else float(figure), line.unit) for figure in figures]
    words = dict(zip(_HEADS, (*map(str, counts), *shown), strict=True))
    return StatRow(label, look, tuple(words[head] for head in heads))


def _finite(samples: Samples, metric: str) -> Any:
    values = samples.metrics[metric]
    return values[np.isfinite(values)].astype(np.float64)


def _versus(samples: Sequence[Samples | None], labels: Sequence[str], line: Line) -> list[Versus]:
    first = samples[0]
    found = []
    for i, other in enumerate(samples[1:], 1):
        pairing = None if first is None or other is None else pair(first, other, line.metric)
        if pairing is not None:
            found.append(_compare(pairing, labels[0], labels[i], i, line.unit))
    return found


def _compare(pairing: Pairing, first: str, second: str, run: int, unit: str) -> Versus:
    size = f"{number(abs(pairing.mean), unit)} {unit}"
    if not pairing.decided:
        look, verdict = "", f"No clear difference between {second} and {first}"
    elif pairing.mean < 0:
        look, verdict = "good", f"{second} is better than {first} by {size}"
    else:
        look, verdict = "bad", f"{second} is worse than {first} by {size}"
    words = [f"Mean difference {signed(pairing.mean, unit)} {unit} over {len(pairing.a)} common samples"]
    if pairing.low == pairing.low:
        words.append(f"95 % interval {signed(pairing.low, unit)} to {signed(pairing.high, unit)} (paired)")
    words.append(f"{second} has the smaller error on {100 * pairing.share:.0f} % of them")
    for count, label in ((pairing.only_first, first), (pairing.only_second, second)):
        if count:
            words.append(f"{count} samples only in {label}")
    return Versus(verdict=f"{verdict}.", words="; ".join(words) + ".", look=look, pairing=pairing, run=run)


def _charts(
    samples: Sequence[Samples | None],
    joints: Sequence[JointErrors | None],
    labels: Sequence[str],
    looks: Sequence[str],
    line: Line,
    against: Sequence[Versus],
) -> list[Chart]:
    series = [_series(*each, line.metric) for each in zip(samples, labels, looks, strict=True)]
    drawn = [one for one in series if one is not None and len(one.values)]
    if not drawn:
        return []
    many = max(len(one.values) for one in drawn) >= FEWEST
    charts = [histogram(drawn, line.unit), cumulative(drawn, line.unit)] if many else []
    for versus in against:
        pairs = [
            Series(label=labels[i], look=looks[i], values=values, expected=len(values))
            for i, values in ((0, versus.pairing.a), (versus.run, versus.pairing.b))
        ]
        charts.append(scatter(pairs[0], pairs[1], line.unit))
    sequences, count = by_sequence(samples, line.metric)
    worst = f" The worst {MOST_SEQUENCES} of {count}." if count > len(sequences) else ""
    error = f"Mean {line.title}"
    by_part = [
        (title, "Mean error of each joint, aligned as the protocol does.", rows)
        for title, rows in _parts(by_joint(joints))
    ]
    sliced: list[tuple[str, str, list[Group]]] = [
        *by_part[:1],
        ("By occlusion", f"{error} by the occluded share of the person.", by_occlusion(samples, line.metric)),
        ("By box size", f"{error} by the long side of the person's box.", by_box_size(samples, line.metric)),
        ("By sequence", f"{error}, worst first.{worst}", sequences),
        *by_part[1:],  # hands last: the tall charts then fill the last columns of the page
    ]
    charts += [groups(title, words, rows, looks, line.unit) for title, words, rows in sliced if rows]
    return charts


def _parts(joints: Sequence[Group]) -> list[tuple[str, list[Group]]]:
    """Body and hands in charts of their own: 56 joints in one are taller than everything else together."""

    def part(group: Group) -> str:
        side, _, rest = group.name.partition("_")
        return f"By joint, {side} hand" if rest.startswith(_HAND_JOINTS) else "By joint"

    found: dict[str, list[Group]] = {}
    for group in joints:
        found.setdefault(part(group), []).append(group)
    return list(found.items())


def _series(samples: Samples | None, label: str, look: str, metric: str) -> Series | None:
    if samples is None:
        return None
    values = _finite(samples, metric)
    lost = int(np.isin(samples.status, ("missing", "invalid")).sum())
    # A sample without prediction that the protocol gives a value all the same is in both: count it once.
    valued = int(
        (np.isin(samples.status, ("missing", "invalid")) & np.isfinite(samples.metrics[metric])).sum()
    )
    return Series(label=label, look=look, values=values, expected=len(values) + lost - valued)


def _chosen(
    samples: Sequence[Samples | None], labels: Sequence[str], line: Line, against: Sequence[Versus]
) -> list[Chosen]:
    found = []
    for versus in against:
        first = samples[0]
        if first is not None:
            better, worse = differing(first, versus.pairing, (0, versus.run))
            other = labels[versus.run]
            found.append(Chosen(f"{other} better than {labels[0]} by most", tuple(better)))
            found.append(Chosen(f"{other} worse than {labels[0]} by most", tuple(worse)))
    for run, one in enumerate(samples):
        if one is not None:
            worst, best = best_and_worst(one, line.metric, run)
            found.append(Chosen(f"{labels[run]}: the worst {len(worst)}", tuple(worst)))
            found.append(Chosen(f"{labels[run]}: the best {len(best)}", tuple(best)))
    return [each for each in found if each.choices]
