"""From a table of samples to a table of results: means, counts, intervals, subsets, and the MPE.

A sample without a prediction or with an invalid one has no error: it is counted in ``n_missing`` and never
averaged away in silence. What a protocol leaves out of a metric (a hand nobody can see) is in neither count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmtools.bench.bootstrap import bootstrap_ci
from hmtools.bench.published import MPE, MPE_SETS, RECALLED, TITLES, figures, published_value
from hmtools.bench.samples import Samples, read_samples
from hmtools.core.errors import SchemaError, UsageError
from hmtools.humandata.reports import METRICS

__all__ = [
    "ALL",
    "MPE_PROTOCOL",
    "OCCLUSION_EDGES",
    "RunFacts",
    "figure_row",
    "mpe_row",
    "occlusion_bins",
    "report_rows",
]

ALL = "all"
"""Subset of every sample of a test set."""

MPE_PROTOCOL = "smplerx@1"
"""The mean primary error is defined by this protocol and by no other."""

OCCLUSION_EDGES: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Occluded shares that part the bins: a bin holds its lower edge, the last one both."""

_MISSING = ("missing", "invalid")
_HAND = "pve_hand"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What all rows of one run have in common; the columns of the report table of these names.

    Attributes:
        protocol: full id, such as ``smplerx@1``.
        testset: agora, egobody, ubody, 3dpw, ehf.
        split: official name of the split.
        primary: the metric that stands for the test set; a column of the samples, or a figure such as NMVE
            that is added with :func:`figure_row`.
        standin: whether a body without licence was measured.
        rows: ``official`` or ``derived``.
        image_mode: full, crop or none.
        model: name of the weights or of the predictions' maker.
        predictions_sha256: of the predictions.
        shards_sha256: of the shards.
        note: a remark for every row.
    """

    protocol: str
    testset: str
    split: str
    primary: str
    standin: bool
    rows: str
    image_mode: str
    model: str
    predictions_sha256: str
    shards_sha256: str
    note: str = ""


def report_rows(per_sample: Path, facts: RunFacts) -> list[dict[str, Any]]:
    """Rows of the report table for one run.

    Subsets: ``all``; every value of the column ``subset``; ``occlusion a-b %``; ``hand visible`` where hands
    are not always measured; and, for the primary metric alone, ``sequence NAME`` where there are several.

    Args:
        per_sample: ``per_sample.parquet``; rows of other protocols or test sets in it are left aside.
        facts: of the run.

    Returns:
        One dict per row, all columns of the report schema; value None where no sample has one.

    Raises:
        UsageError: if the file has no sample of this run, or all are excluded: there is nothing to average.
        SchemaError: if the table lacks a column.
    """
    samples = read_samples(per_sample, protocol=facts.protocol, testset=facts.testset)
    counted = samples.take(samples.status != "excluded")
    if not len(counted):
        why = "every sample is excluded" if len(samples) else "the table has none"
        raise UsageError(
            f"{per_sample}: no sample of {facts.testset} by {facts.protocol} to average ({why}); check the "
            "shards with `hmtools bench doctor` and the split that was asked for"
        )
    if facts.primary in METRICS and facts.primary not in counted.metrics:
        raise SchemaError(
            f"{per_sample}: the primary metric {facts.primary} has no column; found "
            f"{', '.join(counted.metrics) or 'no metric at all'}"
        )
    rows = []
    for subset, members, metrics in _subsets(counted, facts.primary):
        rows += _rows_of(counted.take(members), subset, metrics, facts)
    return rows


def figure_row(
    facts: RunFacts,
    metric: str,
    value: float | None,
    *,
    unit: str,
    n: int,
    n_missing: int,
    subset: str = ALL,
    ci95: tuple[float | None, float | None] = (None, None),
    note: str = "",
) -> dict[str, Any]:
    """One row of the report table; for figures that are no mean over samples as well (F1, NMVE).

    Args:
        facts: of the run.
        metric: name of the metric.
        value: the figure in ``unit``, None where there is none.
        unit: mm, %, deg, mm/s^2 or an empty string.
        n: samples it is of.
        n_missing: samples without a usable prediction.
        subset: which samples.
        ci95: low and high end of the 95 % interval, in ``unit``.
        note: added to that of the run.
    """
    published = None
    if subset == ALL:
        published = published_value(
            facts.protocol, facts.testset, metric, facts.model, rows=facts.rows, standin=facts.standin
        )
    recalled = published is not None and any(
        figure.recalled
        for figure in figures(facts.protocol, facts.testset, metric)
        if figure.model == facts.model
    )
    notes = [facts.note, note, f"published figure {RECALLED}" if recalled else ""]
    return {
        "protocol": facts.protocol,
        "testset": facts.testset,
        "split": facts.split,
        "subset": subset,
        "metric": metric,
        "unit": unit,
        "value": value,
        "n": n,
        "n_missing": n_missing,
        "ci95_low": ci95[0],
        "ci95_high": ci95[1],
        "primary": metric == facts.primary,
        "standin": facts.standin,
        "rows": facts.rows,
        "image_mode": facts.image_mode,
        "model": facts.model,
        "predictions_sha256": facts.predictions_sha256,
        "shards_sha256": facts.shards_sha256,
        "published": published,
        "note": "; ".join(part for part in notes if part),
    }


def mpe_row(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The mean primary error of one model: plain mean of the primary errors of the five sets.

    Project page of SMPLer-X; follow-up SMPLest-X, caption of its benchmark table: MPJPE for 3DPW, PVE
    elsewhere. The interval takes the five sets as independent: distances to the ends, in quadrature, over k.

    Args:
        rows: report rows of **one** model; only primary ones of ``smplerx@1`` over all samples count, the
            last of a test set where it was measured twice.

    Returns:
        A row of test set ``mpe``, with a note ``partial (k/5)`` where sets are missing; None without any.

    Raises:
        UsageError: if the rows are of several models, or partly of the stand-in body: no mean means anything.
    """
    found = {
        row["testset"]: row
        for row in rows
        if row["protocol"] == MPE_PROTOCOL
        and row["primary"]
        and row["subset"] == ALL
        and row["testset"] in MPE_SETS
        and row["value"] is not None
    }
    if not found:
        return None
    used = [found[name] for name in MPE_SETS if name in found]
    models = sorted({str(row["model"]) for row in used})
    if len(models) > 1:
        raise UsageError(f"MPE: expected the results of one model, found {', '.join(models)}")
    if len({bool(row["standin"]) for row in used}) > 1:
        mixed = ", ".join(str(row["testset"]) for row in used if row["standin"])
        raise UsageError(
            f"MPE of {models[0]}: {mixed} measured with the stand-in body, the others with a licensed one; "
            "measure all sets with one body"
        )
    facts = RunFacts(
        protocol=MPE_PROTOCOL,
        testset=MPE,
        split="",
        primary=MPE,
        standin=bool(used[0]["standin"]),
        rows="official" if all(row["rows"] == "official" for row in used) else "derived",
        image_mode=_agreed(used, "image_mode"),
        model=models[0],
        predictions_sha256=_agreed(used, "predictions_sha256"),
        shards_sha256=_agreed(used, "shards_sha256"),
    )
    value = float(np.mean([row["value"] for row in used]))
    row = figure_row(
        facts,
        MPE,
        value,
        unit="mm",
        n=sum(row["n"] for row in used),
        n_missing=sum(row["n_missing"] for row in used),
        ci95=_joint_interval(used, value),
        note=_partial(found),
    )
    return row if len(used) == len(MPE_SETS) else {**row, "published": None}


