from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.geometry.box import grow_to_aspect, sanitize_xywh, scale_xywh
from hmtools.models.smplerx.target_boxes import box_targets, grown_boxes, known_boxes
from hmtools.models.smplerx.target_joints import Augmentation
from tests.models.smplerx.target_people import HEIGHT, WIDTH, arrays, augmented, joined, person

BOX = [40.0, 50.0, 50.0, 30.0]  # xyxy 40, 50, 90, 80


def _augmentation(people: object) -> Augmentation:
    return Augmentation(**{name: getattr(people, name) for name in ("flip", "rotation", "crop_affine")})


@pytest.mark.parametrize("flip", [False, True])
def test_boxes_are_the_published_ones(flip: bool) -> None:
    data = arrays("preprocess.npz")
    people = augmented(person("ubody"), data["model_output/trans2bb"], flip, 0, mirrored=True)
    boxes = torch.tensor([[BOX, BOX, BOX]])
    centre, size, known = box_targets(boxes, torch.tensor([[True, True, False]]), _augmentation(people))
    wanted = torch.tensor(data[f"part_bbox/human_{int(flip)}"])[:4]
    found = torch.cat([centre - size / 2, centre + size / 2], dim=-1)[0, 0]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    missing = torch.tensor(data["part_bbox/human_none"])[:4]
    assert torch.equal(torch.cat([centre - size / 2, centre + size / 2], dim=-1)[0, 2], missing)
    assert known.tolist() == [[True, True, False]]


def test_left_and_right_change_places() -> None:
    boxes = torch.tensor([[BOX, [1.0, 2.0, 3.0, 4.0], BOX]])
    known = torch.tensor([[False, True, True]])
    affine = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0]]])
    own = Augmentation(flip=torch.tensor([False]), rotation=torch.zeros(1), crop_affine=affine)
    for flip, order in ((False, [0, 1, 2]), (True, [1, 0, 2])):
        centre, size, found = box_targets(boxes, known, replace(own, flip=torch.tensor([flip])))
        assert found[0, order].tolist() == [False, True, True]
        assert (centre[0, order[1]] * 32).tolist() == [2.5, 4.0]
        assert (size[0, order[1]] * 32).tolist() == pytest.approx([3.0, 4.0])


SIDE = st.floats(-50, 400, width=32)


@settings(max_examples=200, deadline=None)
@given(st.tuples(SIDE, SIDE, SIDE, SIDE))
def test_grown_boxes_are_those_of_the_geometry(box: tuple[float, float, float, float]) -> None:
    inside = sanitize_xywh(box, WIDTH, HEIGHT)
    size = (
        torch.tensor([float(WIDTH)], dtype=torch.float64),
        torch.tensor([float(HEIGHT)], dtype=torch.float64),
    )
    found, kept = grown_boxes(torch.tensor([[box]], dtype=torch.float64), *size)
    assert kept.item() == (inside is not None)
    if inside is not None:
        wanted = scale_xywh(grow_to_aspect(inside, 384 / 512), 1.2)
        np.testing.assert_allclose(found[0, 0].numpy(), wanted, rtol=1e-12, atol=1e-9)


def test_the_rule_says_which_boxes_count() -> None:
    boxes = {
        "lhand_bbox_xywh": [*BOX, 1.0],
        "rhand_bbox_xywh": [*BOX, 0.0],
        "face_bbox_xywh": [400.0, 50, 9, 9, 1],
    }
    found, known = known_boxes(joined([person(rule, **boxes) for rule in ("ubody", "humandata", "mpii")]))
    # Confidence 0 is no box; a box outside of the image is one only where nobody asks.
    assert known.tolist() == [[True, False, True], [True, False, False], [False, False, False]]
    assert found[0, 0].tolist() == BOX
    wanted = scale_xywh(grow_to_aspect([40.0, 50, 49, 29], 0.75), 1.2)
    np.testing.assert_allclose(found[1, 0].numpy(), wanted, rtol=1e-6)
    assert not found[2].any()


def test_a_missing_or_empty_box_is_unknown() -> None:
    boxes = {"lhand_bbox_xywh": [40.0, 50, 0, 30, 1], "rhand_bbox_xywh": [40.0, 50, np.nan, 30, 1]}
    found, known = known_boxes(person("ubody", **boxes))
    assert not known.any()
    assert torch.isfinite(found).all()
