from __future__ import annotations

import numpy as np
import pytest

from hmtools.train.counters import normals, permuted, stream, uniforms


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000, 4097])
def test_every_size_is_permuted(size: int) -> None:
    index = np.arange(size)
    keys = np.repeat(stream(7, 1, size), size)
    found = permuted(index, np.full(size, size), keys)
    assert sorted(found.tolist()) == index.tolist()
    if size > 16:
        assert (found == index).mean() < 0.1
        other = permuted(index, np.full(size, size), np.repeat(stream(8, 1, size), size))
        assert (found == other).mean() < 0.1


def test_permutations_of_many_sizes_at_once_are_those_of_each() -> None:
    sizes = np.array([3, 100, 7, 100, 1])
    index, keys = np.array([1, 42, 6, 43, 0]), stream(1, np.arange(5))
    found = permuted(index, sizes, keys)
    for i in range(5):
        assert found[i] == permuted(index[i : i + 1], sizes[i : i + 1], keys[i : i + 1])[0]


def test_a_permutation_has_no_pattern() -> None:
    size = 10_000
    found = permuted(np.arange(size), np.full(size, size), np.repeat(stream(0), size))
    for one, other in ((np.arange(size), found), (found[:-1], found[1:])):
        assert abs(np.asarray(np.corrcoef(one, other))[0, 1]) < 0.03


def test_numbers_follow_from_their_counters_alone() -> None:
    positions = np.arange(1000)
    whole = uniforms(stream(3, 2, 0, positions), 4)
    np.testing.assert_array_equal(uniforms(stream(3, 2, 0, positions[500:510]), 4), whole[500:510])
    for other in (stream(4, 2, 0, positions), stream(3, 1, 0, positions), stream(3, 2, 1, positions)):
        assert not (uniforms(other, 4) == whole).any()


def test_numbers_are_distributed_as_they_should() -> None:
    drawn = uniforms(stream(0, np.arange(50_000)), 2)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts, _ = np.histogram(drawn[:, 0], 20, (0, 1))
    assert abs(counts / 2500 - 1).max() < 0.08
    assert abs(np.asarray(np.corrcoef(drawn.T))[0, 1]) < 0.02
    values = normals(drawn)
    assert abs(values.mean()) < 0.02
    assert abs(values.std() - 1) < 0.02
    assert abs((abs(values) > 1).mean() - 0.3173) < 0.01


def test_the_numbers_stay_what_they_are() -> None:
    """A run that is resumed by a later version must go on with the same samples."""
    assert stream(2023, 1, 0)[0] == np.uint64(16378866925921436196)
    assert permuted(np.arange(10), np.full(10, 10), np.repeat(stream(2023), 10)).tolist() == [
        6,
        9,
        2,
        8,
        3,
        5,
        7,
        4,
        0,
        1,
    ]
