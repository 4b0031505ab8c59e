"""Confidence intervals of means by resampling whole samples.

B. Efron, "Bootstrap methods: another look at the jackknife", 1979; percentile intervals. Samples are drawn as
if they were independent. Frames of one video are not, so an interval over a video set is narrower than it
should be: it says how sure the mean over *these* frames is, not over other videos.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["RESAMPLES", "SEED", "bootstrap_ci"]

RESAMPLES = 1000
"""Resamples of an interval."""

SEED = 20231
"""Equal tables give equal intervals, on every machine."""

_CELLS_AT_ONCE = 1 << 21  # drawn indices held at a time: 16 MiB, whatever the number of samples


def bootstrap_ci(
    values: NDArray[np.floating], *, resamples: int = RESAMPLES, seed: int = SEED
) -> NDArray[np.float64]:
    """The 95 % intervals of the means of the columns, from the same resamples of the rows.

    Memory is bounded: about 50 MiB plus three copies of ``values``, however many rows and resamples.

    Args:
        values: (N, M), NaN where a sample has no value; a resample's mean is over the values it has.
        resamples: how many.
        seed: of the draws.

    Returns:
        float64 (M, 2) low and high, in the unit of ``values``; NaN for columns with fewer than two values.
    """
    table = np.asarray(values, np.float64)
    count, width = table.shape
    there = np.isfinite(table)
    enough = there.sum(axis=0) >= 2
    found = np.full((width, 2), np.nan)
    if not enough.any():
        return found
    sums = np.where(there, table, 0.0)[:, enough]
    weights = there[:, enough].astype(np.float64)
    means = np.empty((resamples, sums.shape[1]))
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS_AT_ONCE // count)
    for begin in range(0, resamples, step):
        drawn = min(step, resamples - begin)
        picks = rng.integers(0, count, size=(drawn, count))
        picks += np.arange(drawn)[:, None] * count
        times = np.bincount(picks.ravel(), minlength=drawn * count).reshape(drawn, count).astype(np.float64)
        with np.errstate(invalid="ignore"):  # a resample without any value has no mean
            means[begin : begin + drawn] = (times @ sums) / (times @ weights)
    found[enough] = np.nanpercentile(means, [2.5, 97.5], axis=0).T
    return found
