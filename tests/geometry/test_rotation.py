from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from scipy.spatial.transform import Rotation
from torch import Tensor

from hmtools.core.errors import GeometryError, UsageError
from hmtools.geometry.rotation import (
    LAYOUTS_6D,
    Layout6D,
    axis_angle_to_matrix,
    axis_angle_to_quaternion,
    geodesic_angle,
    matrix_to_axis_angle,
    matrix_to_quaternion,
    matrix_to_rotation_6d,
    nearest_rotation,
    quaternion_from_xyzw,
    quaternion_to_axis_angle,
    quaternion_to_matrix,
    quaternion_to_xyzw,
    rotation_6d_to_matrix,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "geometry"
WRONG = (UsageError, TypeCheckError)  # the second when annotations are checked at run time
PI = math.pi
ANGLES = (0.0, 1e-12, 1e-7, 1e-3, 0.2235, 0.2237, 1.0, 3.0, PI - 1e-3, PI - 1e-7, PI - 1e-12, PI)

units = st.integers(0, 2**32 - 1).map(
    lambda seed: torch.nn.functional.normalize(
        torch.randn(3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)), dim=0
    )
)
angles = st.one_of(st.sampled_from(ANGLES), st.floats(0, PI))
vectors = st.builds(lambda axis, angle: axis * angle, units, angles)


def golden(name: str) -> dict[str, Tensor]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def axes() -> Tensor:
    """Axes along, between and away from the coordinate axes, of both signs."""
    found = torch.tensor(
        [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, -1], [1, 1, 1], [3, -2, 5], [-1e-3, 1, 1e-9]],
        dtype=torch.float64,
    )
    return torch.nn.functional.normalize(torch.cat([found, -found]), dim=-1)


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=tolerance, rtol=0)


@pytest.mark.parametrize("angle", [*ANGLES, 4.0, 2 * PI - 1e-9, 2 * PI, 7.0, 100.0])
def test_axis_angle_against_scipy(angle: float) -> None:
    vector = axes() * angle
    reference = Rotation.from_rotvec(vector.numpy())
    close(axis_angle_to_matrix(vector), torch.from_numpy(reference.as_matrix()), 1e-12)
    found = quaternion_to_xyzw(axis_angle_to_quaternion(vector))
    expected = torch.from_numpy(reference.as_quat())
    close(found * (found * expected).sum(-1, keepdim=True).sign(), expected, 1e-12)
    close(quaternion_to_matrix(quaternion_from_xyzw(expected)), axis_angle_to_matrix(vector), 1e-12)


@pytest.mark.parametrize("angle", ANGLES)
def test_matrices_give_their_rotation_vector_back(angle: float) -> None:
    vector = axes() * angle
    found = matrix_to_axis_angle(axis_angle_to_matrix(vector))
    if angle == PI:  # both signs of the axis are right
        found = found * (found * vector).sum(-1, keepdim=True).sign()
    close(found, vector, 1e-12 if angle < 3.1 else 1e-9)
    assert found.norm(dim=-1).max() <= PI + 1e-15


@pytest.mark.parametrize("angle", ANGLES)
def test_single_precision(angle: float) -> None:
    vector = (axes() * angle).float()
    matrix = axis_angle_to_matrix(vector)
    assert matrix.dtype == torch.float32
    back = matrix_to_axis_angle(matrix)
    assert back.dtype == torch.float32
    back = back * (back * vector).sum(-1, keepdim=True).sign() if angle > 3.1415 else back
    close(back, vector, 2e-6)
    if 0 < angle < 1e-3:  # tiny angles are kept, not rounded to 0
        assert (back.norm(dim=-1) / angle - 1).abs().max() < 1e-5


def test_the_axis_at_pi_has_a_positive_largest_component() -> None:
    matrix = torch.diag(torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64))
    close(matrix_to_axis_angle(matrix), torch.tensor([0, PI, 0], dtype=torch.float64), 0)


