from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hmtools.humandata.checks import BETAS_NORM, defect, health_counts, present_arrays
from hmtools.humandata.record import FAMILIES, Record, columns
from hmtools.humandata.schema import RecordSpec, cell_shape
from hmtools.humandata.table import normalise

SPEC = RecordSpec("mini", "val", "coco_17", "coco_17", FAMILIES)
FLOATS = [column for column in columns() if column.cell.startswith("f32")]


def person(**cells: Any) -> Record:
    """A flawless record of a 100 x 80 image, with some cells replaced."""
    given: dict[str, Any] = {"width": 100, "height": 80, "bbox_xywh": [10, 10, 20, 30, 1], **cells}
    return normalise(Record(**given), SPEC)


def health(**cells: Any) -> dict[str, int]:
    """The counts that are not zero, without ``records``."""
    found = health_counts(person(**cells))
    assert found.pop("records") == 1
    assert all(type(count) is int for count in found.values()), "the manifest is JSON"
    return {name: count for name, count in found.items() if count}


def test_a_flawless_record() -> None:
    assert defect(person()) is None
    assert health() == {}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", FLOATS, ids=lambda column: column.name)
def test_every_float_must_be_finite(column: Any, bad: float) -> None:
    shape = cell_shape(column, SPEC)
    if shape is None:
        cell: Any = bad
    else:
        cell = np.zeros(4 if shape == (-1,) else shape)
        cell[(-1,) * cell.ndim] = bad
    record = person(**{column.name: cell})
    assert column.name in present_arrays(record)
    assert defect(record) == f"not_finite:{column.name}"


def test_present_arrays_lists_what_is_filled() -> None:
    assert present_arrays(person(fps=30.0, gender="male", pose_valid=np.ones(55, bool))) == [
        "fps",
        "bbox_xywh",
    ]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"width": None}, "bad_size"),
        ({"height": None}, "bad_size"),
        ({"width": 0}, "bad_size"),
        ({"height": -5}, "bad_size"),
        ({"bbox_xywh": None}, "no_box"),
        ({"bbox_xywh": [10, 10, 0, 30, 1]}, "box_empty"),
        ({"bbox_xywh": [10, 10, 20, 0, 1]}, "box_empty"),
        ({"bbox_xywh": [10, 10, 20, -1, 1]}, "box_empty"),
        ({"bbox_xywh": [100, 10, 20, 30, 1]}, "box_outside"),
        ({"bbox_xywh": [-21, 10, 20, 30, 1]}, "box_outside"),
        ({"bbox_xywh": [10, 80, 20, 30, 1]}, "box_outside"),
        ({"bbox_xywh": [-19, -29, 20, 30, 1]}, None),  # a corner of it is inside
        ({"bbox_xywh": [-50, -50, 500, 500, 0]}, None),
        # the first reason wins
        ({"bbox_xywh": [np.nan, 10, 0, 30, 1], "width": None}, "not_finite:bbox_xywh"),
        ({"bbox_xywh": None, "width": None}, "bad_size"),
    ],
)
def test_defects(cells: dict[str, Any], reason: str | None) -> None:
    assert defect(person(**cells)) == reason


def joints(*points: tuple[float, float, float]) -> list[tuple[float, float, float]]:
    return [*points, *[(0.0, 0.0, 0.0)] * (17 - len(points))]


def extrinsics(rotation: Any) -> Any:
    return np.concatenate([np.asarray(rotation, np.float64), [[1.0], [2.0], [3.0]]], axis=1)


TURN = [[np.cos(0.3), -np.sin(0.3), 0], [np.sin(0.3), np.cos(0.3), 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"bbox_xywh": [0, 0, 100, 80, 1]}, {}),  # sets that count from pixel edges fill the image so
        ({"bbox_xywh": [-0.5, -0.5, 100, 80, 1]}, {}),
        ({"bbox_xywh": [-1, 10, 20, 30, 1]}, {"box_partly_outside": 1}),
        ({"bbox_xywh": [10, -1, 20, 30, 1]}, {"box_partly_outside": 1}),
        ({"bbox_xywh": [90, 10, 11, 30, 1]}, {"box_partly_outside": 1}),
        ({"bbox_xywh": [10, 60, 20, 21, 1]}, {"box_partly_outside": 1}),
        ({"lhand_bbox_xywh": [0, 0, 5, 5, 1]}, {}),
        ({"lhand_bbox_xywh": [200, 0, 5, 5, 1]}, {"lhand_bbox_xywh_outside": 1}),
        ({"rhand_bbox_xywh": [0, -9, 5, 5, 1]}, {"rhand_bbox_xywh_outside": 1}),
        ({"face_bbox_xywh": [0, 99, 5, 5, 1]}, {"face_bbox_xywh_outside": 1}),
        (
            {"keypoints2d_original": joints((5, 5, 1), (99.4, 79.4, 0.5), (-0.4, -0.4, 2))},
            {"keypoints_labelled": 3},
        ),
        (
            {
                "keypoints2d_original": joints(
                    (99.6, 5, 1), (5, 79.6, 1), (-0.6, 5, 1), (5, -0.6, 1), (5, 5, 1)
                )
            },
            {"keypoints_labelled": 5, "keypoints_outside": 4},
        ),
        ({"keypoints2d_original": joints((500, 500, 0))}, {"no_visible_keypoint": 1}),
        ({"smplx_betas": np.full(10, 15 / 10**0.5 * 0.999)}, {}),
        ({"smplx_betas": np.full(10, 15 / 10**0.5 * 1.001)}, {"betas_norm_over_15": 1}),
        ({"smpl_betas": np.full(10, -9.0), "smplh_betas": np.full(10, 9.0)}, {"betas_norm_over_15": 2}),
        ({"world_to_cam": extrinsics(TURN)}, {}),
        ({"world_to_cam": extrinsics(np.round(TURN, 4))}, {}),
        ({"world_to_cam": extrinsics(1.01 * np.eye(3))}, {"camera_not_orthonormal": 1}),
        ({"world_to_cam": extrinsics(np.zeros((3, 3)))}, {"camera_not_orthonormal": 1}),
        ({"world_to_cam": extrinsics([[1, 0.1, 0], [0, 1, 0], [0, 0, 1]])}, {"camera_not_orthonormal": 1}),
    ],
)
def test_health(cells: dict[str, Any], expected: dict[str, int]) -> None:
    assert BETAS_NORM == 15
    assert defect(person(**cells)) is None
    assert health(**cells) == expected


def test_health_adds_up_over_records() -> None:
    total = health_counts(person()) + health_counts(person(lhand_bbox_xywh=[200, 0, 5, 5, 1]))
    assert total == {"records": 2, "lhand_bbox_xywh_outside": 1}
