from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hmtools.core.errors import UsageError
from hmtools.viz import shade
from hmtools.viz.mesh import Camera, Mesh
from hmtools.viz.shade import Rendered, render
from tests.viz.meshes import sphere

CAMERA = Camera(focal_length=200, principal_point=(79.5, 59.5), width=160, height=120)
WHITE, RED = (255, 255, 255), (255, 0, 0)


def ball(x: float, y: float, z: float, colour: tuple[int, int, int] = WHITE, radius: float = 0.5) -> Mesh:
    vertices, faces = sphere(24, 32)
    return Mesh(vertices=radius * vertices + np.array([x, y, z]), faces=faces, colour=colour)


def square(z: float, half: float = 1.0, colour: tuple[int, int, int] = WHITE) -> Mesh:
    """Facing the camera."""
    vertices = np.array([[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]])
    return Mesh(vertices=vertices, faces=np.array([[0, 2, 1], [0, 3, 2]]), colour=colour)


def test_a_ball_has_the_depth_and_outline_of_a_ball() -> None:
    found = render([ball(0.2, -0.1, 3)], CAMERA)
    y, x = np.mgrid[:120, :160]
    ray = np.stack([(x - 79.5) / 200, (y - 59.5) / 200, np.ones_like(x)], axis=-1)
    along, centre = ray @ np.array([0.2, -0.1, 3]), 0.05 + 9
    root = along**2 - (ray**2).sum(axis=-1) * (centre - 0.25)
    near = (along - np.sqrt(np.maximum(root, 0))) / (ray**2).sum(axis=-1)
    assert (found.mask != (root > 0)).mean() < 0.003
    both = found.mask & (root > 0.02)
    assert both.sum() > 2000
    np.testing.assert_allclose(found.depth[both], near[both], atol=0.01)
    assert np.isinf(found.depth[~found.mask]).all()
    assert not found.rgb[~found.mask].any()
    np.testing.assert_array_equal(found.person, np.where(found.mask, 0, -1))
    np.testing.assert_array_equal(found.coverage, found.mask)


def test_types_and_shapes() -> None:
    found = render([ball(0, 0, 3)], CAMERA, supersampling=2)
    kinds = {name: str(getattr(found, name).dtype) for name in Rendered.__dataclass_fields__}
    assert kinds == {
        "rgb": "uint8",
        "mask": "bool",
        "depth": "float32",
        "person": "int16",
        "coverage": "float32",
    }
    assert found.rgb.shape == (120, 160, 3)


def test_light_comes_from_the_upper_left() -> None:
    rgb = render([ball(0, 0, 3)], CAMERA).rgb[..., 0].astype(float)
    assert rgb[45, 65] > rgb[59, 79] > rgb[72, 92] > 40


def test_facets_do_not_show() -> None:
    vertices, faces = sphere(8, 10)
    found = render([Mesh(vertices=0.5 * vertices + np.array([0, 0, 3]), faces=faces, colour=WHITE)], CAMERA)
    steps = np.abs(np.diff(found.rgb[..., 0].astype(int), axis=1))[found.mask[:, 1:] & found.mask[:, :-1]]
    assert np.percentile(steps, 99) < 20  # 48 when each face has one normal


def test_whoever_is_nearer_hides_the_other() -> None:
    near, far = ball(0.1, 0, 2.5, RED), ball(-0.1, 0, 3.5)
    a, b = render([near, far], CAMERA), render([far, near], CAMERA)
    alone = render([near], CAMERA)
    np.testing.assert_array_equal(a.person == 0, alone.mask)
    np.testing.assert_array_equal(b.person == 1, alone.mask)
    assert (a.person == 1).any()
    np.testing.assert_array_equal(a.rgb, b.rgb)
    np.testing.assert_array_equal(a.rgb[alone.mask], alone.rgb[alone.mask])
    assert (a.rgb[a.person == 0][:, 1:] == 0).all()


def test_the_inner_side_is_lit_but_darker() -> None:
    front = square(2.0)
    back = Mesh(vertices=front.vertices, faces=front.faces[:, ::-1], colour=WHITE)
    outer, inner = (render([mesh], CAMERA).rgb[60, 80, 0] for mesh in (front, back))
    assert 0.3 * outer < inner < 0.8 * outer


