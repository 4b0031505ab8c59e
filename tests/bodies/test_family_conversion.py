"""Conversions between families on the stand-in: known answers, honest errors, and what must not matter."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hmtools.bodies.assets import load_array, standin_dir
from hmtools.bodies.family_conversion import BodyConverter, Conversion, convert_bodies
from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.model import FAMILIES, GENDERS, VERTICES, Family, Gender
from hmtools.bodies.params import POSE_PARTS, BodyParams
from hmtools.core.errors import AssetError, GeometryError, UsageError
from hmtools.geometry.rotation import axis_angle_to_matrix, geodesic_angle

PAIRS = [
    pytest.param(a, b, marks=[pytest.mark.slow] if (a, b) == ("smplh", "smplx") else [])
    for a in FAMILIES
    for b in FAMILIES
    if a != b
]


@cache
def roots() -> tuple[Path, ...]:
    return (standin_dir(),)


@cache
def layers(family: Family) -> BodyLayers:
    return BodyLayers(family, roots=roots())


@cache
def converter(source: Family, target: Family, **options: Any) -> BodyConverter:
    return BodyConverter(source, target, roots=roots(), **options)


def people(family: Family, count: int, *, face: float = 0.0, seed: int = 0) -> BodyParams:
    """Bent and turned bodies of various shapes, a few metres from the origin."""
    rng = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    parts = {name: 0.25 * noise(count, 3 * size) for name, size in POSE_PARTS[family].items()}
    parts["global_orient"] *= 4
    if family == "smpl":
        parts["body_pose"][:, 63:] *= 0.5  # its stiff hands
    for name in ("jaw_pose", "leye_pose", "reye_pose"):
        if name in parts:
            parts[name] *= face
    if face:
        parts["expression"] = face * noise(count, 10)
    return BodyParams(**parts, betas=noise(count, 10).clamp(-3, 3), transl=noise(count, 3))


def mesh(family: Family, params: BodyParams, genders: Any = "neutral") -> Tensor:
    with torch.no_grad():
        vertices = layers(family)(params, genders).vertices
    assert vertices is not None
    return vertices


def rotations(family: Family, params: BodyParams) -> Tensor:
    return layers(family).layer("neutral").rotations(params)


@pytest.mark.parametrize("family", ["smpl", "smplx"])
def test_own_family_gives_the_same_parameters(family: Family) -> None:
    source = people(family, 3, face=1.0 if family == "smplx" else 0.0)
    found = converter(family, family)(source)
    assert found.params.given().keys() == source.given().keys()
    assert geodesic_angle(rotations(family, found.params), rotations(family, source)).max() < 1e-4
    for name in ("betas", "transl", "expression"):
        if name in source.given():
            assert (found.params.given()[name] - source.given()[name]).abs().max() < 1e-4
    assert found.error_max.max() < 5e-4
    assert not found.bounded.any()


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_is_near_and_says_how_near(source: Family, target: Family) -> None:
    bodies = people(source, 3, face=0.5 if source == "smplx" else 0.0)
    found = converter(source, target)(bodies)
    wanted = mesh(source, bodies)
    if VERTICES[source] != VERTICES[target]:
        key = "smpl_to_smplx" if target == "smplx" else "smplx_to_smpl"
        matrix = torch.as_tensor(load_array(key, roots=roots())[:, : VERTICES[source]].toarray()).float()
        wanted = matrix @ wanted
    away = (mesh(target, found.params) - wanted).norm(dim=-1)
    assert torch.allclose(found.error_mean, away.mean(1), atol=1e-6)
    assert torch.allclose(found.error_max, away.amax(1), atol=1e-6)
    assert found.error_mean.max() < 0.006
    assert found.params.check(target) is found.params
    assert all(value.dtype == torch.float32 for value in found.params.given().values())


def test_there_and_back() -> None:
    source = people("smpl", 4)
    there = converter("smpl", "smplx")(source)
    back = converter("smplx", "smpl")(there.params)
    away = (mesh("smpl", back.params) - mesh("smpl", source)).norm(dim=-1)
    assert away.mean(1).max() < 0.008


def test_batches_do_not_matter() -> None:
    source = people("smpl", 5)
    together = convert_bodies(source, "smpl", "smplh", roots=roots(), batch=5)
    apart = convert_bodies(source, "smpl", "smplh", roots=roots(), batch=2)
    for name, value in together.params.given().items():
        assert (value - apart.params.given()[name]).abs().max() < 1e-5, name
    assert (together.error_mean - apart.error_mean).abs().max() < 1e-6
    again = convert_bodies(source, "smpl", "smplh", roots=roots(), batch=5)
    assert all(torch.equal(v, again.params.given()[name]) for name, v in together.params.given().items())


def test_absurd_shapes_are_bounded_and_marked() -> None:
    source = people("smpl", 3)
    assert source.betas is not None
    source = replace(source, betas=source.betas * torch.tensor([[1.0], [30.0], [1.0]]))
    found = converter("smpl", "smplx")(source)
    assert found.params.betas is not None
    assert found.params.betas.abs().max() <= 5
    assert found.bounded.tolist() == [False, True, False]
    assert found.error_mean[1] > 0.01
    tight = converter("smpl", "smplh", max_beta=0.2)(source).params.betas
    assert tight is not None
    assert tight.abs().max() <= 0.2 + 1e-6


def test_one_person_has_one_shape() -> None:
    source = people("smpl", 4)
    assert source.betas is not None
    source = replace(source, betas=source.betas[:1])
    found = converter("smpl", "smplh", batch=3)(source, one_shape=True)
    betas = found.params.betas
    assert betas is not None
    assert betas.shape == (4, 10)
    assert torch.equal(betas, betas[:1].expand(4, 10))
    assert found.error_mean.max() < 0.006


def test_a_turned_and_moved_body_is_the_same_body() -> None:
    source = people("smplx", 2)
    still = replace(source, global_orient=torch.zeros(2, 3), transl=torch.zeros(2, 3))
    tool = converter("smplx", "smpl")
    one, other = tool(source).params, tool(still).params
    assert one.betas is not None
    assert other.betas is not None
    assert source.transl is not None
    assert source.global_orient is not None
    assert (one.betas - other.betas).abs().max() < 0.01
    turned = replace(other, global_orient=one.global_orient)
    assert geodesic_angle(rotations("smpl", turned), rotations("smpl", one)).max() < 5e-3
    root = axis_angle_to_matrix(source.global_orient)
    pelvis = layers("smplx").rest_pelvis(still)[:, None]
    moved = (mesh("smpl", other) - pelvis) @ root.mT + pelvis + source.transl[:, None]
    assert (mesh("smpl", one) - moved).norm(dim=-1).max() < 2e-3


def test_fingers_and_face_leave_body_and_shape_alone() -> None:
    plain = people("smplx", 2)
    rng = torch.Generator().manual_seed(5)
    fist = torch.zeros(2, 15, 3)
    fist[:, :12, 2] = 1.2  # curled, the thumb left
    busy = replace(
        plain,
        left_hand_pose=-fist.flatten(1),
        right_hand_pose=fist.flatten(1),
        jaw_pose=torch.tensor([[0.4, 0.0, 0.0]]).expand(2, 3),
        expression=2 * torch.randn(2, 10, generator=rng),
    )
    tool = converter("smplx", "smpl")
    one, other = tool(plain), tool(busy)
    turned = geodesic_angle(rotations("smpl", one.params), rotations("smpl", other.params))
    assert turned[:, :22].max() < 1e-5
    assert turned[:, 22:].min() > 0.2  # the stiff hands follow the fingers
    assert one.params.betas is not None
    assert other.params.betas is not None
    assert (one.params.betas - other.params.betas).abs().max() < 1e-5
    assert (other.error_mean > one.error_mean).all()  # but the error tells what is lost
    face = replace(plain, jaw_pose=busy.jaw_pose, expression=busy.expression)
    for name, value in tool(face).params.given().items():
        assert torch.equal(value, one.params.given()[name])


def test_the_shape_of_fingers_at_rest_does_not_tilt_the_wrist(monkeypatch: pytest.MonkeyPatch) -> None:
    source, tool = people("smplx", 2), converter("smplx", "smpl")
    one = tool(source).params
    weights = layers("smpl").layer("neutral").surface.weights
    fingers, transfer = weights[:, 22:].sum(1) > 0.999, tool._transfer

    def other_fingers(vertices: Tensor) -> Tensor:
        return transfer(vertices) + 0.03 * fingers[:, None]

    monkeypatch.setattr(tool, "_transfer", other_fingers)
    other = tool(source).params
    turned = geodesic_angle(rotations("smpl", one), rotations("smpl", other))
    assert turned[:, :22].max() < 1e-3
    assert turned[:, 22:].min() > 0.1


def test_fingers_go_along_where_both_have_them() -> None:
    source = people("smplx", 2)
    found = converter("smplx", "smplh")(source)
    angle = geodesic_angle(rotations("smplh", found.params)[:, 22:], rotations("smplx", source)[:, 25:])
    assert angle.mean() < 0.15
    bare = converter("smplx", "smplh")(replace(source, left_hand_pose=None, right_hand_pose=None))
    assert rotations("smplh", bare.params)[:, 22:].sub(torch.eye(3)).abs().max() < 0.3


def test_genders() -> None:
    source = people("smpl", 4)
    genders: tuple[Gender, ...] = ("male", "neutral", "female", "male")
    found = converter("smpl", "smplh")(source, genders)
    assert found.genders == genders
    away = (mesh("smplh", found.params, genders) - mesh("smpl", source, genders)).norm(dim=-1).mean(1)
    assert torch.allclose(found.error_mean, away, atol=1e-6)
    neutral = converter("smpl", "smpl")(source, genders, target_gender="neutral")
    assert neutral.genders == ("neutral",) * 4
    away = (mesh("smpl", neutral.params) - mesh("smpl", source, genders)).norm(dim=-1).mean(1)
    assert torch.allclose(neutral.error_mean, away, atol=1e-6)
    assert neutral.error_mean.max() < 0.01
    assert neutral.error_mean[1] < 1e-6
    assert set(GENDERS) == set(genders)


def test_kids_stay_kids() -> None:
    source = replace(people("smpl", 2), kid=torch.tensor([0.0, 1.0]))
    found = converter("smpl", "smplx")(source)
    assert found.params.kid is not None
    assert found.params.kid.tolist() == [0, 1]
    assert found.error_mean.max() < 0.01
    into_smplh = converter("smpl", "smplh")(source)
    assert into_smplh.params.kid is None  # its file has no template of a child
    assert into_smplh.error_mean[1] > into_smplh.error_mean[0]


def test_other_layouts_of_the_same_bodies() -> None:
    source = people("smpl", 2)
    matrices = rotations("smpl", source).double()
    same = replace(source, global_orient=matrices[:, :1], body_pose=matrices[:, 1:])
    tool = converter("smpl", "smplh")
    one, other = tool(source).params.given(), tool(same).params.given()
    assert all((value - other[name]).abs().max() < 1e-4 for name, value in one.items())
    nobody = tool(BodyParams())
    assert nobody.error_mean.shape == (1,)


def test_an_empty_batch() -> None:
    found = converter("smpl", "smplx")(people("smpl", 0))
    assert found.error_mean.shape == (0,)
    assert found.genders == ()
    assert found.params.betas is not None
    assert found.params.betas.shape == (0, 10)


def test_progress() -> None:
    calls: list[tuple[int, int]] = []
    found = converter("smpl", "smpl", batch=2)(
        people("smpl", 5), progress=lambda done, count: calls.append((done, count))
    )
    assert isinstance(found, Conversion)
    assert calls == [(2, 5), (4, 5), (5, 5)]


def test_bad_input() -> None:
    tool, source = converter("smpl", "smplh"), people("smpl", 2)
    assert source.betas is not None
    broken = source.betas.clone()
    broken[1, 3] = float("nan")
    with pytest.raises(GeometryError, match=r"betas.*row 1"):
        tool(replace(source, betas=broken))
    broken[1, 3] = 3e38
    far = torch.full((2, 3), 3.4e38)
    with pytest.raises(GeometryError, match=r"row 1.*overflow"):
        tool(replace(source, betas=broken, transl=far))
    with pytest.raises(UsageError, match="gender"):
        tool(source, ("male",))
    with pytest.raises(UsageError, match="target_gender"):
        tool(source, ("male", "female"), one_shape=True)
    with pytest.raises(UsageError, match="jaw_pose"):
        tool(replace(source, jaw_pose=torch.zeros(2, 3)))
    with pytest.raises(UsageError, match="max_beta"):
        BodyConverter("smpl", "smplh", max_beta=0)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="smpl2smplx"):
        convert_bodies(people("smpl", 1), "smpl", "smplx", roots=(tmp_path,))
    with pytest.raises(AssetError, match="SMPL_NEUTRAL"):
        convert_bodies(people("smpl", 1), "smpl", "smplh", roots=(tmp_path,))
