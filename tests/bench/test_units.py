from __future__ import annotations

import numpy as np
import pytest

from hmtools.bench.units import check_units
from hmtools.core.errors import SchemaError

BODY = np.random.default_rng(0).uniform(-0.9, 0.9, (9, 50, 3)).astype(np.float32) + np.float32(0.5)


@pytest.mark.parametrize("factor", [0.3, 1.0, 1.5])
def test_metres_pass(factor: float) -> None:
    check_units({"vertices": BODY * factor, "joints3d": BODY, "smplx_transl": BODY[:, 0]}, "here")


@pytest.mark.parametrize(
    ("factor", "unit"),
    [(1000, r"millimetres \(x1000\)"), (100, r"centimetres \(x100\)"), (10, "no unit"), (0.001, "no unit")],
)
@pytest.mark.parametrize("column", ["vertices", "joints3d"])
def test_other_units_are_named(factor: float, unit: str, column: str) -> None:
    with pytest.raises(SchemaError, match=f"here: {column}.*{unit}"):
        check_units({column: BODY * factor}, "here")


def test_far_bodies_and_degrees() -> None:
    with pytest.raises(SchemaError, match=r"smplx_transl.*2500 away.*metres"):
        check_units({"smplx_transl": np.tile([0.0, 0, 2500], (3, 1))}, "here")
    with pytest.raises(SchemaError, match=r"smpl_global_orient.*180.*degrees"):
        check_units({"smpl_global_orient": np.tile([180.0, 0, 0], (3, 1))}, "here")


def test_a_few_broken_ones_decide_nothing() -> None:
    broken = BODY.copy()
    broken[0], broken[1], broken[2, 0] = np.inf, 1e6, np.nan
    check_units({"vertices": broken, "smplx_transl": broken[:, 0]}, "here")
    check_units({"vertices": np.full((2, 5, 3), np.nan), "smplx_transl": np.full((2, 3), np.nan)}, "here")
