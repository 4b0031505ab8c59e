"""Parameters: names, shapes, finite numbers, rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hmtools.bodies.model import FAMILIES, JOINTS, Family
from hmtools.bodies.params import BodyParams, pose_slices
from hmtools.core.errors import GeometryError, UsageError
from tests.bodies.bodies import random_body


@pytest.mark.parametrize("family", FAMILIES)
def test_pose_slices_cover_the_joints_in_order(family: Family) -> None:
    covered = [joint for where in pose_slices(family).values() for joint in range(where.start, where.stop)]
    assert covered == list(range(JOINTS[family]))


def test_of_takes_arrays_by_name_and_leaves_none_out() -> None:
    params = BodyParams.of({"betas": np.ones((2, 10)), "transl": None})
    assert params.transl is None
    assert params.betas is not None
    assert params.betas.dtype == torch.float32
    assert params.batch() == 2


def test_of_refuses_an_unknown_name_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"'global_orientation'.*did you mean 'global_orient'"):
        BodyParams.of({"global_orientation": np.zeros((1, 3))})


def test_select_keeps_what_is_given_once_for_all() -> None:
    params = BodyParams(betas=torch.ones(1, 10), transl=torch.arange(9.0).reshape(3, 3))
    chosen = params.select([2, 0])
    assert chosen.transl is not None
    assert chosen.transl[:, 0].tolist() == [6, 0]
    assert chosen.betas is params.betas


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_check_names_field_and_row(bad: float) -> None:
    params = random_body("smplx", 3)
    assert params.body_pose is not None
    params.body_pose[1, 5] = bad
    with pytest.raises(GeometryError, match=r"smplx body_pose: .* 1 of 3 rows, first in row 1"):
        params.check("smplx")


def test_check_of_nobody_finds_nothing() -> None:
    nobody = BodyParams(kid=torch.zeros(0), transl=torch.zeros(0, 3))
    assert nobody.check("smpl") is nobody


@pytest.mark.parametrize("family", FAMILIES)
def test_check_passes_what_fits(family: Family) -> None:
    params = random_body(family, 2)
    assert params.check(family) is params
