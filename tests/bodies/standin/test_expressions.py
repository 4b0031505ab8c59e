from __future__ import annotations

import numpy as np
import pytest

from hmtools.bodies.standin.anatomy import joint_names
from hmtools.bodies.standin.expressions import EXPRESSIONS, expression_directions, face_anchors, face_share
from hmtools.humandata.conventions import CONVENTIONS
from tests.bodies.standin.from_files import Array, flipped, model, person

NAMES = CONVENTIONS["smplx_144"].names[76:127]


def moves() -> Array:
    return np.asarray(model("smplx")["shapedirs"][:, :, 300:].astype(np.float64))


def landmark_moves(index: int) -> dict[str, Array]:
    corners = person("smplx").faces[model("smplx")["lmk_faces_idx"]]
    moved = np.einsum("nk,nkc->nc", model("smplx")["lmk_bary_coords"], moves()[corners, :, index])
    return dict(zip(NAMES, moved, strict=True))


def test_only_the_face_moves() -> None:
    names = joint_names("smplx")
    who = person("smplx")
    allowed = who.weights[:, [names.index("head"), names.index("jaw")]].sum(axis=1)
    moved = np.abs(moves()).max(axis=(1, 2)) > 0
    assert allowed[moved].min() > 0.84
    head = who.joints[names.index("head")]
    assert who.vertices[moved][:, 2].min() > head[2]  # nothing of ears, nape or crown
    eyes = who.weights[:, [names.index("left_eyeball"), names.index("right_eyeball")]].sum(axis=1) > 0.5
    assert eyes.sum() == 1092
    assert not moved[eyes].any()
    assert 500 < moved.sum() < 5023


def test_every_direction_moves_something_and_little() -> None:
    reach = np.linalg.norm(moves(), axis=1).max(axis=0)
    assert reach.shape == (100,)
    assert reach.min() > 0.0002
    assert reach.max() < 0.010


@pytest.mark.parametrize(
    ("name", "landmark", "axis", "sign"),
    [
        ("lips apart", "lip_top", 1, 1),
        ("lips apart", "lip_bottom", 1, -1),
        ("smile", "left_mouth_1", 0, 1),
        ("smile", "right_mouth_1", 0, -1),
        ("smile", "right_mouth_1", 1, 1),
        ("pucker", "left_mouth_1", 0, -1),
        ("pucker", "mouth_top", 2, 1),
        ("brows up", "right_eyebrow_3", 1, 1),
        ("frown", "left_eyebrow_5", 0, -1),
        ("frown", "left_eyebrow_5", 1, -1),
        ("lids down", "left_eye_2", 1, -1),
        ("mouth to the left", "right_mouth_1", 0, 1),
        ("mouth to the left", "left_mouth_1", 0, 1),
        ("lower lip out", "mouth_bottom", 2, 1),
        ("nose wrinkled", "left_nose_2", 1, 1),
    ],
)
def test_named_movements_go_where_they_say(name: str, landmark: str, axis: int, sign: int) -> None:
    moved = landmark_moves(list(EXPRESSIONS).index(name))
    assert sign * moved[landmark][axis] > 0.0008, moved[landmark]


def test_mouth_and_brows_do_not_disturb_each_other() -> None:
    for index, name in enumerate(EXPRESSIONS):
        moved = landmark_moves(index)
        brows = max(float(np.linalg.norm(v)) for k, v in moved.items() if "eyebrow" in k)
        mouth = max(float(np.linalg.norm(v)) for k, v in moved.items() if "mouth" in k or "lip" in k)
        if name in {"brows up", "frown", "lids down"}:
            assert mouth < 1e-4 < brows
        else:
            assert brows < 5e-4


def test_ordinary_expressions_turn_almost_no_face_inside_out() -> None:
    who = person("smplx")
    for index, name in enumerate(EXPRESSIONS):
        for value in (-1.0, 1.0):
            # lips pressed together overlap: that is all
            limit = 24 if name in {"lips apart", "lower lip out"} else 0
            count = flipped(who.vertices, who.vertices + value * moves()[:, :, index], who.faces)
            assert count <= limit, (name, value)


def test_share_is_between_nothing_and_all() -> None:
    share = face_share(person("smplx"))
    assert share.min() == 0.0
    assert share.max() == 1.0


def test_directions_serve_every_gender() -> None:
    assert np.array_equal(model("smplx", "male")["shapedirs"][:, :, 300:], moves().astype(np.float32))
    again = expression_directions(person("smplx"), 12)
    assert np.abs(again - moves()[:, :, :12]).max() < 1e-3


def test_anchors_are_in_the_face() -> None:
    at = face_anchors(person("smplx"))
    assert at["eye"][0] > 0.02
    assert at["eye"][1] > at["nose"][1] > at["mouth"][1]
    assert at["nose"][2] > at["mouth"][2] > at["eye"][2]
