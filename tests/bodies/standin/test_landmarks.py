from __future__ import annotations

from itertools import pairwise

import numpy as np

from hmtools.bodies.standin.anatomy import joint_names
from hmtools.bodies.standin.expressions import face_anchors
from hmtools.bodies.standin.landmarks import contour_yaw_deg, head_faces
from hmtools.humandata.conventions import CONVENTIONS
from tests.bodies.standin.from_files import Array, model, person

NAMES = CONVENTIONS["smplx_144"].names


def places() -> dict[str, Array]:
    entries = model("smplx")
    corners = person("smplx").vertices[person("smplx").faces[entries["lmk_faces_idx"]]]
    found = np.einsum("nk,nkc->nc", entries["lmk_bary_coords"], corners)
    return dict(zip(NAMES[76:127], found, strict=True))


def contour() -> Array:
    """(79, 17, 3) places in the frame of the head."""
    entries = model("smplx")
    corners = person("smplx").vertices[person("smplx").faces[entries["dynamic_lmk_faces_idx"]]]
    return np.asarray(np.einsum("rnk,rnkc->rnc", entries["dynamic_lmk_bary_coords"], corners))


def test_weights_are_barycentric() -> None:
    for key in ("lmk_bary_coords", "dynamic_lmk_bary_coords"):
        weights = model("smplx")[key]
        assert weights.min() >= 0.0
        assert np.abs(weights.sum(axis=-1) - 1.0).max() < 1e-9


def test_sides() -> None:
    for name, place in places().items():
        if name.startswith("left_"):
            mirror = places()[name.replace("left_", "right_")]
            assert place[0] > 0.003, name
            assert np.allclose(mirror, place * [-1.0, 1.0, 1.0], atol=2e-3), name
        elif not name.startswith("right_"):
            assert abs(place[0]) < 1e-6, name


def test_features() -> None:
    at, face = places(), face_anchors(person("smplx"))
    brows = [at[f"left_eyebrow_{k}"] for k in (1, 2, 3, 4, 5)]
    assert all(brow[1] > face["eye"][1] + 0.010 for brow in brows)
    assert [float(brow[0]) for brow in brows] == sorted((float(brow[0]) for brow in brows), reverse=True)
    bridge = [at[f"nosebridge_{k}"] for k in (1, 2, 3, 4)]
    assert all(a[1] > b[1] and a[2] < b[2] for a, b in pairwise(bridge))
    assert np.linalg.norm(bridge[3] - face["nose"]) < 0.010
    assert at["nosebridge_4"][1] > at["nose_middle"][1] > at["mouth_top"][1] > at["lip_top"][1]
    assert at["lip_top"][1] > at["lip_bottom"][1] > at["mouth_bottom"][1]
    assert at["left_nose_2"][0] > at["left_nose_1"][0]


def test_eyes_and_lips_are_rings() -> None:
    at, face = places(), face_anchors(person("smplx"))
    for k in range(1, 7):
        assert 0.004 < np.linalg.norm((at[f"left_eye_{k}"] - face["eye"])[:2]) < 0.018, k
    assert at["left_eye_1"][0] > at["left_eye_2"][0] > at["left_eye_3"][0] > at["left_eye_4"][0]
    for lid in (2, 3):
        assert at[f"left_eye_{lid}"][1] > face["eye"][1] > at[f"left_eye_{8 - lid}"][1]
    corner = at["left_mouth_1"]
    assert corner[0] > max(at[f"left_mouth_{k}"][0] for k in (2, 3, 4, 5))
    assert at["left_lip_1"][0] < corner[0]
    for upper, lower in (
        ("left_mouth_2", "left_mouth_5"),
        ("left_mouth_3", "left_mouth_4"),
        ("left_lip_2", "left_lip_3"),
    ):
        assert at[upper][1] > face["mouth"][1] > at[lower][1]


def test_landmarks_are_on_the_front_of_the_head() -> None:
    head = person("smplx").joints[joint_names("smplx").index("head")]
    assert min(place[2] for place in places().values()) > head[2] + 0.04
    allowed = set(head_faces(person("smplx")).tolist())
    for key in ("lmk_faces_idx", "dynamic_lmk_faces_idx"):
        assert set(model("smplx")[key].ravel().tolist()) <= allowed


def test_frontal_contour_runs_from_right_ear_over_chin_to_left_ear() -> None:
    line, ears = contour()[0], person("smplx").landmarks
    assert np.all(np.diff(line[:, 0]) > 0)
    assert np.all(np.diff(line[:9, 1]) < 0)
    assert np.all(np.diff(line[8:, 1]) > 0)
    assert abs(line[8, 0]) < 1e-6
    assert np.linalg.norm(line[0] - ears["right_ear"]) < 0.05
    assert np.linalg.norm(line[16] - ears["left_ear"]) < 0.05
    assert np.allclose(line[::-1] * [-1.0, 1.0, 1.0], line, atol=2e-3)
    assert line[8, 1] < face_anchors(person("smplx"))["mouth"][1] - 0.02


def seen(row: int) -> Array:
    """Contour as it looks from the front when the head is turned: horizontal coordinates, (17,)."""
    yaw = np.radians(contour_yaw_deg()[row])
    points = contour()[row]
    return np.asarray(points[:, 0] * np.cos(yaw) + points[:, 2] * np.sin(yaw))


def test_rows_are_the_ones_the_package_reads() -> None:
    yaw = contour_yaw_deg()
    for row in range(79):
        index = int(np.round(min(-yaw[row], 39)))  # as the package computes it from the turn in degrees
        assert (index if index >= 0 else 39 - index) == row


def test_far_side_moves_in_to_the_silhouette() -> None:
    frontal = contour()[0]
    for row, far in ((30, slice(0, 6)), (30 + 39, slice(11, 17))):
        near = slice(11, 17) if far.start == 0 else slice(0, 6)
        line = contour()[row]
        assert np.array_equal(line[near], frontal[near])
        assert np.all(line[far][:, 2] > frontal[far][:, 2] + 0.005)
    head = person("smplx").vertices[np.unique(person("smplx").faces[head_faces(person("smplx"))])]
    for row, side, column in ((39, -1.0, 2), (78, 1.0, 14)):
        yaw = np.radians(contour_yaw_deg()[row])
        height = contour()[row][column, 1]
        front = head[(np.abs(head[:, 1] - height) < 0.006) & (np.abs(head[:, 0]) < 0.06)]
        edge = (side * (front[:, 0] * np.cos(yaw) + front[:, 2] * np.sin(yaw))).max()
        assert side * seen(row)[column] > edge - 0.006


def test_contour_changes_smoothly_with_the_turn() -> None:
    order = np.argsort(contour_yaw_deg())
    steps = np.linalg.norm(np.diff(contour()[order], axis=0), axis=2)
    assert steps.max() < 0.03
    assert np.median(steps[steps > 0]) < 0.004


def test_every_gender_has_the_same_landmarks() -> None:
    for key in ("lmk_faces_idx", "lmk_bary_coords", "dynamic_lmk_faces_idx", "dynamic_lmk_bary_coords"):
        assert np.array_equal(model("smplx", "female")[key], model("smplx")[key])
