"""Which people a page shows: worst, best, and those on whom two models differ most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hmtools.bench.samples import Samples
from hmtools.bench.summary import number
from hmtools.bench.versus import Pairing

__all__ = ["SHOWN", "Block", "Choice", "Drawer", "Person", "best_and_worst", "block", "differing", "ends"]

SHOWN = 24
"""Best, worst, and most different people of a run and test set."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One person that was chosen: its key, and (number of the run, error) of each run it is shown for."""

    key: str
    errors: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Person:
    """One tile: pictures as (words, data URI) and errors as (class of the run's colour, words)."""

    key: str
    pictures: tuple[tuple[str, str], ...]
    errors: tuple[tuple[str, str], ...]
    note: str


@dataclass(frozen=True, slots=True)
class Block:
    """Tiles under a heading.

    Attributes:
        title: of the block.
        pictures: whether any tile has one.
        wide: whether tiles hold three pictures.
        tiles: the people.
    """

    title: str
    pictures: bool
    wide: bool
    tiles: tuple[Person, ...]


Drawer = Callable[[Choice], tuple[tuple[tuple[str, str], ...], str]]
"""Draws a choice: its pictures as (words, data URI), and a remark where something could not be drawn."""


def ends(values: NDArray[np.floating], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows with the largest and with the smallest values, each from its extreme inwards, none in both.

    Args:
        values: (N,), NaN is in neither.
        count: at most so many of each.
    """
    there = np.flatnonzero(np.isfinite(values))
    order = there[np.argsort(values[there], kind="stable")]
    half = min(count, len(order) // 2)
    return order[::-1][: min(count, len(order) - half)], order[:half]


def best_and_worst(samples: Samples, metric: str, run: int) -> tuple[list[Choice], list[Choice]]:
    """The worst and the best :data:`SHOWN` samples of a run."""
    counted = np.where(samples.status == "excluded", np.float32(np.nan), samples.metrics[metric])
    worst, best = ends(counted, SHOWN)

    def chosen(rows: NDArray[np.int64]) -> list[Choice]:
        return [Choice(str(samples.key[row]), ((run, float(counted[row])),)) for row in rows]

    return chosen(worst), chosen(best)


def differing(samples: Samples, pairing: Pairing, runs: tuple[int, int]) -> tuple[list[Choice], list[Choice]]:
    """Samples where the second run is better by most, and where it is worse by most.

    Args:
        samples: of the first run.
        pairing: of both.
        runs: their numbers.
    """

    def chosen(places: NDArray[np.int64]) -> list[Choice]:
        return [
            Choice(
                str(samples.key[pairing.first[i]]),
                ((runs[0], float(pairing.a[i])), (runs[1], float(pairing.b[i]))),
            )
            for i in places
        ]

    better, worse = pairing.extremes(SHOWN // 2)
    return chosen(better), chosen(worse)


def block(
    title: str, choices: Sequence[Choice], looks: Sequence[str], unit: str, draw: Drawer | None
) -> Block:
    """A heading and the tiles of what was chosen.

    Args:
        title: of the block.
        choices: in their order.
        looks: class of each run's colour.
        unit: of the errors.
        draw: makes the pictures; None leaves keys and errors.
    """
    tiles = []
    for choice in choices:
        pictures, note = draw(choice) if draw is not None else ((), "")
        errors = tuple((looks[run], f"{number(error, unit)} {unit}") for run, error in choice.errors)
        tiles.append(Person(choice.key, pictures, errors, note))
    most = max((len(tile.pictures) for tile in tiles), default=0)
    return Block(title, most > 0, most > 2, tuple(tiles))
