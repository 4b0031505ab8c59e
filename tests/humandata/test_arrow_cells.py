from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from hmtools.core.errors import SchemaError
from hmtools.humandata.arrow_cells import column_values
from hmtools.humandata.table import fixed_size_lists

NUMBERS = hn.arrays(
    np.float32, hn.array_shapes(min_dims=2, max_dims=4, max_side=4), elements=st.floats(width=32)
)


@given(NUMBERS, st.data(), st.booleans())
def test_arrays_come_back(values: np.ndarray, data: st.DataObject, variable: bool) -> None:
    missing = np.array(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))))
    column = fixed_size_lists(values, missing)
    if variable:
        column = pa.array(column.to_pylist(), _lists(values.ndim - 1))
    padded = pa.concat_arrays([column, column])
    for cells in (column, padded.slice(len(values))):
        found = column_values(cells, "here")
        if missing.all():
            assert found is None
        else:
            assert found is not None
            assert found.dtype == np.float32
            assert np.array_equal(found[~missing], values[~missing], equal_nan=True)
            assert np.isnan(found[missing]).all()


def _lists(depth: int) -> pa.DataType:
    kind = pa.float32()
    for _ in range(depth):
        kind = pa.list_(kind)
    return kind


def test_scalars() -> None:
    assert column_values(pa.array([1, None], pa.int32()), "")[:].tolist() == [1, -1]  # type: ignore[index]
    assert column_values(pa.array([None, None], pa.int32()), "") is None
    texts = column_values(pa.array(["a", None]).dictionary_encode(), "")
    assert texts is not None
    assert texts.tolist() == ["a", None]
    numbers = column_values(pa.array([1e300, None]), "")
    assert numbers is not None
    assert np.isinf(numbers[0])
    assert np.isnan(numbers[1])
    flags = column_values(pa.array([True, None]), "")
    assert flags is not None
    assert flags.tolist() == [True, False]


@pytest.mark.parametrize(
    ("cells", "error"),
    [
        ([[1.0], [1.0, 2.0]], "different lengths, 1 to 2"),
        ([[[1.0], None]], "nulls inside"),
        ([["a"]], "expected text, numbers or arrays"),
        ([{"a": 1}], "expected text, numbers or arrays"),
    ],
)
def test_cells_of_no_use(cells: list[object], error: str) -> None:
    with pytest.raises(SchemaError, match=f"here: .*{error}"):
        column_values(pa.array(cells), "here")
