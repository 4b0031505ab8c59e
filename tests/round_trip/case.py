"""What the round-trip suite needs to know of a dataset: how to make its miniature and break its converter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from hmtools.datasets.base import Dataset, Rejected
from hmtools.humandata.record import Record

__all__ = ["Case", "Mutation", "changed"]

Mutation = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One miniature and the rules it proves.

    Attributes:
        synth: arguments of ``make_miniature``: frames, people, size, splits, variant.
        mutations: rule -> what breaks it; the comparison must notice each.
        options: the set's own options for the conversion.
        pixels: mutations that can be seen in the pixels only.
        elsewhere: mutation -> the split that shows it, where that is not the first.
        every: sampling interval, where the set's own would leave nothing of a miniature.
    """

    synth: Mapping[str, Any]
    mutations: Mapping[str, Mutation]
    options: Mapping[str, str] = field(default_factory=dict)
    pixels: Sequence[str] = ()
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    every: int | None = None


def changed(kind: type[Dataset], change: Callable[[Record], None]) -> Mutation:
    """A mutation that spoils every record of a dataset after it was read."""

    def mutate(monkeypatch: pytest.MonkeyPatch) -> None:
        read = kind.read

        def spoiled(self: Dataset, *arguments: Any) -> Any:
            for found in read(self, *arguments):
                if not isinstance(found, Rejected):
                    change(found)
                yield found

        monkeypatch.setattr(kind, "read", spoiled)

    return mutate
