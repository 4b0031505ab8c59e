from __future__ import annotations

import pickle
import pickletools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from hmtools.bench.numpy1_pickle import dumps
from hmtools.core.safe_pickle import load_pickle

ARRAYS = hn.arrays(
    st.sampled_from([np.dtype(kind) for kind in ("<f4", ">f4", "f8", "i8", "u1", "i2")]),
    hn.array_shapes(min_dims=0, max_dims=4, max_side=5),
)


@given(ARRAYS, st.text(max_size=9), st.integers(-(2**31), 2**31 - 1), st.booleans(), st.floats())
def test_values_come_back(array: np.ndarray, text: str, whole: int, truth: bool, number: float) -> None:
    """By Python itself, and by our own reader. Only names that both NumPy 1 and 2 have are asked for."""
    data = dumps({"params": {"a": array}, text: whole, "truth": truth, "number": number})
    asked = {
        arg for _, arg, _ in pickletools.genops(data) if isinstance(arg, str) and arg.startswith("numpy")
    }
    assert asked <= {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype", text}
    for found in (pickle.loads(data), load_pickle(data)):
        again = found["params"]["a"]
        assert again.dtype == array.dtype.newbyteorder("<")
        assert again.shape == array.shape
        assert np.array_equal(again, array, equal_nan=array.dtype.kind == "f")
        assert found["truth"] is truth
        assert np.array_equal(found["number"], number, equal_nan=True)
        assert text in ("params", "truth", "number") or found[text] == whole


@pytest.mark.parametrize("value", [None, [1], np.array(["a"]), np.array([object()]), 2**31, {1: 2}])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="only"):
        dumps({"a": value})