@settings(max_examples=150, deadline=None)
@given(vectors)
def test_every_way_round_ends_where_it_began(vector: Tensor) -> None:
    matrix = axis_angle_to_matrix(vector)
    close(matrix @ matrix.T, torch.eye(3, dtype=torch.float64), 1e-14)
    assert torch.linalg.det(matrix) > 0
    quaternion = matrix_to_quaternion(matrix)
    assert quaternion[0] >= 0
    assert abs(quaternion.norm() - 1) < 1e-14
    close(quaternion_to_matrix(quaternion * 3.7), matrix, 1e-14)  # of any length, and of either sign
    close(quaternion_to_matrix(-quaternion), matrix, 1e-14)
    shortest = quaternion_to_axis_angle(-2.5 * quaternion)
    close(axis_angle_to_matrix(shortest), matrix, 1e-14)
    assert shortest.norm() <= PI + 1e-15
    close(axis_angle_to_matrix(matrix_to_axis_angle(matrix)), matrix, 1e-14)
    for layout in LAYOUTS_6D:
        numbers = matrix_to_rotation_6d(matrix, layout)
        close(rotation_6d_to_matrix(numbers, layout), matrix, 1e-14)
    assert quaternion_from_xyzw(quaternion_to_xyzw(quaternion)).equal(quaternion)


def test_large_angles_come_back_wrapped() -> None:
    vector = torch.tensor([[0.0, 0.0, 4.5]], dtype=torch.float64)
    found = matrix_to_axis_angle(axis_angle_to_matrix(vector))
    close(found, torch.tensor([[0.0, 0.0, 4.5 - 2 * PI]], dtype=torch.float64), 1e-14)


Function = Callable[[Tensor], Tensor]


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("function", [axis_angle_to_matrix, axis_angle_to_quaternion])
def test_gradients_from_axis_angle(function: Function, angle: float) -> None:
    vector = (axes()[[0, 4, 6]] * angle).requires_grad_()
    assert torch.autograd.gradcheck(function, (vector,), atol=1e-7)
    assert torch.autograd.gradgradcheck(function, (vector,), atol=1e-6)


@pytest.mark.parametrize("angle", [a for a in ANGLES if a < PI - 1e-6])
def test_gradients_through_the_logarithm(angle: float) -> None:
    """At pi itself the axis jumps, so finite differences stop short of it."""

    def there_and_back(vector: Tensor) -> Tensor:
        return matrix_to_axis_angle(axis_angle_to_matrix(vector))

    vector = (axes()[[0, 4, 6]] * angle).requires_grad_()
    assert torch.autograd.gradcheck(there_and_back, (vector,), eps=1e-7, atol=1e-6)
    assert torch.autograd.gradgradcheck(there_and_back, (vector,), eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("function", [matrix_to_axis_angle, matrix_to_quaternion])
@pytest.mark.parametrize("angle", [0.0, 1e-9, 1.0, PI - 1e-9, PI])
def test_gradients_of_the_logarithm_are_finite(function: Function, angle: float) -> None:
    matrix = axis_angle_to_matrix(axes() * angle).requires_grad_()
    (first,) = torch.autograd.grad(function(matrix).square().sum(), matrix, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), matrix)
    assert first.isfinite().all()
    assert second.isfinite().all()
    assert first.abs().max() < 100


@pytest.mark.parametrize("layout", LAYOUTS_6D)
def test_gradients_of_6d(layout: Layout6D) -> None:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(3, 6, dtype=torch.float64, generator=generator, requires_grad=True)

    def function(x: Tensor) -> Tensor:
        return rotation_6d_to_matrix(x, layout)

    assert torch.autograd.gradcheck(function, (numbers,))


def test_layouts_in_figures() -> None:
    matrix = torch.arange(9.0).reshape(3, 3)
    assert matrix_to_rotation_6d(matrix, "columns").tolist() == [0, 3, 6, 1, 4, 7]
    assert matrix_to_rotation_6d(matrix, "rows").tolist() == [0, 1, 2, 3, 4, 5]
    assert matrix_to_rotation_6d(matrix, "interleaved").tolist() == [0, 1, 3, 4, 6, 7]
    for layout, text in LAYOUTS_6D.items():  # the table says the same
        names = [f"R{i // 3}{i % 3}" for i in matrix_to_rotation_6d(matrix, layout).int().tolist()]
        assert text.startswith(" ".join(names))


