"""AGORA's dataframes, fits and images, sound and broken."""

from __future__ import annotations

import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.convert.run import make_plans
from hmtools.convert.unit import convert_unit
from hmtools.core.errors import AssetError, LayoutError, UnsafeFileError
from hmtools.core.safe_pickle import load_pickle
from hmtools.datasets import agora
from hmtools.datasets.agora import Agora
from hmtools.datasets.agora_camera import person_to_camera, scene_camera
from hmtools.datasets.base import Rejected
from tests.datasets.agora_tree import (
    HDRI,
    PLACED,
    fit,
    joints2d,
    joints3d,
    kept,
    left_out,
    person,
    read,
    row,
    write_fit,
    write_frame,
    write_image,
    write_tree,
)

TRAIN = "train_SMPLX/SMPLX/train_0_withjv.pkl"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree, which nobody writes to."""
    return write_tree(tmp_path_factory.mktemp("agora") / "AGORA")


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tree, tmp_path / "AGORA"))


def test_people_of_train(tree: Path) -> None:
    found = read(tree)
    man, girl, woman = kept(found)
    assert left_out(found) == [("not_valid", "isValid is false")]
    assert [r.source_id for r in (man, girl, woman)] == [
        f"{HDRI[:-4]}_personId_0", f"{HDRI[:-4]}_personId_1", f"{PLACED[:-4]}_personId_1",
    ]  # fmt: skip
    assert [(r.sequence, r.frame, r.person, r.source_index) for r in (man, girl, woman)] == [
        ("train_0", 0, 0, 0), ("train_0", 0, 1, 1), ("train_0", 1, 1, 3),
    ]  # fmt: skip
    assert man.image_path == f"1280x720/train_0/{HDRI[:-4]}_1280x720.png"
    assert (man.width, man.height, man.source_frame) == (1280, 720, HDRI[:-4])
    assert man.occlusion == 0.125
    assert man.mesh is None
    assert [r.gender for r in (man, girl, woman)] == ["male", "neutral", "female"]
    assert man.kid is None
    assert girl.kid == pytest.approx(fit(1, kid=True)["betas"][0, 10])
    np.testing.assert_allclose(girl.smplx_betas, fit(1, kid=True)["betas"][0, :10])
    assert json.loads(girl.meta or "")["gender"] == "female"
    assert {"age": "child", "kid": True}.items() <= json.loads(girl.meta or "").items()


def test_pixels_are_a_third_at_720p(tree: Path) -> None:
    record = kept(read(tree))[0]
    np.testing.assert_allclose(record.keypoints2d_original[:, :2], joints2d(0) / 3)
    np.testing.assert_allclose(record.keypoints3d_original[:, :3], joints3d(0))
    np.testing.assert_allclose(record.focal_length, 50 / 36 * 1280)
    for column, rows in {
        "bbox_xywh": range(127),
        "lhand_bbox_xywh": [*range(25, 40), *range(66, 71)],
        "rhand_bbox_xywh": [*range(40, 55), *range(71, 76)],
        "face_bbox_xywh": range(76, 127),
    }.items():
        points = joints2d(0)[list(rows)] / 3
        low, size = points.min(0), np.ptp(points, axis=0)
        np.testing.assert_allclose(getattr(record, column), [*(low - 0.1 * size), *(1.2 * size), 1])


def test_the_large_images_come_first_and_the_option_decides(copy: Path) -> None:
    for image in (HDRI, PLACED):
        write_image(copy, "train_0", image, large=True)
    for chosen, width in ((None, 3840), ("4k", 3840), ("720p", 1280)):
        record = kept(read(copy, **({} if chosen is None else {"resolution": chosen})))[0]
        assert record.width == width
        assert record.image_path is not None
        assert (copy / record.image_path).is_file()
        np.testing.assert_allclose(record.keypoints2d_original[:, :2], joints2d(0) * width / 3840)
        assert record.principal_point.tolist() == [width / 2, width * 9 / 32]


def test_fits_wait_for_the_model(tree: Path) -> None:
    record, _, other = kept(read(tree))
    source, waiting = fit(0), json.loads(record.meta or "")["pending"]
    camera = person_to_camera(scene_camera(HDRI), (500, 0, 5), 30)
    np.testing.assert_allclose(record.world_to_cam, camera)
    np.testing.assert_allclose(waiting["smplx_transl"]["rotation"], camera[:, :3])
    moved = camera[:, :3] @ source["transl"][0] + camera[:, 3]
    np.testing.assert_allclose(waiting["smplx_transl"]["moved"], moved)
    for side in ("left", "right"):
        hand = waiting[f"smplx_{side}_hand_pose"]["relative"]
        np.testing.assert_allclose(hand, source[f"{side}_hand_pose"][0])
    for part in ("body_pose", "jaw_pose", "leye_pose", "reye_pose", "expression"):
        np.testing.assert_allclose(getattr(record, f"smplx_{part}"), source[part][0])
    placed = person_to_camera(scene_camera(PLACED, (120, -40, 60, 15)), (503, 30, 5), 33)
    np.testing.assert_allclose(other.world_to_cam, placed)


def test_validation_has_meshes_and_counts_frames_through_its_dataframes(tree: Path) -> None:
    units = Agora().plan(tree, "validation")
    assert [(u.expected, u.images, u.payload.frame) for u in units] == [(1, 1, 0), (1, 1, 1)]
    records = kept(read(tree, "validation"))
    assert [(r.sequence, r.frame, r.source_index) for r in records] == [
        ("validation", 0, 0),
        ("validation", 1, 1),
    ]
    assert records[1].source_frame == "val_ag2_b"
    np.testing.assert_array_equal(records[0].mesh, person(0)["gt_verts"])


def test_dataframes_are_ordered_by_number(copy: Path) -> None:
    write_frame(copy / "validation_SMPLX/SMPLX/validation_10_withjv.pkl", [row(HDRI, [person(0)])])
    write_frame(copy / "validation_SMPLX/SMPLX/validation_2_withjv.pkl", [row(PLACED, [person(0)])])
    assert [unit.name for unit in Agora().plan(copy, "validation")] == [
        f"validation_{number}_withjv.pkl" for number in (0, 1, 2, 10)
    ]


def test_units_of_train_are_planned_without_reading_them(copy: Path) -> None:
    (copy / TRAIN).write_bytes(b"not a pickle")
    (unit,) = Agora().plan(copy, "train")
    assert (unit.images, unit.sequences) == (2, ("train_0",))
    with pytest.raises(AssetError, match="train_0_withjv"):
        read(copy)


def test_neutral_refits_are_taken_for_adults(copy: Path) -> None:
    for number in (0, 1):
        write_fit(copy, number, folder="smplx_gt_neutral_gender", betas=np.arange(10.0)[None] / 10)
    man, girl, woman = kept(read(copy))
    np.testing.assert_allclose(man.betas_neutral, np.arange(10) / 10)
    assert girl.betas_neutral is None
    assert woman.betas_neutral is None  # its scan has no refit
    assert woman.smplx_betas is not None


def test_smpl(copy: Path) -> None:
    cells = {"gt_joints_2d": joints2d(0, 45), "gt_joints_3d": joints3d(0, 45)}
    girl = person(1, gender="female", kid=True, **cells)
    write_frame(copy / "train_SMPL/SMPL/train_0_withjv.pkl", [row(HDRI, [person(0, **cells), girl])])
    for number in (0, 1):
        write_fit(copy, number, folder="smpl_gt", smpl=True, kid=number == 1)
    dataset = Agora({"body": "smpl"})
    assert dataset.missing(copy, "train") == []
    spec = dataset.spec(copy, "train")
    assert (spec.keypoints2d, spec.bodies) == ("smpl_45", ("smpl",))
    man, child = kept(read(copy, body="smpl"))
    assert (man.gender, child.gender) == ("neutral", "neutral")
    source = fit(1, kid=True, smpl=True)
    assert child.kid == pytest.approx(source["betas"][0, 10])
    np.testing.assert_allclose(child.smpl_body_pose, source["body_pose"][0])
    camera = child.world_to_cam
    moved = json.loads(child.meta or "")["pending"]["smpl_transl"]["moved"]
    np.testing.assert_allclose(moved, camera[:, :3] @ source["translation"][0] + camera[:, 3])
    assert child.keypoints2d_original.shape == (45, 3)
    assert child.lhand_bbox_xywh is None


@pytest.mark.parametrize("value", [-1.0, 101.0, float("nan"), None])
def test_an_occlusion_that_is_none_is_null(copy: Path, value: float | None) -> None:
    write_frame(copy / TRAIN, [row(HDRI, [person(0, occlusion=value)])])
    assert kept(read(copy))[0].occlusion is None


@pytest.mark.parametrize(
    ("cells", "reason", "words"),
    [
        ({"gt_joints_2d": joints2d(0, 45)}, "broken_row", r"gt_joints_2d: expected \(127, 2\) numbers"),
        ({"isValid": "yes"}, "broken_row", "isValid: expected true or false"),
        ({"gender": "unknown"}, "broken_fit", "gender: expected male, female, neutral"),
        ({"kid": True}, "broken_fit", "betas: 10 numbers of a child"),
        ({"Yaw": None}, "broken_row", "expected finite numbers"),
        ({"Yaw": "30"}, "broken_row", "Yaw: expected a number"),
        ({"gt_path_smplx": "smplx_gt/" + "x" * 5000}, "fit_missing", "File name too long"),
        ({"gt_path_smplx": "smplx_gt/../../secret.obj"}, "unsafe_path", "leaves the download"),
        ({"gt_path_smplx": "smplx_gt/set_bfh/scan_77.obj"}, "fit_missing", "scan_77.pkl: no such file"),
    ],
)
def test_a_broken_person_is_counted(copy: Path, cells: dict[str, Any], reason: str, words: str) -> None:
    write_frame(copy / TRAIN, [row(HDRI, [person(0, **cells), person(3)])])
    found = read(copy)
    ((why, detail),) = left_out(found)
    assert why == reason
    assert re.search(words, detail)
    assert [record.person for record in kept(found)] == [1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "fit_damaged"),
        (b"\x80\x04]\x94.", "expected a dictionary, found list"),
    ],
)
def test_a_broken_fit_is_counted(copy: Path, content: bytes, words: str) -> None:
    (copy / "smplx_gt/set_bfh/scan_0.pkl").write_bytes(content)
    found = read(copy)
    assert any(words in f"{reason} {detail}" for reason, detail in left_out(found))
    assert len(kept(found)) == 2


def test_a_fit_that_lacks_a_part_is_counted(copy: Path) -> None:
    write_fit(copy, 0, jaw_pose=np.zeros((1, 4)))
    assert ("broken_fit", "jaw_pose: expected 3 numbers of one body, found shape (1, 4)") in left_out(
        read(copy)
    )


def test_a_dataframe_that_wants_more_than_data_is_refused(copy: Path) -> None:
    (copy / TRAIN).write_bytes(b"cposix\nsystem\n(S'true'\ntR.")
    with pytest.raises(UnsafeFileError, match=r"posix\.system"):
        read(copy)


def test_lists_of_two_lengths(copy: Path) -> None:
    broken = row(HDRI, [person(0), person(3)]) | {"Yaw": [1.0]}
    write_frame(copy / TRAIN, [broken, row(PLACED, [person(3)])])
    found = read(copy)
    assert left_out(found)[0][0] == "broken_row"
    assert "expected lists of one length" in left_out(found)[0][1]
    assert [record.frame for record in kept(found)] == [1]


def test_a_dataframe_without_joints(copy: Path) -> None:
    bare = {key: value for key, value in row(HDRI, [person(0)]).items() if key != "gt_joints_3d"}
    write_frame(copy / TRAIN, [bare])
    with pytest.raises(LayoutError, match=r"train_0_withjv\.pkl: has no gt_joints_3d; expected a SMPLX"):
        read(copy)


class TestLayout:
    def test_complete(self, tree: Path) -> None:
        assert Agora().found_splits(tree) == ["train", "validation", "test"]

    def test_everything_missing_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(LayoutError) as caught:
            Agora().require(tmp_path, ["train", "validation", "test"])
        text = str(caught.value)
        for name in ("train_SMPLX/SMPLX", "validation_SMPLX/SMPLX", "smplx_gt", "AGORA_test_bbox.json"):
            assert str(tmp_path / name) in text
        assert all(f"{tmp_path}/3840x2160/train_{n} or 1280x720/train_{n}\n" in text for n in range(10))
        assert "agora.is.tue.mpg.de" in text
        assert "github.com/IDEA-Research/OSX" in text

    def test_only_images_that_the_dataframes_need(self, copy: Path) -> None:
        shutil.rmtree(copy / "1280x720/train_0")
        write_frame(copy / TRAIN.replace("train_0", "train_7"), [row(HDRI, [person(0)])])
        sources = Agora().missing(copy, "train")
        assert [source.paths[0] for source in sources] == ["3840x2160/train_0", "3840x2160/train_7"]
        (source,) = Agora({"resolution": "4k"}).missing(copy, "validation")
        assert source.paths[0] == "3840x2160/validation"

    def test_folders_of_images_that_are_not_there_are_counted(
        self, copy: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One of ten archives is enough to begin with."""
        for number in (1, 2):
            write_frame(copy / TRAIN.replace("train_0", f"train_{number}"), [row(HDRI, [person(0)])])
        write_image(copy, "train_2", HDRI)
        shutil.rmtree(copy / "1280x720/train_0")
        assert Agora().missing(copy, "train") == []
        with caplog.at_level(logging.WARNING):
            found = read(copy)
        assert [record.sequence for record in kept(found)] == ["train_2"]
        assert [(one.reason, one.source, one.by_rule) for one in found if isinstance(one, Rejected)] == [
            ("images_missing", "train_0", False), ("images_missing", "train_1", False)
        ]  # fmt: skip
        assert left_out(found)[0][1].startswith(
            "3840x2160/train_0 or 1280x720/train_0: no such folder, from http"
        )
        assert caplog.text.count("no images of train_0, train_1") == 1

    def test_what_nobody_asked_for_is_not_missed(self, copy: Path, tmp_path: Path) -> None:
        write_frame(copy / TRAIN.replace("train_0", "train_1"), [row(HDRI, [person(0)])])
        for only, rejected in ((["train_0"], {}), (["train_*"], {"images_missing": 1})):
            (plan,) = make_plans(
                "agora", root=copy, out=tmp_path / only[0], splits=["train"], only=only, images="none"
            )
            plan.task.out.mkdir(parents=True)
            result = convert_unit(plan.task, plan.units[0])
            assert result.data["rejected"] == rejected

    def test_a_size_is_chosen_once(self, copy: Path) -> None:
        """Large images that come between two runs are another plan, and not mixed into the first."""
        units = {split: Agora().plan(copy, split) for split in ("train", "validation", "test")}
        for folder, image in (("train_0", HDRI), ("validation", "val_cam00_a.png"), ("test", "x.png")):
            write_image(copy, folder, image, large=True)
        for split, planned in units.items():
            assert Agora().plan(copy, split) != planned
            found = [one for unit in planned for one in Agora().read(copy, unit)]
            assert {record.width for record in kept(found)} == {1280}
            assert {record.width for record in kept(read(copy, split))} == {3840}

    def test_a_folder_data_that_is_something_else(self, copy: Path) -> None:
        (copy / "data").mkdir()
        (copy / "data/notes.txt").touch()
        assert Agora().found_splits(copy) == ["train", "validation", "test"]
        assert len(kept(read(copy))) == 3

    def test_the_other_places(self, copy: Path, tmp_path: Path) -> None:
        (copy / "train_SMPLX/SMPLX").rename(copy / "SMPLX")
        (copy / "validation_SMPLX/SMPLX/validation_0_withjv.pkl").rename(
            copy / "SMPLX/validation_0_withjv.pkl"
        )
        shutil.rmtree(copy / "validation_SMPLX")
        (tmp_path / "outer").mkdir()
        copy.rename(tmp_path / "outer/data")
        assert len(kept(read(tmp_path / "outer"))) == 3
        (record,) = kept(read(tmp_path / "outer", "validation"))
        assert (record.image_path or "").startswith("data/1280x720/validation/")


@pytest.mark.real
def test_the_guard_reads_pickles_of_the_evaluation(samples: Path) -> None:
    """Predictions as the evaluation server takes them; labels of people may not be passed on."""
    found = {path.name: load_pickle(path) for path in (samples / "agora_predictions").glob("*.pkl")}
    assert found["smplx_param_rm_personId_0.pkl"]["params"]["betas"].shape == (1, 10)
    assert found["smplx_verts_personId_0.pkl"]["verts"].shape == (10475, 3)


def test_the_docstring_says_what_becomes_of_every_field() -> None:
    table = "\n".join(re.findall(r"^\| (.+?) \| .+ \|$", agora.__doc__ or "", re.MULTILINE))
    for field in [*row(HDRI, [person(0)]), *fit(0), *fit(0, smpl=True)]:
        assert re.search(rf"\b{field}\b", table), field
