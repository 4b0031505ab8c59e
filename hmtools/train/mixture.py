"""Which row of which set stands at a position of an epoch: pure functions, nothing shuffled in memory.

An order answers for any position at once, so a run resumes anywhere, and 8 processes read what 16 would have.
There are two kinds. :class:`Quotas` gives each set its share of the epoch, a fresh permutation of its rows
for every epoch and every time round (``concat``, ``balance``, ``weights``). :class:`PublishedBalance` is
SMPLer-X's own ``balance``: its sets are shuffled once for all epochs, so of a set that is longer than its
share the tail is never seen (fault ``balance_fixed``).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from hmtools.core.errors import UsageError, nearest
from hmtools.train.counters import permuted, stream, uniforms

__all__ = [
    "BLOCK",
    "PUBLISHED_SEED",
    "STRATEGIES",
    "WINDOW",
    "Order",
    "PublishedBalance",
    "Quotas",
    "make_order",
    "published_items",
    "published_shuffle",
    "quotas",
]

Integers: TypeAlias = npt.NDArray[np.int64]

STRATEGIES = ("concat", "balance", "balance-smplerx", "weights")
"""How sets share an epoch: every row once; the same for all; that as published; by their weights."""
BLOCK = 64
"""Consecutive rows that a network store is asked for together."""
WINDOW = 8192
"""Samples within which blocks of all sets are shuffled for a network store."""
PUBLISHED_SEED = 2023
"""SMPLer-X shuffles the list of each set with it, once."""

# What streams of counters are for; numbers, so that no order of calls can matter.
_POSITIONS, _ROWS, _ITEMS, _SUBSTITUTES = 1, 2, 3, 4


class Order(Protocol):
    """An order of samples; ``epoch_size`` of them make an epoch."""

    @property
    def epoch_size(self) -> int:
        """Samples of an epoch."""

    def draw(self, epoch: int, positions: Integers) -> tuple[Integers, Integers]:
        """Set and row of each position.

        Args:
            epoch: from 0.
            positions: (N,), each within 0 ... epoch_size - 1.

        Returns:
            int64 (N,) number of the set, and int64 (N,) row among those that count of that set.
        """

    def substitute(self, epoch: int, position: int, attempt: int) -> tuple[int, int]:
        """Another row of the same set, where the drawn one cannot be used; ``attempt`` counts from 1."""


def quotas(sizes: Sequence[int], total: int, weights: Sequence[float]) -> tuple[int, ...]:
    """Samples of each set in an epoch of ``total``, in proportion to ``weights``.

    What does not divide goes to the largest remainders, the first set first.
    """
    shares = [total * weight / sum(weights) for weight in weights]
    found = [int(share) for share in shares]
    by_remainder = sorted(range(len(sizes)), key=lambda i: (found[i] - shares[i], i))
    for i in by_remainder[: total - sum(found)]:
        found[i] += 1
    return tuple(found)


@dataclass(frozen=True)
class Quotas:
    """Each set has its share of every epoch.

    Attributes:
        sizes: rows of each set, at least 1.
        shares: samples of each set in an epoch.
        seed: of the run.
        window: samples that are shuffled among one another: None for the whole epoch. With a window, rows
            come in blocks of :data:`BLOCK` consecutive ones, in a new order of blocks each epoch.
    """

    sizes: tuple[int, ...]
    shares: tuple[int, ...]
    seed: int
    window: int | None = None

    @property
    def epoch_size(self) -> int:
        """Samples of an epoch."""
        return sum(self.shares)

    @cached_property
    def _bounds(self) -> Integers:
        """(windows + 1, sets): samples of each set before each window; shares are spread evenly."""
        count = 1 if self.window is None else max(1, self.epoch_size // self.window)
        edges = np.arange(count + 1, dtype=np.int64)[:, None]
        bounds: Integers = edges * np.asarray(self.shares, np.int64) // count
        return bounds

    @cached_property
    def _starts(self) -> Integers:
        starts: Integers = self._bounds.sum(axis=1)
        return starts

    def draw(self, epoch: int, positions: Integers) -> tuple[Integers, Integers]:
        """As :meth:`Order.draw`."""
        number = np.searchsorted(self._starts, positions, side="right") - 1
        start, end = self._starts[number], self._starts[number + 1]
        keys = stream(self.seed, _POSITIONS, epoch, number)
        local = permuted(positions - start, end - start, keys)
        counts = np.cumsum(self._bounds[number + 1] - self._bounds[number], axis=1)
        sets = (counts <= local[:, None]).sum(axis=1)
        before = np.where(sets > 0, np.take_along_axis(counts, np.maximum(sets - 1, 0)[:, None], 1)[:, 0], 0)
        return sets, self._rows(epoch, sets, self._bounds[number, sets] + local - before)

    def _rows(self, epoch: int, sets: Integers, turns: Integers) -> Integers:
        """The row that a set gives at each of its turns in an epoch."""
        size = np.asarray(self.sizes, np.int64)[sets]
        keys = stream(self.seed, _ROWS, epoch, sets, turns // size)
        if self.window is None:
            return permuted(turns % size, size, keys)
        # Whole blocks change places. The last one may be short: rows past the end walk on until they are in.
        blocks, row = -(-size // BLOCK), turns % size
        outside = np.ones(len(row), np.bool_)
        while outside.any():
            moved = permuted(row[outside] // BLOCK, blocks[outside], keys[outside])
            row[outside] = moved * BLOCK + row[outside] % BLOCK
            outside = row >= size
        return row

    def substitute(self, epoch: int, position: int, attempt: int) -> tuple[int, int]:
        """As :meth:`Order.substitute`."""
        sets, _ = self.draw(epoch, np.array([position]))
        return _substitute(self.seed, self.sizes, int(sets[0]), epoch, position, attempt)


def published_shuffle(size: int) -> Integers:
    """The order that SMPLer-X's loaders give their list under ``balance``: int64 (size,).

    Python's own shuffle, a second for a million rows.
    """
    order = list(range(size))
    random.Random(PUBLISHED_SEED).shuffle(order)  # noqa: S311 # to reproduce, not to hide
    return np.array(order, np.int64)


def published_items(
    sizes: Sequence[int], total: int, indices: Integers, chance: npt.NDArray[np.float64]
) -> tuple[Integers, Integers]:
    """Set and item at each index of SMPLer-X's ``balance`` of ``total`` samples.

    Each of n sets has ``total // n`` indices in a row: it is gone through from the start, as often as it fits
    whole, and the rest are random items. What is left of the total falls to random sets. (Its ``longest`` is
    this with ``total`` = n times the longest set.)

    Args:
        sizes: items of each set.
        total: samples of an epoch.
        indices: (N,) within 0 ... total - 1.
        chance: (N, 2) in [0, 1): what chooses the set and the item where they are random.
    """
    size, share = np.asarray(sizes, np.int64), total // len(sizes)
    if share == 0:
        raise UsageError(f"balance-smplerx: {total} samples are fewer than the {len(sizes)} sets")
    sets, turn = indices // share, indices % share
    left = sets >= len(sizes)
    sets = np.where(left, (chance[:, 0] * len(sizes)).astype(np.int64), sets)
    length = size[sets]
    at_random = (length < share) & (turn >= length * (share // length))
    # A set that is longer than its share gives its first items only, and so does a set drawn at random.
    return sets, np.where(at_random, (chance[:, 1] * length).astype(np.int64), turn % length)


@dataclass(frozen=True)
class PublishedBalance:
    """SMPLer-X's ``balance``: :func:`published_items` of lists shuffled once, in a new order every epoch.

    Attributes:
        sizes: rows of each set, at least 1.
        epoch_size: samples of an epoch.
        seed: of the run.
    """

    sizes: tuple[int, ...]
    epoch_size: int
    seed: int

    @cached_property
    def _lists(self) -> list[Integers]:
        share = self.epoch_size // len(self.sizes)
        # Nothing beyond the share is ever asked for.
        return [published_shuffle(size)[: max(share, len(self.sizes))] for size in self.sizes]

    def draw(self, epoch: int, positions: Integers) -> tuple[Integers, Integers]:
        """As :meth:`Order.draw`."""
        size = np.full(len(positions), self.epoch_size, np.int64)
        indices = permuted(positions, size, np.repeat(stream(self.seed, _POSITIONS, epoch), len(positions)))
        chance = uniforms(stream(self.seed, _ITEMS, epoch, indices), 2)
        sets, items = published_items(self.sizes, self.epoch_size, indices, chance)
        rows = [int(self._lists[number][item]) for number, item in zip(sets, items, strict=True)]
        return sets, np.array(rows, np.int64)

    def substitute(self, epoch: int, position: int, attempt: int) -> tuple[int, int]:
        """As :meth:`Order.substitute`."""
        sets, _ = self.draw(epoch, np.array([position]))
        return _substitute(self.seed, self.sizes, int(sets[0]), epoch, position, attempt)


def _substitute(
    seed: int, sizes: Sequence[int], number: int, epoch: int, position: int, attempt: int
) -> tuple[int, int]:
    chance = uniforms(stream(seed, _SUBSTITUTES, epoch, position, attempt), 1)
    return number, int(chance[0, 0] * sizes[number])


def make_order(
    strategy: str,
    sizes: Sequence[int],
    *,
    seed: int,
    epoch_size: int | None = None,
    weights: Sequence[float] | None = None,
    block: bool = False,
) -> Order:
    """The order of a strategy.

    Args:
        strategy: of :data:`STRATEGIES`.
        sizes: rows of each set, at least 1.
        seed: of the run.
        epoch_size: samples of an epoch; default: the rows of all sets together. ``concat`` has no other.
        weights: of each set, above 0, for ``weights``.
        block: read :data:`BLOCK` consecutive rows at about the same time, shuffled within :data:`WINDOW`
            samples: for images on a network store. Not for ``balance-smplerx``, which is as it was.

    Raises:
        UsageError: for an unknown strategy, an empty set, or arguments that do not go with the strategy.
    """
    if strategy not in STRATEGIES:
        hint = nearest(strategy, STRATEGIES)
        raise UsageError(f"data strategy {strategy!r}{hint}: expected one of {', '.join(STRATEGIES)}")
    if not sizes or min(sizes) < 1:
        raise UsageError(f"data strategy {strategy}: expected sets of one row or more, found {list(sizes)}")
    _check_weights(strategy, sizes, weights)
    total = sum(sizes) if epoch_size is None else epoch_size
    if total < len(sizes) or (strategy == "concat" and total != sum(sizes)):
        wanted = f"{sum(sizes)}, every row once" if strategy == "concat" else f"at least {len(sizes)}"
        raise UsageError(f"data strategy {strategy}: epoch_size is {total}, expected {wanted}")
    if strategy == "balance-smplerx":
        if block:
            raise UsageError("balance-smplerx reads at random, as published; block shuffling needs balance")
        return PublishedBalance(tuple(sizes), total, seed)
    even = [1.0] * len(sizes)
    shares = tuple(sizes) if strategy == "concat" else quotas(sizes, total, weights or even)
    return Quotas(tuple(sizes), shares, seed, WINDOW if block else None)


def _check_weights(strategy: str, sizes: Sequence[int], weights: Sequence[float] | None) -> None:
    if weights is None:
        if strategy == "weights":
            raise UsageError("data strategy weights: expected a weight for each set, found none")
        return
    if strategy != "weights" and len(set(weights)) > 1:
        raise UsageError(f"data strategy {strategy} takes no weights; use the strategy weights")
    if len(weights) != len(sizes) or not all(0 < weight < float("inf") for weight in weights):
        raise UsageError(f"expected {len(sizes)} finite weights above 0, found {list(weights)}")
