"""The miniature's fits are the bodies of its truth, with all oddities that the release's have."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hmtools.bodies.assets import standin_dir
from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.params import BodyParams
from hmtools.humandata.keypoints import convention
from hmtools.synth import Truth, make_miniature, read_truth
from hmtools.synth.layouts import mscoco


@dataclass
class World:
    truth: Truth
    annotations: list[dict[str, Any]]
    fits: dict[str, Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("world") / "MSCOCO"
    make_miniature("mscoco", root, frames=8, people=2, seed=1, size=(320, 240), splits=("train2017",))
    folder = root / "annotations"
    return World(
        read_truth(root),
        json.loads((folder / "coco_wholebody_train_v1.0.json").read_text())["annotations"],
        json.loads((folder / "MSCOCO_train_SMPLX_all_NeuralAnnot.json").read_text()),
    )


def flat(values: Any) -> Any:
    return np.array(values, np.float64).reshape(-1)


def test_fits_are_the_bodies_of_the_truth(world: World) -> None:
    """Read as the release is read: hands relative to the mean, camera frame, a pinhole each."""
    layers = BodyLayers("smplx", roots=(standin_dir(),), dtype=torch.float64)
    left, right = np.asarray(layers.layer("neutral").model.hand_mean, np.float64)
    whole, joints = convention("coco_wholebody_133").names, convention("smplx_144")
    checked = 0
    for person in world.truth.people:
        if person.source_id not in world.fits:
            assert (person.family, person.joints, person.vertices) == ("", None, None)
            continue
        fit, camera = (world.fits[person.source_id][key] for key in ("smplx_param", "cam_param"))
        fit = {key: value if "valid" in key else flat(value) for key, value in fit.items()}
        values = {
            "global_orient": fit["root_pose"],
            "body_pose": fit["body_pose"],
            "left_hand_pose": fit["lhand_pose"] + left,
            "right_hand_pose": fit["rhand_pose"] + right,
            "jaw_pose": fit["jaw_pose"],
            "betas": fit["shape"],
            "expression": fit["expr"],
            "transl": fit["trans"],
        }
        posed = layers(BodyParams.of({k: v[None] for k, v in values.items()}, dtype=torch.float64))
        assert posed.vertices is not None
        assert person.vertices is not None
        assert person.joints is not None
        np.testing.assert_allclose(person.vertices, posed.vertices[0].numpy(), atol=1e-5)
        np.testing.assert_allclose(person.joints, posed.joints[0].numpy(), atol=1e-9)
        here = person.joints
        pixels = here[:, :2] / here[:, 2:] * flat(camera["focal"]) + flat(camera["princpt"])
        columns = person.columns
        for number, (x, y, conf) in enumerate(columns["keypoints2d_original"]):
            if conf:
                name = whole[number].replace("hand_root", "wrist")
                error = abs(pixels[joints.index(name)] - [x, y]).max()
                assert error < (0.51 if number < 23 else 1e-3), (number, error)
                checked += 1
        np.testing.assert_array_equal(columns["focal_length"], flat(camera["focal"]))
        np.testing.assert_array_equal(columns["principal_point"], flat(camera["princpt"]))
        np.testing.assert_array_equal(columns["smplx_betas"], fit["shape"])
        np.testing.assert_array_equal(columns["smplx_expression"], fit["expr"])
        assert (columns["gender"], columns["camera_model"], columns["camera_kind"]) == (
            *("neutral", "pinhole", "virtual"),
        )
        assert columns["valid_smplx"] is True
    assert checked > 500


def test_people_without_fit_have_no_body_columns(world: World) -> None:
    without = [person for person in world.truth.people if person.source_id not in world.fits]
    assert {quirk for person in without for quirk in person.quirks} == {
        *("crowd", "no_keypoints", "partly_outside", "without_fit"),
    }
    for person in without:
        assert person.columns["valid_smplx"] is False
        nulls = {name for name, value in person.columns.items() if value is None}
        assert {"smplx_betas", "smplx_body_pose", "focal_length", "camera_kind", "gender"} <= nulls
    assert {person.columns["valid_keypoints3d"] for person in world.truth.people} == {False}
    assert set(world.fits) < {person.source_id for person in world.truth.people}


def test_oddities_of_fits(world: World) -> None:
    by_quirk = {quirk: person for person in world.truth.people for quirk in person.quirks}
    fits: dict[str, Any] = {quirk: world.fits.get(one.source_id) for quirk, one in by_quirk.items()}
    rows = {str(row["id"]): row for row in world.annotations}

    def flags(quirk: str) -> list[Any]:
        return [fits[quirk]["smplx_param"].get(f"{part}_valid") for part in ("lhand", "rhand", "face")]

    def annotated(quirk: str) -> list[bool]:
        row = rows[by_quirk[quirk].source_id]
        return [row[f"{part}_valid"] for part in ("lefthand", "righthand", "face")]

    def stated(quirk: str) -> list[bool]:
        return [by_quirk[quirk].columns[f"valid_{part}"] for part in ("lhand", "rhand", "face")]

    nested = fits["nested_lists"]
    assert all(len(v) == 1 and isinstance(v[0], list) for v in nested["cam_param"].values())
    assert all(len(v) == 1 for k, v in nested["smplx_param"].items() if "valid" not in k)
    assert flags("no_fit_flags") == [None] * 3
    assert stated("no_fit_flags") == annotated("no_fit_flags") == [False, True, True]
    assert flags("contradicting_flags") == stated("contradicting_flags") == [False, False, True]
    assert annotated("contradicting_flags") == [True, True, False]
    assert flags("nested_lists") == annotated("nested_lists")
    wide = by_quirk["wide_betas"].columns
    assert max(wide["smplx_betas"]) > 3
    assert wide["valid_betas"] is True  # leaving them out is the trainer's rule
    assert fits["without_fit"] is None
    hands = np.array([fit["smplx_param"]["lhand_pose"] for fit in world.fits.values()], dtype=object)
    assert all(len(flat(hand)) == 45 for hand in hands)


def test_osx_variant(tmp_path: Path) -> None:
    splits = ("train2017", "val2017")
    make_miniature(
        "mscoco", tmp_path, frames=2, people=1, seed=1, size=(100, 80), splits=splits, variant="osx"
    )
    names = {path.name for path in (tmp_path / "annotations").iterdir() if "keypoints" not in path.name}
    assert names == {
        *("MSCOCO_train_SMPLX.json", "coco_wholebody_train_v1.0.json", "coco_wholebody_val_v1.0.json"),
    }
    assert len(json.loads((tmp_path / "annotations/MSCOCO_train_SMPLX.json").read_text())) == 2


def test_val_has_no_fits(tmp_path: Path) -> None:
    make_miniature("mscoco", tmp_path, frames=2, people=3, seed=1, size=(100, 80), splits=("val2017",))
    assert {path.name for path in (tmp_path / "annotations").iterdir()} == {
        *("coco_wholebody_val_v1.0.json", "person_keypoints_val2017.json"),
    }
    for person in read_truth(tmp_path).people:
        assert person.family == ""
        assert not {"nested_lists", "without_fit", "wide_betas"} & set(person.quirks)
        assert person.columns["valid_smplx"] is False


def test_people_beyond_the_meshes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same people come out whether their surface is made or not, and whatever block they fall into."""
    few, many = tmp_path / "few", tmp_path / "many"
    arguments: dict[str, Any] = {"frames": 5, "people": 3, "seed": 2, "size": (160, 120)}
    make_miniature("mscoco", many, **arguments, splits=("train2017",))
    monkeypatch.setattr(mscoco, "MESHES", 4)
    monkeypatch.setattr(mscoco, "_IMAGES_AT_ONCE", 2)
    make_miniature("mscoco", few, **arguments, splits=("train2017",))
    one, other = (read_truth(root).people for root in (few, many))
    assert 0 < sum(person.vertices is not None for person in one) < sum(p.vertices is not None for p in other)
    for mine, theirs in zip(one, other, strict=True):
        assert (mine.joints is None) == (theirs.joints is None)
        if mine.joints is not None and theirs.joints is not None:
            bones, others = (joints[:55] - joints[0] for joints in (mine.joints, theirs.joints))
            np.testing.assert_allclose(bones, others, atol=1e-9)
            np.testing.assert_array_equal(mine.columns["smplx_betas"], theirs.columns["smplx_betas"])