def test_somebody_around_the_camera_is_drawn() -> None:
    found = render([ball(0, 0.3, 0.2)], CAMERA)
    assert found.mask.all()
    assert found.depth.max() < 0.71
    half = render([ball(0.35, 0, 0.1, radius=0.33)], CAMERA)  # left of it is free
    assert half.mask.any()
    assert not half.mask[:, :80].any()


def test_supersampling_smooths_borders_and_nothing_else() -> None:
    meshes = [ball(0.03, 0.02, 2.5, RED), ball(-0.3, 0, 3.2)]
    plain, fine = render(meshes, CAMERA), render(meshes, CAMERA, supersampling=3)
    for name in ("mask", "depth", "person"):
        np.testing.assert_array_equal(getattr(fine, name), getattr(plain, name))
    assert ((fine.coverage > 0) & (fine.coverage < 1)).sum() > 100
    assert not ((fine.coverage == 0) & fine.mask).any()  # the middle one of 3 x 3 samples is the centre
    assert fine.coverage.sum() == pytest.approx(plain.mask.sum(), rel=0.005)
    whole = fine.coverage == 1
    assert np.abs(fine.rgb[whole].astype(int) - plain.rgb[whole]).mean() < 2
    border = (fine.coverage > 0) & (fine.coverage < 1) & plain.mask
    assert fine.rgb[border][:, 0].min() > 40  # colours are not mixed with the black beside


def test_samples_lie_evenly_in_their_pixel() -> None:
    # The border is at x = 10.25 of pixels that span 9.5 to 10.5: three quarters of one are covered.
    side = Mesh(
        vertices=np.array([[-9, -9, 1.0], [10.25, -9, 1], [10.25, 99, 1], [-9, 99, 1]]),
        faces=np.array([[0, 2, 1], [0, 3, 2]]),
    )
    camera = Camera(focal_length=1, principal_point=(0, 0), width=20, height=8)
    for samples in (2, 4):
        coverage = render([side], camera, supersampling=samples).coverage
        assert coverage[4, 9:12].tolist() == [1, {2: 0.5, 4: 0.75}[samples], 0]


def test_bands_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    meshes = [ball(0.1, 0.1, 2.5, RED), ball(-0.6, -0.4, 2.5)]
    whole = render(meshes, CAMERA, supersampling=2)
    monkeypatch.setattr(shade, "_SAMPLES_AT_ONCE", 1000)
    monkeypatch.setattr(shade, "_PIXELS_AT_ONCE", 77)
    parts = render(meshes, CAMERA, supersampling=2)
    for name in Rendered.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_the_same_bytes_every_time() -> None:
    meshes = [ball(0, 0, 2.5, RED), ball(-0.3, 0, 2.6)]
    a, b = (render(meshes, CAMERA, supersampling=2) for _ in range(2))
    for name in Rendered.__dataclass_fields__:
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes()


@pytest.mark.parametrize(
    "meshes",
    [
        [],
        [ball(0, 0, -3)],
        [ball(90, 0, 3)],
        [ball(0, 90, 3)],
        [ball(-90, 0, 3)],
        [ball(0, -90, 3)],
        [Mesh(vertices=np.full((3, 3), np.nan), faces=np.array([[0, 1, 2]]))],
    ],
)
@pytest.mark.parametrize("supersampling", [1, 2])
def test_nothing_in_view_is_an_empty_picture(meshes: Any, supersampling: int) -> None:
    found = render(meshes, CAMERA, supersampling=supersampling)
    assert not found.mask.any()
    assert not found.coverage.any()
    assert not found.rgb.any()
    assert (found.person == -1).all()


@pytest.mark.parametrize("samples", [0, 5])
def test_impossible_supersampling_is_refused(samples: int) -> None:
    with pytest.raises(UsageError, match="supersampling"):
        render([ball(0, 0, 3)], CAMERA, supersampling=samples)


def test_more_meshes_than_can_be_numbered_are_refused() -> None:
    with pytest.raises(UsageError, match="at most 32767"):
        render([square(2.0)] * 32768, CAMERA)