def test_6d_of_smplerx() -> None:
    stored = golden("smplerx")
    numbers, expected = stored["rot6d_in"], stored["rot6d_out"]
    found = rotation_6d_to_matrix(numbers, "interleaved")
    proper = (torch.linalg.det(found) - 1).abs() < 1e-3
    assert (~proper).nonzero().flatten().tolist() == [64, 65]  # zero, and parallel columns
    close(found[proper], axis_angle_to_matrix(expected)[proper], 2e-6)
    for layout in ("columns", "rows"):
        assert (rotation_6d_to_matrix(numbers, layout) - axis_angle_to_matrix(expected)).abs().max() > 0.5


def test_rotations_of_hmr2() -> None:
    stored = golden("hmr2")
    close(rotation_6d_to_matrix(stored["x6"], "columns"), stored["x6_rotmat"], 1e-5)
    close(axis_angle_to_matrix(stored["aa"]), stored["aa_rotmat"], 1e-5)


def test_rotations_of_wham() -> None:
    stored = golden("wham")
    close(rotation_6d_to_matrix(stored["d6"], "rows"), stored["d6_matrix"], 1e-5)
    close(axis_angle_to_matrix(stored["aa"]), stored["aa_matrix"], 1e-5)
    close(axis_angle_to_matrix(stored["matrix_aa"]), axis_angle_to_matrix(stored["aa"]), 1e-5)
    close(matrix_to_rotation_6d(stored["aa_matrix"], "rows"), stored["matrix_d6"], 1e-6)
    quaternion = stored["matrix_quat"]
    for source in ("aa_matrix", "d6_matrix"):
        found = matrix_to_quaternion(stored[source])
        found = found * (found * quaternion).sum(-1, keepdim=True).sign()
        if (found - quaternion).abs().max() < 1e-5:
            break
    else:
        pytest.fail("neither set of matrices has these quaternions")


@settings(max_examples=100, deadline=None)
@given(vectors, vectors)
def test_geodesic_angle_is_the_angle_of_the_difference(one: Tensor, other: Tensor) -> None:
    first, second = axis_angle_to_matrix(one), axis_angle_to_matrix(other)
    expected = float(Rotation.from_matrix((first.T @ second).numpy()).magnitude())
    assert abs(geodesic_angle(first, second).item() - expected) < 1e-12
    assert abs(geodesic_angle(second, first).item() - expected) < 1e-12


@pytest.mark.parametrize("angle", ANGLES)
def test_geodesic_angle_is_accurate_at_both_ends(angle: float) -> None:
    one = axis_angle_to_matrix(axes().roll(3, 0) * 1.3)
    other = one @ axis_angle_to_matrix(axes() * angle)
    close(geodesic_angle(one, other), torch.full((16,), angle, dtype=torch.float64), 2e-15)
    same = one.clone().requires_grad_()
    geodesic_angle(same, one).sum().backward()  # type: ignore[no-untyped-call]
    assert same.grad is not None
    assert same.grad.isfinite().all()


def test_nearest_rotation() -> None:
    generator = torch.Generator().manual_seed(1)
    rotations = axis_angle_to_matrix(torch.randn(20, 3, dtype=torch.float64, generator=generator))
    close(nearest_rotation(rotations), rotations, 1e-14)
    stretch = torch.diag_embed(torch.rand(20, 3, dtype=torch.float64, generator=generator) + 0.1)
    symmetric = rotations.roll(1, 0) @ stretch @ rotations.roll(1, 0).mT
    close(nearest_rotation(rotations @ symmetric), rotations, 1e-13)
    found = nearest_rotation(torch.randn(200, 3, 3, dtype=torch.float64, generator=generator))
    close(torch.linalg.det(found), torch.ones(200, dtype=torch.float64), 1e-12)
    close(found @ found.mT, torch.eye(3, dtype=torch.float64).expand(200, 3, 3), 1e-12)
    singular = torch.zeros(2, 3, 3)
    singular[1, 0, 0] = 1
    found = nearest_rotation(singular)
    close(torch.linalg.det(found), torch.ones(2), 1e-6)
    mirror = nearest_rotation(torch.diag(torch.tensor([3.0, 2.0, -1.0])))
    close(mirror, torch.eye(3), 1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), vectors)
