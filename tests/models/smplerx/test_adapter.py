from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hmtools.bodies.hands import relative_hand
from hmtools.bodies.params import BodyParams
from hmtools.core.errors import GeometryError, UsageError
from hmtools.geometry.camera import box_intrinsics
from hmtools.geometry.crop import apply_affine, crop_affine, invert_affine
from hmtools.geometry.projection import project
from hmtools.humandata.keypoints import mapping
from hmtools.models.smplerx.adapter import Predicted, predicted
from hmtools.models.smplerx.model import SmplerX
from hmtools.models.smplerx.outputs import Prediction
from tests.models.smplerx import networks

BOXES = np.array(  # x, y, w, h, as cut out: inside the image, leaving it, tiny and far right, of a 4K image
    [[10.0, 20, 150, 200], [-80.5, -40.25, 300, 400], [3700.0, 2000, 30, 40], [700.0, 100, 1500, 2000]]
)


def affines(**options: Any) -> np.ndarray:
    """How the crops of :data:`BOXES` are made."""
    crops = [crop_affine(box[:2] + box[2:] / 2, box[2:], (384, 512), **options) for box in BOXES]
    return np.stack(crops)


@pytest.fixture(scope="module")
def network(golden: Path) -> SmplerX:
    """A tiny one with weights of the figures, whose hands are bent."""
    return networks.network("tiny", networks.body_layer(golden), 1, posed=True)


@pytest.fixture(scope="module")
def said(network: SmplerX) -> Prediction:
    """What it says to four crops."""
    return network.predict(networks.inputs.image(1, 4, 4))


@pytest.fixture(scope="module")
def people(network: SmplerX, said: Prediction) -> Predicted:
    """The same, in four images."""
    return adapted(network, said, affines(convention="corners"))


def adapted(network: SmplerX, said: Prediction, crops: Any) -> Predicted:
    assert network.body is not None
    return predicted(said, crops, network.body.hand_means, image_size=network.image_size)


def test_hands_are_absolute(network: SmplerX, said: Prediction, people: Predicted) -> None:
    assert network.body is not None
    for side, absolute, relative in (
        ("left", people.smplx_left_hand_pose, said.left_hand_pose),
        ("right", people.smplx_right_hand_pose, said.right_hand_pose),
    ):
        back = relative_hand(absolute.numpy(), network.body.layer.model, side)  # type: ignore[arg-type]
        np.testing.assert_allclose(back, relative.numpy(), atol=1e-6)
        assert (absolute - relative).abs().max() > 0.05


def test_the_body_layer_makes_the_same_body_of_it(network: SmplerX, people: Predicted) -> None:
    assert network.body is not None
    names = [name for name in Predicted.__slots__ if name.startswith("smplx_")]
    assert len(names) == 10
    params = BodyParams(**{name.removeprefix("smplx_"): getattr(people, name) for name in names})
    with torch.no_grad():
        made = network.body.layer(params)
    assert made.convention == people.convention
    torch.testing.assert_close(made.joints, people.joints3d, atol=2e-5, rtol=0)
    torch.testing.assert_close(made.vertices, people.vertices, atol=2e-5, rtol=0)


@pytest.mark.parametrize("rule", ["corners", "centres"])
def test_full_image_camera_sees_what_the_crop_camera_sees(
    rule: str, network: SmplerX, said: Prediction
) -> None:
    crops = affines(convention=rule)
    found = adapted(network, said, crops)
    assert said.transl[:, 2].min() > 1
    cameras = (found.focal_length[:, None].double(), found.principal_point[:, None].double())
    whole = project(found.joints3d.double(), *cameras).numpy()
    # The crop's camera and the affine, each by itself, in float64.
    points = said.joints_144.double().numpy()
    for person, affine in enumerate(crops):
        for seen, nearer in ((whole, 0.0), (found.joints2d.numpy(), 1e-4)):
            in_crop = points[person, :, :2] / (points[person, :, 2:] + nearer) * 10000 + [192, 256]
            back = apply_affine(invert_affine(affine), in_crop)
            np.testing.assert_allclose(seen[person], back, atol=0.01, rtol=0)
    np.testing.assert_allclose(found.crop_affine.numpy(), crops, rtol=1e-6)
    assert torch.equal(found.virtual_transl, said.transl)


def test_camera_is_the_published_one(people: Predicted) -> None:
    focal, principal = box_intrinsics(BOXES)
    np.testing.assert_allclose(people.focal_length.numpy(), focal, rtol=1e-6)
    np.testing.assert_allclose(people.principal_point.numpy(), principal, rtol=1e-6)
    x, y, w, h = BOXES[0]
    assert people.focal_length[0].tolist() == pytest.approx([5000 / 192 * w, 5000 / 256 * h])
    assert people.principal_point[0].tolist() == pytest.approx([96 / 192 * w + x, 128 / 256 * h + y])


def test_joints_are_in_the_order_they_say(said: Prediction, people: Predicted) -> None:
    order = mapping(people.convention, "smplerx_137").src.copy()
    affine = torch.from_numpy(affines(convention="corners")).float()
    in_crop = (people.joints2d @ affine[:, :, :2].mT + affine[:, None, :, 2])[:, order]
    torch.testing.assert_close(in_crop, said.projected * 32, atol=0.1, rtol=1e-4)


def test_other_image_sizes_have_another_middle(network: SmplerX) -> None:
    assert network.body is not None
    small = networks.network("tiny", network.body.layer, 1, posed=True, image_size=(128, 96))
    box = BOXES[0]
    crop = crop_affine(box[:2] + box[2:] / 2, box[2:], (192, 256), convention="corners")
    found = adapted(small, small.predict(torch.rand(1, 3, 256, 192)), crop[None])
    seen = project(found.joints3d, found.focal_length[:, None], found.principal_point[:, None])
    torch.testing.assert_close(seen, found.joints2d, atol=0.01, rtol=0)


def test_tensors_of_affines_are_taken(network: SmplerX, said: Prediction, people: Predicted) -> None:
    crops = torch.from_numpy(affines(convention="corners"))
    again = adapted(network, replace(said, vertices=None), crops)
    assert torch.equal(again.joints2d, people.joints2d)
    assert again.vertices is None


def test_crops_that_no_camera_sees_are_refused(network: SmplerX, said: Prediction) -> None:
    for options in ({"rotation": 10.0}, {"flip": True}):
        with pytest.raises(GeometryError, match="only scales and shifts"):
            adapted(network, said, affines(**options))
    unknown = affines()
    unknown[1, 0, 2] = np.nan
    with pytest.raises(GeometryError, match="not finite for 1 people"):
        adapted(network, said, unknown)
    with pytest.raises(UsageError, match=r"expected \(4, 2, 3\), one per person, got \(2, 3\)"):
        adapted(network, said, affines()[0])
