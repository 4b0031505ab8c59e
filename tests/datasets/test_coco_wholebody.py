"""The 133 joints and part boxes of an annotation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hmtools.datasets.coco_wholebody import part_boxes, wholebody_joints

_FIELDS = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}


def _annotation() -> dict[str, Any]:
    values = iter(np.arange(1.0, 300.0).tolist())
    rows: dict[str, Any] = {
        name: [next(values) if i % 3 < 2 else 1.0 for i in range(3 * count)]
        for name, count in _FIELDS.items()
    }
    for part in ("lefthand", "righthand", "face"):
        rows |= {f"{part}_box": [10.0, 20.0, 30.0, 40.0], f"{part}_valid": part != "face"}
    return rows


def test_joints_stand_in_the_official_order() -> None:
    annotation = _annotation()
    wanted = [v for name in _FIELDS for v in annotation[name]]
    np.testing.assert_array_equal(wholebody_joints(annotation).reshape(-1), wanted)


def test_boxes_say_whether_they_are_valid_and_have_an_area() -> None:
    annotation = _annotation() | {"righthand_box": [10.0, 20.0, 0.0, 40.0]}
    assert list(part_boxes(annotation)) == [
        ("lhand", True, [10.0, 20.0, 30.0, 40.0]),
        ("rhand", True, None),
        ("face", False, [10.0, 20.0, 30.0, 40.0]),
    ]


def test_a_missing_part_is_named() -> None:
    annotation = _annotation()
    del annotation["foot_kpts"]
    with pytest.raises(KeyError, match="foot_kpts"):
        wholebody_joints(annotation)
