"""Stages in threads: order, overlap, errors, and that they end."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from hmtools.infer.stages import ahead


def alive(name: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == name]


def test_order_and_end() -> None:
    assert list(ahead((i for i in range(50)), 3, "numbers")) == list(range(50))
    assert not alive("numbers")


def test_two_stages_work_at_once() -> None:
    both = threading.Barrier(2, timeout=10)

    def first() -> Generator[int, None, None]:
        for number in range(3):
            yield number
            both.wait()  # only passes while the other one waits, too

    def second(items: Generator[int, None, None]) -> Generator[int, None, None]:
        for number in items:
            both.wait()
            yield number

    assert list(ahead(second(ahead(first(), 1, "first")), 1, "second")) == [0, 1, 2]


def test_no_more_than_agreed_is_made_ahead() -> None:
    made = []

    def numbers() -> Generator[int, None, None]:
        for number in range(100):
            made.append(number)
            yield number

    stage = ahead(numbers(), 2, "few")
    assert next(stage) == 0
    stage.close()
    assert len(made) <= 5
    assert not alive("few")


def test_an_error_comes_behind_the_items() -> None:
    def broken() -> Generator[int, None, None]:
        yield 1
        raise KeyError("gone")

    stage = ahead(broken(), 4, "broken")
    assert next(stage) == 1
    with pytest.raises(KeyError, match="gone"):
        next(stage)


def test_closing_the_last_stage_ends_all() -> None:
    ended = threading.Event()

    def endless() -> Generator[int, None, None]:
        try:
            while True:
                yield 1
        finally:
            ended.set()

    def same(items: Generator[int, None, None]) -> Generator[int, None, None]:
        try:
            yield from items
        finally:
            items.close()

    last = ahead(same(ahead(endless(), 1, "chain")), 1, "chain")
    next(last)
    last.close()
    assert ended.is_set()
    assert not alive("chain")
