"""The json beside 3DPW's pickles describes the same people in the camera frame, by its own ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from hmtools.synth.actors import Actor, pose_actor
from tests.synth.layouts.pw3d_files import (
    LANDSCAPE,
    PORTRAIT,
    made,
    people,
    sequence,
    smpl,
    which,
)


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("official") / "3DPW", "official", splits=None)


@pytest.fixture(scope="module")
def osx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("osx") / "3DPW", "osx")


@pytest.fixture(scope="module")
def refitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("refitted") / "3DPW", "neuralannot")


def test_the_json_lists_a_part_of_the_people_its_own_way(osx: Path) -> None:
    data = json.loads((osx / "3DPW_test.json").read_text())
    images = {row["id"]: row for row in data["images"]}
    order = []
    for row in data["annotations"]:
        image = images[row["image_id"]]
        (person,) = [p for p in people(osx) if p.source_id == str(row["id"])]
        name, frame, number = which(person)
        order.append((name, frame, number))
        assert (image["sequence"], image["file_name"]) == (name, f"image_{frame:05d}.jpg")
        assert (image["width"], image["height"]) == (person.columns["width"], person.columns["height"])
        camera = image["cam_param"]
        np.testing.assert_array_equal(camera["focal"], person.columns["focal_length"])
        np.testing.assert_array_equal(camera["princpt"], person.columns["principal_point"])
        np.testing.assert_array_equal([*row["bbox"], 1], person.columns["bbox_xywh"])
        pickled = sequence(osx, name)
        np.testing.assert_array_equal(np.transpose(row["openpose_result"]), pickled["poses2d"][number][frame])
        found = row["smpl_param"]
        assert found["gender"] == person.columns["gender"]
        vertices, joints = smpl(
            {"genders": [found["gender"][0]], "betas": [found["shape"]]}, 0, found["pose"], found["trans"]
        )
        np.testing.assert_allclose(vertices, cast(Any, person.vertices), atol=2e-6)
        np.testing.assert_allclose(row["fitted_3d_pose"], joints[:24], atol=2e-6)
    assert order == [
        *((LANDSCAPE, 0, 0), (PORTRAIT, 1, 0), (PORTRAIT, 0, 1), (PORTRAIT, 0, 0)),
    ]
    gone = {which(person): person.rejected for person in people(osx) if person.rejected}
    assert set(gone) == {(PORTRAIT, 1, 1), (LANDSCAPE, 1, 0)}
    assert "json does not list" in str(gone[LANDSCAPE, 1, 0])
    assert len({*images, *(row["id"] for row in data["annotations"])}) == 8  # ids are nobody else's


def test_boxes_of_the_json_are_others(official: Path, osx: Path) -> None:
    mine = {which(person): person.columns["bbox_xywh"] for person in people(official)}
    for person in people(osx):
        off = np.abs(mine[which(person)] - person.columns["bbox_xywh"]).max()
        assert off > 2 if person.rejected is None else off == 0


def test_fits_are_neutral_bodies_in_the_camera_frame(osx: Path, refitted: Path) -> None:
    files = ["3DPW_test.json", "3DPW_test_SMPLX_NeuralAnnot.json"]
    assert [(osx / name).read_bytes() for name in files] == [(refitted / name).read_bytes() for name in files]
    fits = json.loads((refitted / files[1]).read_text())
    kept = {person.source_id: person for person in people(refitted) if not person.rejected}
    assert fits.keys() == kept.keys()
    originals = {which(person): person for person in people(osx)}
    for name, person in kept.items():
        fit = {key: np.array([values]) for key, values in fits[name].items()}
        assert {key: values.shape[1] for key, values in fit.items()} == {
            **{"root_pose": 3, "body_pose": 63, "shape": 10, "trans": 3}
        }
        actor = Actor(
            family="smplx",
            gender="neutral",
            betas=fit["shape"][0],
            pose={"global_orient": fit["root_pose"], "body_pose": fit["body_pose"]},
            expression=np.zeros((1, 10)),
            transl=fit["trans"],
        )
        posed = pose_actor(actor)
        np.testing.assert_allclose(posed.vertices[0], cast(Any, person.vertices), atol=1e-6)
        joints = cast(Any, person.joints)
        np.testing.assert_allclose(posed.joints[0, :25], joints[:25], atol=1e-9)
        assert np.isnan(joints[25:55]).all()
        assert np.isfinite(np.delete(joints, np.r_[25:55], axis=0)).all()
        # The same person as in SMPL, in the same place: shapes differ, limbs hardly do.
        original = cast(Any, originals[which(person)].joints)
        np.testing.assert_allclose(joints[0], original[0], atol=1e-6)
        assert np.linalg.norm(joints[:22] - original[:22], axis=1).max() < 0.25
        assert person.family == "smplx"
        columns = person.columns
        assert columns["gender"] == "neutral"
        assert columns["valid_smplx"] is True
        assert not [column for column in columns if "smpl_" in column]
        np.testing.assert_array_equal(columns["smplx_body_pose"], fit["body_pose"][0])
        np.testing.assert_array_equal(columns["smplx_betas"], fit["shape"][0])
        assert columns["smplx_left_hand_pose"] is columns["smplx_jaw_pose"] is None
        np.testing.assert_array_equal(columns["bbox_xywh"], originals[which(person)].columns["bbox_xywh"])
