from __future__ import annotations

import pytest

from hmtools.core.errors import UsageError
from hmtools.models.sizes import SIZES, size_named


def test_heads_divide_the_width() -> None:
    for name, size in SIZES.items():
        assert size.name == name
        assert size.width % size.heads == 0


def test_unknown_sizes_are_named() -> None:
    assert size_named("h").depth == 32
    with pytest.raises(UsageError, match="known: tiny, s, b, l, h"):
        size_named("huge")
