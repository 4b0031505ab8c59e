from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import UsageError
from hmtools.viz import mesh_overlay
from hmtools.viz.mesh import Camera, Mesh
from hmtools.viz.mesh_overlay import OPACITY, overlay_mesh
from hmtools.viz.overlay import COLOURS, draw_boxes, draw_skeleton
from hmtools.viz.shade import Rendered, render
from tests.viz.meshes import sphere

CAMERA = Camera(focal_length=200, principal_point=(79.5, 59.5), width=160, height=120)


def picture(supersampling: int = 1) -> Rendered:
    vertices, faces = sphere(12, 16)
    return render(
        [Mesh(vertices=0.5 * vertices + np.array([0, 0, 3]), faces=faces)],
        CAMERA,
        supersampling=supersampling,
    )


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1), st.sampled_from([1, 2]))
def test_it_blends_by_opacity_and_coverage(opacity: float, supersampling: int) -> None:
    image, rendered = noise(), picture(supersampling)
    before = image.copy()
    blended = overlay_mesh(image, rendered, opacity)
    np.testing.assert_array_equal(image, before)
    strength = (opacity * rendered.coverage)[..., None]
    expected = (1 - strength) * image + strength * rendered.rgb
    assert np.abs(blended - expected).max() <= 0.51
    free = rendered.coverage == 0
    np.testing.assert_array_equal(blended[free], image[free])


def test_default_opacity_lets_the_image_through() -> None:
    rendered = picture()
    dark, bright = (overlay_mesh(np.full((120, 160, 3), v, np.uint8), rendered) for v in (0, 200))
    difference = bright[rendered.mask].astype(int) - dark[rendered.mask]
    assert np.abs(difference - 200 * (1 - OPACITY)).max() <= 1


def test_bands_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = overlay_mesh(noise(), picture(2))
    monkeypatch.setattr(mesh_overlay, "_ROWS_AT_ONCE", 1)
    np.testing.assert_array_equal(overlay_mesh(noise(), picture(2)), whole)


def test_a_picture_of_nothing_changes_nothing() -> None:
    empty = render([], CAMERA)
    np.testing.assert_array_equal(overlay_mesh(noise(), empty), noise())


def test_skeleton_and_boxes_go_on_top() -> None:
    rendered = picture()
    keypoints = np.array([[80 + 3 * i, 60 + i, 1.0] for i in range(17)])
    meshed = overlay_mesh(noise(), rendered)
    drawn = draw_skeleton(draw_boxes(meshed, {"body": np.array([45, 25, 70, 70, 1.0])}), keypoints, "coco_17")
    changed = (drawn != meshed).any(axis=-1)
    assert changed[rendered.mask].any()
    assert (drawn[60, 45] == COLOURS["body"]).all()
    untouched = ~changed & rendered.mask
    np.testing.assert_array_equal(drawn[untouched], meshed[untouched])


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(UsageError, match="expected 160x120 pixels as rendered, found 100x120"):
        overlay_mesh(np.zeros((120, 100, 3), np.uint8), picture())


@pytest.mark.parametrize("opacity", [-0.1, 1.1, np.nan])
def test_impossible_opacities_are_refused(opacity: float) -> None:
    with pytest.raises(UsageError, match="opacity"):
        overlay_mesh(noise(), picture(), opacity)
