"""One model against another on the samples that both have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hmtools.bench.bootstrap import bootstrap_ci
from hmtools.bench.samples import Samples

__all__ = ["Pairing", "pair"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairing:
    """Two runs on the same P samples.

    Attributes:
        first: (P,) rows of the first run's samples.
        second: (P,) rows of the second's.
        a: (P,) errors of the first.
        b: (P,) errors of the second.
        mean: of b - a.
        low: lower end of the 95 % interval of that mean, from resampled pairs; NaN for fewer than two.
        high: upper end.
        share: of the pairs where b is smaller, 0 to 1.
        only_first: samples with a value in the first run alone.
        only_second: in the second alone.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    mean: float
    low: float
    high: float
    share: float
    only_first: int
    only_second: int

    @property
    def decided(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0

    def extremes(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places in the pairs where the second is better by most, and where it is worse by most."""
        difference = self.b - self.a
        order = np.argsort(difference, kind="stable")
        better, worse = order[:count], order[::-1][:count]
        return better[difference[better] < 0], worse[difference[worse] > 0]


def pair(first: Samples, second: Samples, metric: str) -> Pairing | None:
    """Match the samples of two runs by key.

    A mean over different samples compares nothing: the difference is taken over the common ones only, and
    resampled in pairs, which takes away what is hard for both.

    Args:
        first: of one run.
        second: of the other, same protocol and test set.
        metric: column that both have.

    Returns:
        The pairs; None without a common sample.
    """
    if metric not in first.metrics or metric not in second.metrics:
        return None
    rows = [_usable(samples, metric) for samples in (first, second)]
    keys = [samples.key[row].astype(str) for samples, row in zip((first, second), rows, strict=True)]
    common, at, bt = np.intersect1d(keys[0], keys[1], return_indices=True)
    if not len(common):
        return None
    one, two = rows[0][at], rows[1][bt]
    a, b = (s.metrics[metric][r].astype(np.float64) for s, r in ((first, one), (second, two)))
    low, high = bootstrap_ci((b - a)[:, None])[0]
    return Pairing(
        first=one,
        second=two,
        a=a,
        b=b,
        mean=float((b - a).mean()),
        low=float(low),
        high=float(high),
        share=float((b < a).mean()),
        only_first=len(keys[0]) - len(common),
        only_second=len(keys[1]) - len(common),
    )


def _usable(samples: Samples, metric: str) -> NDArray[np.int64]:
    """Rows with a key and a value; of a key that comes twice, the first (``intersect1d`` takes that)."""
    there = np.isfinite(samples.metrics[metric]) & (samples.status != "excluded") & (samples.key != "")
    return np.flatnonzero(there)
