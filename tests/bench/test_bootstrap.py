"""Intervals by resampling: against the textbook, missing values, and the same whatever the chunk."""

from __future__ import annotations

import numpy as np
import pytest

from hmtools.bench import bootstrap
from hmtools.bench.bootstrap import bootstrap_ci


def test_the_interval_is_the_textbooks() -> None:
    values = np.random.default_rng(0).gamma(4, 15, (2000, 1))
    low, high = bootstrap_ci(values)[0]
    error = 1.96 * values.std() / np.sqrt(len(values))
    assert [low, high] == pytest.approx([values.mean() - error, values.mean() + error], abs=0.12 * error)


def test_chunks_and_columns_do_not_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).normal(50, 9, (301, 3))
    values[::3, 1] = np.nan
    together = bootstrap_ci(values, resamples=90)
    monkeypatch.setattr(bootstrap, "_CELLS_AT_ONCE", 301 * 7)
    np.testing.assert_allclose(bootstrap_ci(values, resamples=90), together, rtol=1e-12)
    np.testing.assert_allclose(bootstrap_ci(values[:, 1:2], resamples=90)[0], together[1], rtol=1e-12)


def test_missing_values_are_no_zeros() -> None:
    values = np.full((400, 2), np.nan)
    values[:100, 0] = 60 + np.random.default_rng(2).normal(0, 1, 100)
    values[0, 1] = 5.0  # one value has no interval
    found = bootstrap_ci(values)
    assert 59 < found[0, 0] < found[0, 1] < 61
    assert np.isnan(found[1]).all()


def test_equal_values_leave_no_doubt() -> None:
    assert bootstrap_ci(np.full((5, 1), 7.0)).tolist() == [[7.0, 7.0]]
