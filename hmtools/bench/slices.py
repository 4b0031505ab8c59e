"""Errors by what samples have in common: occlusion, size of the person, sequence, joint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hmtools.bench.aggregate import occlusion_bins
from hmtools.bench.bootstrap import bootstrap_ci
from hmtools.bench.charts import Estimate, Group
from hmtools.bench.samples import JointErrors, Samples

__all__ = ["MOST_SEQUENCES", "by_box_size", "by_joint", "by_occlusion", "by_sequence"]

MOST_SEQUENCES = 24
"""Sequences that a chart shows, the worst of the first run."""

_SIZES = (64, 128, 192, 256, 384, 512, 768, 1024)  # long side of the box, pixels
_RESAMPLES = 400  # of an interval in a chart: its ends show to a pixel

Members = tuple[str, NDArray[np.bool_]]
Split = Callable[[Samples], Iterator[Members]]


def by_occlusion(runs: Sequence[Samples | None], metric: str) -> list[Group]:
    """Groups of ten percent of occlusion; empty where the set does not say, or says one for all."""
    return _grouped(runs, metric, lambda samples: occlusion_bins(samples.occlusion))


def by_box_size(runs: Sequence[Samples | None], metric: str) -> list[Group]:
    """Groups by the long side of the person's box in upright original pixels."""
    return _grouped(runs, metric, _sizes)


def by_sequence(runs: Sequence[Samples | None], metric: str) -> tuple[list[Group], int]:
    """Groups by sequence, worst first, at most :data:`MOST_SEQUENCES`; and how many there are."""
    found = _grouped(runs, metric, _sequences)
    found.sort(key=lambda group: -max(e.mean for e in group.estimates if e is not None))
    return found[:MOST_SEQUENCES], len(found)


def by_joint(runs: Sequence[JointErrors | None]) -> list[Group]:
    """One group per joint, in the order of the joints; means without intervals."""
    names = dict.fromkeys(name for run in runs if run is not None for name in run.names)
    rows = []
    for name in names:
        estimates = tuple(None if run is None else _joint(run, name) for run in runs)
        if any(estimates):
            rows.append(Group(name, estimates))
    return rows


def _joint(run: JointErrors, name: str) -> Estimate | None:
    if name not in run.names:
        return None
    at = run.names.index(name)
    if not run.n[at]:
        return None
    return Estimate(float(run.mean[at]), float("nan"), float("nan"), int(run.n[at]))


def _grouped(runs: Sequence[Samples | None], metric: str, split: Split) -> list[Group]:
    rows: dict[str, list[Estimate | None]] = {}
    for i, samples in enumerate(runs):
        if samples is None or metric not in samples.metrics:
            continue
        for name, members in split(samples):
            values = samples.metrics[metric][members]
            values = values[np.isfinite(values)]
            if len(values):
                low, high = bootstrap_ci(values[:, None], resamples=_RESAMPLES)[0]
                estimate = Estimate(
                    float(values.mean(dtype=np.float64)), float(low), float(high), len(values)
                )
                rows.setdefault(name, [None] * len(runs))[i] = estimate
    if len(rows) < 2:
        return []
    return [Group(name, tuple(estimates)) for name, estimates in _in_order(rows).items()]


def _in_order(rows: dict[str, list[Estimate | None]]) -> dict[str, list[Estimate | None]]:
    """Bins that only a later run has go to their place: names begin with the lower edge, or have no order."""

    def edge(name: str) -> tuple[float, str]:
        front = name.split("-")[0].removeprefix("< ").removesuffix(" px").removesuffix("+")
        return (float(front) - 0.5 * name.startswith("<"), "") if front.isdigit() else (np.inf, "")

    return dict(sorted(rows.items(), key=lambda item: edge(item[0])))


def _sizes(samples: Samples) -> Iterator[Members]:
    side = samples.bbox_xywh[:, 2:4].max(axis=1)
    edges = (0, *_SIZES, np.inf)
    for low, high in pairwise(edges):
        members = (side >= low) & (side < high)
        if members.any():
            if low == 0:
                yield f"< {high} px", members
            else:
                yield f"{low}+ px" if high == np.inf else f"{low}-{high} px", members


def _sequences(samples: Samples) -> Iterator[Members]:
    names, number = np.unique(samples.sequence.astype(str), return_inverse=True)
    order = np.argsort(number, kind="stable")
    for name, rows in zip(names.tolist(), np.split(order, np.cumsum(np.bincount(number))[:-1]), strict=True):
        if name:
            members = np.zeros(len(samples), np.bool_)
            members[rows] = True
            yield name, members
