"""One model against another: the same people, the difference, and how sure it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmtools.bench.samples import Samples, read_samples
from hmtools.bench.versus import pair
from tests.bench.results import sample_rows, write_samples


@pytest.fixture
def people(tmp_path: Path) -> Samples:
    path = write_samples(tmp_path / "p.parquet", sample_rows("ehf", 120, level=60, seed=0))
    return read_samples(path, protocol="smplerx@1", testset="ehf")


def shifted(people: Samples, by: np.ndarray | float) -> Samples:
    found = people.take(np.arange(len(people)))
    found.metrics["pve_all"] = (found.metrics["pve_all"] + by).astype(np.float32)
    return found


def test_pairs_are_of_one_person_whatever_the_order(people: Samples) -> None:
    other = shifted(people, -2.0).take(np.random.default_rng(0).permutation(120)[:100])
    found = pair(people, other, "pve_all")
    assert found is not None
    assert (people.key[found.first] == other.key[found.second]).all()
    assert (len(found.a), found.only_first, found.only_second) == (100, 20, 0)
    assert found.mean == pytest.approx(-2.0, abs=1e-4)
    assert (found.low, found.high) == pytest.approx((-2.0, -2.0), abs=1e-4)
    assert found.share == 1.0
    assert found.decided


def test_noise_is_no_difference(people: Samples) -> None:
    noise = np.random.default_rng(1).normal(0, 10, 120)
    found = pair(people, shifted(people, noise - noise.mean()), "pve_all")
    assert found is not None
    assert found.low < 0 < found.high
    assert not found.decided


def test_a_small_difference_shows_in_pairs_though_intervals_overlap(people: Samples) -> None:
    noise = np.random.default_rng(1).normal(0, 1, 120)
    found = pair(people, shifted(people, 1.0 + noise), "pve_all")
    assert found is not None
    spread = 1.96 * found.a.std() / np.sqrt(len(found.a))
    assert spread > 1.0  # unpaired, nothing could be said
    assert found.low > 0


def test_extremes(people: Samples) -> None:
    by = np.zeros(120)
    by[[5, 6, 7]] = [-9, -30, 20]
    found = pair(people, shifted(people, by), "pve_all")
    assert found is not None
    better, worse = found.extremes(12)
    assert [people.key[found.first[i]] for i in better] == [people.key[6], people.key[5]]
    assert [people.key[found.first[i]] for i in worse] == [people.key[7]]


def test_nothing_in_common(people: Samples) -> None:
    half = np.arange(120) < 60
    assert pair(people.take(half), people.take(~half), "pve_all") is None
    assert pair(people, people, "mpjpe_body") is None
