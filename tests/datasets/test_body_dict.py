from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hmtools.datasets.body_dict import body_parts


def test_leading_dimensions_of_one_are_dropped_and_order_is_that_of_the_sizes() -> None:
    values = {"betas": np.ones((1, 11), np.float32), "transl": [[1, 2, 3]], "other": "text"}
    found = body_parts(values, {"transl": 3, "betas": (10, 11)})
    assert list(found) == ["transl", "betas"]
    assert found["transl"].tolist() == [1.0, 2.0, 3.0]
    assert found["betas"].shape == (11,)
    assert found["betas"].dtype == np.float64


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (np.zeros((2, 3)), ValueError, "transl: expected 6 numbers of one body, found shape (2, 3)"),
        (np.zeros(5), ValueError, "found shape (5,)"),
        (np.full(6, np.nan), ValueError, "NaN"),
        ("123456", TypeError, "expected numbers"),
        (np.array([None] * 6), TypeError, "expected numbers"),
        (np.ones(6, bool), TypeError, "expected numbers"),
    ],
)
def test_what_is_no_part_says_so(value: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        body_parts({"transl": value}, {"transl": 6})
    assert words in str(caught.value)


def test_a_missing_part_is_named() -> None:
    with pytest.raises(KeyError, match="betas"):
        body_parts({}, {"betas": 10})


def test_anything_but_a_dictionary_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a dictionary"):
        body_parts([1, 2], {"betas": 10})  # type: ignore[arg-type]