def test_no_rotation_is_nearer(seed: int, other: Tensor) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(3, 3, dtype=torch.float64, generator=generator)
    nearest = (nearest_rotation(matrix) - matrix).norm()
    assert nearest <= (axis_angle_to_matrix(other) - matrix).norm() + 1e-12


def test_gradients_of_nearest_rotation() -> None:
    generator = torch.Generator().manual_seed(2)
    matrices = torch.randn(6, 3, 3, dtype=torch.float64, generator=generator)
    rotations = axis_angle_to_matrix(matrices[:, 0])  # equal singular values, where the SVD has none
    assert (torch.linalg.det(matrices) < 0).any()
    for matrix in (matrices, rotations, torch.eye(3, dtype=torch.float64)):
        assert torch.autograd.gradcheck(nearest_rotation, (matrix.clone().requires_grad_(),))


def test_what_is_no_rotation() -> None:
    assert quaternion_to_axis_angle(torch.zeros(4)).isnan().all()
    assert quaternion_to_matrix(torch.zeros(4)).isnan().any()
    assert matrix_to_quaternion(torch.zeros(3, 3)).tolist() == [1, 0, 0, 0]
    assert axis_angle_to_matrix(torch.tensor([0, math.nan, 0])).isnan().any()
    parallel = rotation_6d_to_matrix(torch.tensor([1.0, 0, 0, 2, 0, 0]), "columns")
    assert torch.linalg.det(parallel) == 0
    bad = torch.eye(3).repeat(2, 2, 1, 1)
    bad[1, 0, 2, 1] = math.inf
    with pytest.raises(GeometryError, match=r"1 of 4 matrices .* \(1, 0\)"):
        nearest_rotation(bad)


def test_leading_axes_are_kept() -> None:
    vectors = torch.zeros(2, 0, 5, 3)
    assert axis_angle_to_matrix(vectors).shape == (2, 0, 5, 3, 3)
    assert matrix_to_axis_angle(axis_angle_to_matrix(vectors)).shape == vectors.shape
    assert matrix_to_rotation_6d(axis_angle_to_matrix(vectors), "rows").shape == (2, 0, 5, 6)
    assert axis_angle_to_matrix(torch.zeros(3)).equal(torch.eye(3))


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (axis_angle_to_matrix, (2, 4)),
        (axis_angle_to_quaternion, (6,)),
        (quaternion_to_matrix, (2, 3)),
        (quaternion_to_axis_angle, (2, 3)),
        (matrix_to_quaternion, (3, 4)),
        (matrix_to_axis_angle, (9,)),
        (nearest_rotation, (3, 2)),
        (lambda x: rotation_6d_to_matrix(x, "rows"), (3, 2)),
        (lambda x: matrix_to_rotation_6d(x, "rows"), (6,)),
    ],
)
def test_wrong_shapes_are_named(function: Function, shape: tuple[int, ...]) -> None:
    with pytest.raises(WRONG, match=r"expected a tensor of shape|Type-check error"):
        function(torch.zeros(shape))


def test_unknown_layouts_are_named() -> None:
    with pytest.raises(WRONG, match=r"unknown 6D layout 'column'; did you mean 'columns'|Type-check error"):
        rotation_6d_to_matrix(torch.zeros(6), "column")  # type: ignore[arg-type]
    with pytest.raises(WRONG, match=r"there are columns, rows, interleaved|Type-check error"):
        matrix_to_rotation_6d(torch.eye(3), "hmr2")  # type: ignore[arg-type]
