from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.core.errors import UsageError
from hmtools.train.mixture import (
    BLOCK,
    WINDOW,
    Order,
    make_order,
    published_items,
    published_shuffle,
    quotas,
)

SIZES = (3, 10, 25, 7)
FIGURES = Path(__file__).parents[1] / "golden/smplerx/humandata.npz"


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    with np.load(FIGURES) as data:
        return {name: data[name] for name in data.files if name.startswith(("multi/", "balance"))}


def whole(order: Order, epoch: int) -> list[tuple[int, int]]:
    sets, rows = order.draw(epoch, np.arange(order.epoch_size))
    return list(zip(sets.tolist(), rows.tolist(), strict=True))


@pytest.mark.parametrize(
    ("name", "total"), [("balance_42", 42), ("balance_8", 8), ("balance_auto", 45), ("longest", 100)]
)
def test_published_balance(figures: dict[str, Any], name: str, total: int) -> None:
    """Item for item but for those that are drawn at random, which differ in what they are drawn from only."""
    expected, share = figures[f"multi/{name}"], total // 4
    chance = np.random.default_rng(0).random((total, 2))
    sets, items = published_items(SIZES, total, np.arange(total), chance)
    drawn_set = np.arange(total) // share >= 4
    size = np.array(SIZES)[expected[:, 0]]
    drawn_item = (size < share) & (np.arange(total) % share >= size * (share // size))
    np.testing.assert_array_equal(sets[~drawn_set], expected[~drawn_set, 0])
    fixed = ~drawn_set & ~drawn_item
    np.testing.assert_array_equal(items[fixed], expected[fixed, 1])
    at_random = np.flatnonzero(drawn_item & ~drawn_set)
    assert len(at_random) or name == "balance_8"
    np.testing.assert_array_equal(items[at_random], (chance[at_random, 1] * size[at_random]).astype(int))
    # Of a set drawn at random, the item is the number of the index beyond the shares, as published.
    assert items[drawn_set].tolist() == [i % share for i in np.flatnonzero(drawn_set)]
    assert (items < np.array(SIZES)[sets]).all()


def test_published_concat(figures: dict[str, Any]) -> None:
    found = sorted(whole(make_order("concat", SIZES, seed=0), 0))
    assert found == [(number, row) for number, row in figures["multi/concat"].tolist()]


def test_published_shuffle(figures: dict[str, Any]) -> None:
    for size in (5, 50):
        assert published_shuffle(size).tolist() == figures[f"balance_shuffle_{size}"].tolist()
    assert published_shuffle(5).tolist() == figures["balance_order"].tolist()


def test_balance_smplerx_shows_the_same_rows_in_every_epoch() -> None:
    order = make_order("balance-smplerx", (10, 500), seed=1, epoch_size=100)
    epochs = [whole(order, epoch) for epoch in range(2)]
    assert epochs[0] != epochs[1]
    for seen in epochs:
        assert {row for number, row in seen if number == 1} == set(published_shuffle(500)[:50].tolist())
        assert Counter(row for number, row in seen if number == 0) == dict.fromkeys(range(10), 5)


@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("sizes", [SIZES, (1, 64, 200, 20_000)])
def test_concat_reads_every_row_once_in_a_new_order(sizes: tuple[int, ...], block: bool) -> None:
    order = make_order("concat", sizes, seed=3, block=block)
    everything = [(number, row) for number, size in enumerate(sizes) for row in range(size)]
    first, second = whole(order, 0), whole(order, 1)
    assert sorted(first) == everything
    assert sorted(second) == everything
    assert sum(a == b for a, b in zip(first, second, strict=True)) < 0.15 * len(first)


@pytest.mark.parametrize("block", [False, True])
def test_balance_gives_all_sets_the_same_and_every_row_its_turn(block: bool) -> None:
    order = make_order("balance", (30, 3000, 100), seed=0, epoch_size=1000, block=block)
    epochs = [whole(order, epoch) for epoch in range(8)]
    for seen in epochs:
        counts = Counter(number for number, _ in seen)
        assert [counts[i] for i in range(3)] == [334, 333, 333]
        # A short set comes round whole before anybody comes again.
        short = Counter(row for number, row in seen if number == 0)
        assert set(short.values()) <= {11, 12}
        assert max(Counter(row for number, row in seen if number == 1).values()) == 1
    rows = {row for seen in epochs for number, row in seen if number == 1}
    assert len(rows) > 1200  # fresh rows in every epoch: 8 of 9 ninths would be 1750 of 3000 by chance


def test_weights() -> None:
    order = make_order("weights", (10, 10, 10), seed=0, epoch_size=100, weights=(1, 2, 7))
    assert Counter(number for number, _ in whole(order, 0)) == {0: 10, 1: 20, 2: 70}
    assert quotas((1, 1, 1), 100, (1, 1, 1)) == (34, 33, 33)
    assert quotas((1, 1, 1, 1), 10, (1, 1, 4, 1)) == (2, 1, 6, 1)


def test_sets_are_mixed_evenly() -> None:
    order = make_order("balance", (1000, 1000), seed=0, epoch_size=2000)
    first = [number for number, _ in whole(order, 0)[:400]]
    assert 150 < sum(first) < 250


def test_positions_may_be_asked_in_any_order() -> None:
    for strategy in ("balance", "balance-smplerx", "concat"):
        order = make_order(strategy, SIZES, seed=5)
        everything = whole(order, 2)
        positions = np.random.default_rng(0).permutation(order.epoch_size)
        sets, rows = order.draw(2, positions)
        assert list(zip(sets.tolist(), rows.tolist(), strict=True)) == [everything[i] for i in positions]


def test_blocks_are_read_together() -> None:
    """Within a window, rows come from few whole blocks; in memory there is never more than a window."""
    order = make_order("balance", (100_000, 40_000), seed=0, epoch_size=60_000, block=True)
    sets, rows = order.draw(0, np.arange(WINDOW))
    for number in (0, 1):
        own = rows[sets == number]
        blocks = np.unique(own // BLOCK)
        assert len(own) / len(blocks) > 0.9 * BLOCK
        assert (np.diff(own) == 1).mean() < 0.1  # but shuffled
    sets, rows = make_order("balance", (100_000, 40_000), seed=0, epoch_size=60_000).draw(
        0, np.arange(WINDOW)
    )
    assert len(np.unique(rows[sets == 0] // BLOCK)) > 1000


def test_substitutes_are_of_the_same_set_and_always_the_same() -> None:
    order = make_order("balance", SIZES, seed=5, epoch_size=100)
    sets, _ = order.draw(0, np.arange(100))
    for position in range(100):
        number, row = order.substitute(0, position, 1)
        assert number == sets[position]
        assert 0 <= row < SIZES[number]
        assert order.substitute(0, position, 1) == (number, row)
    assert len({order.substitute(0, 8, attempt) for attempt in range(1, 20)}) > 1


@pytest.mark.parametrize(
    ("strategy", "options", "said"),
    [
        ("balanced", {}, "did you mean 'balance'"),
        ("weights", {}, "a weight for each set"),
        ("weights", {"weights": (1, 2, 3)}, "4 finite weights above 0"),
        ("weights", {"weights": (1, 2, 3, 0)}, "4 finite weights above 0"),
        ("balance", {"weights": (1, 2, 1, 1)}, "use the strategy weights"),
        ("concat", {"epoch_size": 44}, "expected 45, every row once"),
        ("balance", {"epoch_size": 3}, "expected at least 4"),
        ("balance-smplerx", {"block": True}, "reads at random"),
    ],
)
def test_what_does_not_go_together_is_refused(strategy: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make_order(strategy, SIZES, seed=0, **options)


def test_empty_sets_are_refused() -> None:
    with pytest.raises(UsageError, match="sets of one row or more"):
        make_order("concat", (3, 0), seed=0)
