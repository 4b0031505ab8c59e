from __future__ import annotations

import numpy as np
import pytest

from hmtools.bodies.model import VERTICES
from hmtools.bodies.standin.density import BODY, DENSITIES, HANDS, HEAD, Density, region_of, wanted_size


@pytest.mark.parametrize("mesh", ["smpl", "smplx"])
def test_counts_add_up(mesh: str) -> None:
    density = DENSITIES[mesh]
    total = sum(density.counts) + 2 * density.eyeball
    assert total == {"smpl": VERTICES["smpl"], "smplx": VERTICES["smplx"]}[mesh]
    assert density.counts[HANDS] >= 2 * 778


def test_smplx_has_room_for_flame() -> None:
    assert DENSITIES["smplx"].counts[HEAD] + 2 * DENSITIES["smplx"].eyeball >= 5023


def test_regions() -> None:
    points = np.array([[0.85, 1.39, 0.0], [0.0, 1.65, 0.05], [0.03, 1.2, 0.1], [0.3, 1.47, 0.0]])
    assert region_of(points).tolist() == [HANDS, HEAD, BODY, BODY]


def test_a_spot_is_finest_in_its_middle() -> None:
    size = wanted_size(Density((1, 1, 1), 0, ((0.0, 1.0, 0.0, 0.1, 0.5),)))
    away = np.array([0.0, 0.03, 0.06, 0.1, 0.2])
    wanted = size(np.stack([away, np.full(5, 1.0), np.zeros(5)], 1))
    assert wanted[0] == pytest.approx(0.5)
    assert wanted[3:].tolist() == [1.0, 1.0]
    assert (np.diff(wanted[:4]) > 0).all()