def occlusion_bins(occlusion: NDArray[np.floating]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Name and members of the bins of occlusion that are not empty.

    Args:
        occlusion: (N,) occluded share, 0 to 1; NaN is in no bin.
    """
    last = len(OCCLUSION_EDGES) - 2
    for i, (low, high) in enumerate(pairwise(OCCLUSION_EDGES)):
        # float32 0.7 is below 0.7: a bin's edges are those of the stored type.
        members = occlusion >= np.float32(low)
        members &= (occlusion <= np.float32(high)) if i == last else (occlusion < np.float32(high))
        if members.any():
            yield f"{round(low * 100)}-{round(high * 100)} %", members


def _subsets(samples: Samples, primary: str) -> Iterator[tuple[str, NDArray[np.bool_], list[str]]]:
    """Name, members and metrics of every subset, ``all`` first."""
    everything = list(samples.metrics)
    yield ALL, np.ones(len(samples), np.bool_), everything
    for name in _names(samples.subset):
        if name != ALL:
            yield name, samples.subset == name, everything
    for name, members in occlusion_bins(samples.occlusion):
        yield f"occlusion {name}", members, everything
    if _HAND in samples.metrics:
        visible = np.isfinite(samples.metrics[_HAND])
        if visible.any() and not visible[samples.status == "ok"].all():
            yield "hand visible", visible, everything
    sequences = _names(samples.sequence)
    if len(sequences) > 1 and primary in samples.metrics:
        for name in sequences:
            yield f"sequence {name}", samples.sequence == name, [primary]


def _names(column: NDArray[np.object_]) -> list[str]:
    return sorted({str(name) for name in column if name})


def _rows_of(samples: Samples, subset: str, metrics: list[str], facts: RunFacts) -> list[dict[str, Any]]:
    table = np.stack([samples.metrics[name] for name in metrics], axis=1).astype(np.float64)
    intervals = bootstrap_ci(table)
    missing = int(np.isin(samples.status, _MISSING).sum())
    rows = []
    for column, name in enumerate(metrics):
        values = table[:, column][np.isfinite(table[:, column])]
        low, high = (None if np.isnan(end) else float(end) for end in intervals[column])
        rows.append(
            figure_row(
                facts,
                name,
                float(values.mean()) if len(values) else None,
                unit=METRICS[name].unit,
                n=len(values),
                n_missing=missing,
                subset=subset,
                ci95=(low, high),
            )
        )
    return rows


def _joint_interval(rows: Sequence[Mapping[str, Any]], value: float) -> tuple[float | None, float | None]:
    ends = []
    for column, sign in (("ci95_low", -1), ("ci95_high", 1)):
        if any(row[column] is None for row in rows):
            return None, None
        distance = float(np.sqrt(sum((row["value"] - row[column]) ** 2 for row in rows))) / len(rows)
        ends.append(value + sign * distance)
    return ends[0], ends[1]


def _partial(found: Mapping[str, Any]) -> str:
    lacking = [TITLES[name] for name in MPE_SETS if name not in found]
    if not lacking:
        return ""
    return f"partial ({len(found)}/{len(MPE_SETS)}): without {', '.join(lacking)}"


def _agreed(rows: Sequence[Mapping[str, Any]], column: str) -> str:
    """The value of a column where all rows share it, else an empty string."""
    values = {str(row[column]) for row in rows}
    return values.pop() if len(values) == 1 else ""
