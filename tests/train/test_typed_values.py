"""Plain values become dataclasses, or every problem is listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from hmtools.train.typed_values import Count, NotNegative, Share, Whole, read_dataclass


@dataclass(frozen=True, kw_only=True)
class Inner:
    count: Count
    whole: Whole = 0


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner
    rows: tuple[Inner, ...] = ()
    size: tuple[int, int] = (1, 2)
    names: tuple[str, ...] = ()
    kind: Literal["a", "b"] = "a"
    rate: NotNegative = 0.5
    share: Share | None = None
    flag: bool = False
    texts: Mapping[str, str] = field(default_factory=dict)


def read(values: Any) -> tuple[Outer | None, list[str]]:
    problems: list[str] = []
    return read_dataclass(Outer, values, "", problems), problems


def test_values_take_their_types() -> None:
    values = {
        "inner": {"count": 3},
        "rows": [{"count": 1, "whole": 2}],
        "size": [5, 6],
        "names": ["x"],
        "rate": 2,
        "share": 1,
        "texts": {"a": "b"},
    }
    found, problems = read(values)
    assert not problems
    assert found == Outer(
        inner=Inner(count=3),
        rows=(Inner(count=1, whole=2),),
        size=(5, 6),
        names=("x",),
        rate=2.0,
        share=1.0,
        texts={"a": "b"},
    )
    assert type(found.rate) is float


def test_everything_wrong_is_listed_at_once() -> None:
    values = {"inner": {"cout": 1}, "rows": [{"count": 1}, {"count": 0}], "kinds": 1, "colour": 2, "rate": -1}
    found, problems = read(values)
    assert found is None
    assert problems == [
        "unknown key 'kinds'; did you mean 'kind'?",
        "unknown key 'colour' (known here: inner, rows, size, names, kind, rate, share, flag, texts)",
        "unknown key 'inner.cout'; did you mean 'count'?",
        "inner.count: is missing",
        "rows[1].count: expected at least 1, found 0",
        "rate: expected at least 0, found -1",
    ]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("inner", 3, "inner: expected a table, found 3"),
        ("inner", {"count": True}, "inner.count: expected a whole number, found True"),
        ("inner", {"count": 1.0}, "inner.count: expected a whole number, found 1.0"),
        ("rows", {"count": 1}, "rows: expected a list of tables, found {'count': 1}"),
        ("size", [1, 2, 3], "size: expected a list of 2 values, found [1, 2, 3]"),
        ("names", "x", "names: expected a list of values, found 'x'"),
        ("names", [1], "names: expected text, found [1]"),
        ("kind", "c", "kind: expected one of a, b, found 'c'"),
        ("rate", "fast", "rate: expected a number, found 'fast'"),
        ("rate", float("nan"), "rate: expected at least 0, found nan"),
        ("share", 1.5, "share: expected a number from 0 to 1, found 1.5"),
        ("flag", 1, "flag: expected true or false, found 1"),
        ("texts", {"a": 1}, "texts: expected a table of text, found {'a': 1}"),
    ],
)
def test_wrong_values(key: str, value: Any, expected: str) -> None:
    assert read({"inner": {"count": 1}, key: value}) == (None, [expected])
