"""Sequences of 3DPW: the pickle says where its people are, and the camera sees them there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmtools.synth import read_truth
from tests.synth.layouts.pw3d_files import (
    GENDERS,
    LANDSCAPE,
    PORTRAIT,
    intrinsics,
    made,
    moved,
    people,
    pixels,
    sequence,
    smpl,
    which,
)


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("official") / "3DPW", "official", splits=None)


def test_a_sequence_pickle_has_the_fields_of_the_release(official: Path) -> None:
    data = sequence(official, PORTRAIT)
    assert list(data)[:3] == ["sequence", "genders", "betas"]
    assert data["sequence"] == PORTRAIT
    assert data["genders"] == ["m", "f"]
    assert [betas.shape for betas in data["betas"]] == [(300,), (10,)]
    shapes = {"poses": (2, 72), "trans": (2, 3), "jointPositions": (2, 72), "poses2d": (2, 3, 18)}
    for name, shape in {**shapes, "campose_valid": (2,)}.items():
        assert type(data[name]) is list
        assert [values.shape for values in data[name]] == [shape, shape], name
    assert data["cam_poses"].shape == (2, 4, 4)
    assert data["cam_intrinsics"].shape == (3, 3)
    assert data["cam_intrinsics"][[0, 1, 2, 2, 2], [1, 0, 0, 1, 2]].tolist() == [0, 0, 0, 0, 1]
    assert (data["v_template_clothed"].dtype, data["texture_maps"].dtype) == (object, object)
    assert [len(data[name]) for name in ("betas_clothed", "v_template_clothed", "texture_maps")] == [2] * 3
    assert [len(sequence(official, LANDSCAPE)[name]) for name in ("genders", "poses", "campose_valid")] == [
        *(1, 1, 1)
    ]


def test_the_60_hz_arrays_are_others(official: Path) -> None:
    for name in (PORTRAIT, LANDSCAPE):
        data = sequence(official, name)
        rows = data["img_frame_ids"]
        assert np.diff(rows).tolist() == [2]
        for short, long in (("poses", "poses_60Hz"), ("trans", "trans_60Hz")):
            for images, dense in zip(data[short], data[long], strict=True):
                np.testing.assert_array_equal(dense[rows], images)
                assert len(dense) > rows[-1] + 1
                # Whoever takes row i for image i is off by more than can be overlooked.
                assert np.abs(dense[: len(images)] - images).max() > 0.002


def test_bodies_are_where_the_pickle_and_its_camera_put_them(official: Path) -> None:
    found = people(official)
    assert len(found) == 6
    for person in found:
        name, frame, number = which(person)
        data = sequence(official, name)
        vertices, joints = smpl(data, number, data["poses"][number][frame], data["trans"][number][frame])
        np.testing.assert_allclose(joints[:24].ravel(), data["jointPositions"][number][frame], atol=1e-9)
        matrix = data["cam_poses"][frame]
        np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-12)
        np.testing.assert_array_equal(matrix[3], [0, 0, 0, 1])
        assert person.joints is not None
        assert person.vertices is not None
        np.testing.assert_allclose(person.joints, moved(joints, matrix), atol=1e-9)
        np.testing.assert_allclose(person.vertices, moved(vertices, matrix), atol=1e-6)
        np.testing.assert_array_equal(person.columns["world_to_cam"], matrix[:3])
        np.testing.assert_array_equal(person.columns["smpl_body_pose"], data["poses"][number][frame][3:])
        np.testing.assert_array_equal(person.columns["smpl_betas"], data["betas"][number][:10])
        assert np.abs(person.columns["smpl_body_pose"][63:]).max() > 0.01
        assert person.columns["gender"] == GENDERS[data["genders"][number]]


def test_the_world_is_y_up_on_a_floor_and_far_from_its_origin(official: Path) -> None:
    for person in people(official):
        name, frame, number = which(person)
        data = sequence(official, name)
        body = data["jointPositions"][number][frame].reshape(24, 3)
        assert 1.2 < body[15, 1] < 1.9  # the head
        assert 0 <= body[[7, 8, 10, 11], 1].min() < 0.4
        assert np.linalg.norm(body[0, [0, 2]]) > 1.5
        flat = pixels(person.joints, data["cam_intrinsics"])
        assert flat[15, 1] < flat[0, 1] < flat[[7, 8], 1].max()  # upright in the image


def test_the_camera_moves(official: Path, tmp_path: Path) -> None:
    root = made(tmp_path / "more", "official", frames=12)
    for name in (PORTRAIT, LANDSCAPE):
        data = sequence(root, name)
        places = np.array([-m[:3, :3].T @ m[:3, 3] for m in data["cam_poses"]])
        assert 0.03 < np.linalg.norm(np.diff(places, axis=0), axis=1).max() < 0.3
        assert np.ptp(places, axis=0).max() > 0.1
        assert not np.array_equal(data["cam_poses"][0], data["cam_poses"][1])


def test_points_are_those_of_the_list(official: Path) -> None:
    # smpl_45: right and left shoulder, elbow, wrist, hip, knee, ankle; nose; right and left eye and ear
    theirs = [24, 17, 19, 21, 16, 18, 20, 2, 5, 8, 1, 4, 7, 25, 26, 27, 28]
    mine = [0, *range(2, 18)]
    gaps = []
    for person in people(official):
        name, frame, number = which(person)
        data = sequence(official, name)
        points = data["poses2d"][number][frame].T
        if not points.any():
            assert person.columns["keypoints2d_original"] is None
            assert person.quirks == ("no_points",)
            continue
        np.testing.assert_array_equal(person.columns["keypoints2d_original"], points)
        seen = points[:, 2] > 0
        assert seen.sum() >= 6
        assert not points[~seen].any()
        assert (points[seen, 2] < 1).all()
        flat = pixels(person.joints, data["cam_intrinsics"])
        off = np.linalg.norm(points[mine, :2] - flat[theirs], axis=1)[seen[mine]]
        gaps += off.tolist()
        assert np.hypot(*(points[1, :2] - flat[12])) < 2
    assert len(gaps) > 60
    assert max(gaps) < 1.2
    assert any(
        (p.columns["keypoints2d_original"][:, 2] == 0).any()
        for p in people(official)
        if which(p)[1] == 0 and "no_points" not in p.quirks
    )


@pytest.mark.parametrize("size", [(64, 64), (96, 256), (400, 120)])
def test_everybody_is_in_pictures_of_any_shape(tmp_path: Path, size: tuple[int, int]) -> None:
    root = made(tmp_path / "shape", "official", frames=2, size=size)
    first, second = read_truth(root).images
    assert first.width <= first.height
    assert second.width >= second.height
    if size != (64, 64):
        assert (first.width, first.height) == tuple(sorted(size))
    for person in people(root):
        places = pixels(person.vertices, intrinsics(person))
        assert ((places > -0.5) & (places < [person.columns["width"], person.columns["height"]])).all()
