"""People of UBody: what their rows become, who is left out, who is the same person."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hmtools.datasets import coco_wholebody
from hmtools.datasets.base import Rejected
from tests.datasets.coco_tree import Row, box, manifest, run, stored_joints
from tests.datasets.fit_json import fit_values
from tests.datasets.ubody_tree import image_row, kept, left_out, person, read, write_scene, write_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "UBody")


class TestPeople:
    def test_joints_box_and_meta(self, tree: Path) -> None:
        for record in kept(read(tree)):
            number = int(record.source_id or 0)
            assert np.array_equal(record.keypoints2d_original, stored_joints(number))
            assert record.bbox_xywh == [*box(number), 1.0]
            meta = json.loads(record.meta or "")
            assert set(meta.pop("pending")) == {"smplx_left_hand_pose", "smplx_right_hand_pose"}
            assert meta == {
                "scene": "Movie", "ann_id": number, "image_id": 10 * (number - 100), "valid_label": 2,
                "lefthand_valid": True, "righthand_valid": True,
            }  # fmt: skip

    @pytest.mark.parametrize("order", [(0, 1, 3, 4, 2), (0, 1, 2, 4, 3), (0, 2, 1, 3, 4)])
    def test_another_order_of_the_parts_would_be_seen(
        self, tree: Path, monkeypatch: pytest.MonkeyPatch, order: Sequence[int]
    ) -> None:
        monkeypatch.setattr(coco_wholebody, "_PARTS", tuple(coco_wholebody._PARTS[part] for part in order))
        for record in kept(read(tree)):
            assert not np.array_equal(record.keypoints2d_original, stored_joints(int(record.source_id or 0)))

    def test_fits(self, tree: Path) -> None:
        for record in kept(read(tree)):
            fit = fit_values(int(record.source_id or 0))
            np.testing.assert_allclose(record.smplx_body_pose, fit["body_pose"])
            np.testing.assert_allclose(record.smplx_transl, fit["trans"])
            hands = json.loads(record.meta or "")["pending"]
            np.testing.assert_allclose(hands["smplx_left_hand_pose"]["relative"], fit["lhand_pose"])
            assert (record.gender, record.camera_kind, record.camera_model) == (
                "neutral",
                "virtual",
                "pinhole",
            )
            assert (record.valid_smplx, record.valid_betas, record.valid_transl) == (True, True, False)
            assert record.valid_keypoints3d is True

    @pytest.mark.parametrize(("column", "field"), coco_wholebody._BOXES)
    def test_parts(self, tree: Path, column: str, field: str) -> None:
        rows = [
            person(1, 10),
            person(2, 10, **{f"{field}_valid": False}),
            person(3, 10, **{f"{field}_box": [30.0, 20.0, 0.0, 9.0]}),
            person(4, 10, **{f"{field}_valid": False, f"{field}_box": [0.0] * 4}),
            person(5, 10, **{f"{field}_box": [1.5, 2.5, 3.5, 4.5]}),
        ]
        write_scene(tree, "Movie", [image_row(10, "A/000001.png"), image_row(2, "B/000001.png")], rows)
        found = kept(read(tree))
        boxes = [getattr(record, f"{column}_bbox_xywh") for record in found]
        assert [getattr(record, f"valid_{column}") for record in found] == [True, False, True, False, True]
        assert [b and b[4] for b in boxes] == [1.0, 0.0, None, None, 1.0]
        assert boxes[4] == [1.5, 2.5, 3.5, 4.5, 1.0]

    def test_flags_of_the_fit_come_first(self, tree: Path) -> None:
        file = tree / "annotations/Movie/smplx_annotation.json"
        fits = json.loads(file.read_text())
        fits["101"]["smplx_param"] |= {"lhand_valid": False, "face_valid": 0}
        file.write_text(json.dumps(fits))
        found = [(r.valid_lhand, r.valid_rhand, r.valid_face) for r in kept(read(tree))]
        assert found == [(False, True, False), (True, True, True), (True, True, True)]


class TestLeftOut:
    def test_rules_of_the_reference(self, tree: Path) -> None:
        rows = [
            person(1, 10, iscrowd=1), person(2, 10, num_keypoints=0), person(3, 10, valid_label=0),
            person(4, 10), person(5, 10), person(6, 20),
        ]  # fmt: skip
        images = [image_row(10, "A/000001.png"), image_row(20, "B/000001.png")]
        write_scene(tree, "Movie", images, rows, without=(3, 4))
        found = read(tree)
        assert [record.source_id for record in kept(found)] == ["5"]
        reasons = ("crowd", "no_keypoints", "invalid_label", "no_fit")
        assert left_out(found) == [(reason, str(number), True) for number, reason in enumerate(reasons, 1)]

    def test_a_broken_fit_is_counted_once_and_its_person_left_out(self, tree: Path) -> None:
        file = tree / "annotations/Movie/smplx_annotation.json"
        fits = json.loads(file.read_text())
        del fits["102"]["smplx_param"]["shape"]
        file.write_text(json.dumps(fits))
        found = read(tree)
        assert [record.source_id for record in kept(found)] == ["101", "103"]
        assert left_out(found) == [("broken_fit", "102", False)]

    def test_fits_of_the_other_split_are_of_somebody(self, tree: Path) -> None:
        images = [image_row(1, "A/1.png"), image_row(2, "B/1.png")]
        write_scene(tree, "Movie", images, [person(1, 1), person(2, 2)], fits={77: {"smplx_param": {}}})
        for split in ("intra_train", "intra_test"):
            assert left_out(read(tree, split)) == [("fit_without_person", "77", True)]

    def test_broken_rows(self, tree: Path) -> None:
        names = ["A/1.png", "B/1.png", "A/000000.png", "000001.png", "A/x.png", None, "C/1.png"]
        images = [image_row(number, name) for number, name in enumerate(names, 1) if name]
        rows: list[Row] = [
            *(person(11, 1), "{nonsense}"),
            *(person(10 + image, image) for image in (3, 4, 5, 6, 8)),
            *(person(18, 1, image_id="1"), person(19, 1, bbox=[1, 2]), person(11, 1)),
            *(
                person(20, 1, lefthand_valid="no"),
                person(21, 1, valid_label=None),
                person(22, 2),
                person(23, 7),
            ),
        ]
        write_scene(tree, "Movie", [*images, '{"id": 6, "file_name": "A/2.png", oops}'], rows, without=(18,))
        found = read(tree)
        assert [record.source_id for record in kept(found)] == ["11", "23"]
        assert [(reason, by_rule) for reason, _, by_rule in left_out(found)] == [
            *[("broken_row", False)] * 7,
            *[("broken_row", False), ("duplicate_annotation", False)],
            *[("broken_row", False)] * 2,
        ]
        details = [f"{r.source} {r.detail}" for r in found if isinstance(r, Rejected)]
        assert "keypoint_annotation.json annotations[2] its image is not in `images`" in details[1]
        assert "has no 'valid_label'" in details[-1]
        assert [r.reason for r in read(tree, "intra_test") if isinstance(r, Rejected)] == ["broken_row"] * 7

    def test_positions_count_broken_rows_too(self, tree: Path) -> None:
        images = [image_row(1, "A/1.png"), image_row(2, "B/1.png")]
        write_scene(tree, "Movie", images, ["{nonsense}", person(11, 1), person(12, 77), person(13, 1)])
        assert [r.source_index for r in kept(read(tree))] == [2, 4]


class TestTracks:
    def test_people_are_followed_before_anybody_is_left_out(self, tree: Path) -> None:
        """The second person walks on through a frame in which nobody could label it."""
        near, far = [10.0, 8.0, 20.0, 40.0], [60.0, 8.0, 20.0, 40.0]
        images = [image_row(n, f"A/{n:06d}.png") for n in (1, 2, 3, 5)] + [image_row(9, "B/1.png")]
        rows = [
            person(1, 1, bbox=near), person(2, 1, bbox=far),
            person(3, 2, bbox=far, valid_label=0), person(4, 2, bbox=near),
            person(5, 3, bbox=near), person(6, 3, bbox=far), person(7, 5, bbox=near), person(8, 9, bbox=near),
        ]  # fmt: skip
        write_scene(tree, "Movie", images, rows)
        tracks = {r.source_id: r.track_id for r in kept(read(tree))}
        assert tracks == {"1": "0", "2": "1", "4": "0", "5": "0", "6": "1", "7": "2"}

    def test_the_cut_into_units_changes_nothing(self, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = [(r.sequence, r.frame, r.track_id) for r in kept(read(tree))]
        monkeypatch.setattr("hmtools.datasets.ubody_scenes.IMAGES_PER_UNIT", 1)
        assert [(r.sequence, r.frame, r.track_id) for r in kept(read(tree))] == before

    def test_tracks_file(self, tree: Path, tmp_path: Path) -> None:
        folder = run(tree, tmp_path / "out", name="ubody", split="intra_train", images="none", every=1)
        assert manifest(folder).counts["tracks"] == 1


class TestBoxesOfHands:
    """Nothing says what they are, so their points are asked."""

    @pytest.mark.parametrize(
        ("box", "warned"),
        [
            ([40.0, 20.0, 30.0, 40.0], False),
            ([40.0, 20.0, 55.0, 40.0], False),  # half of the points
            ([40.0, 20.0, 70.0, 60.0], True),
            ([0.0, 0.0, 0.0, 0.0], False),
        ],
    )
    def test_corners_are_seen(
        self, tree: Path, box: list[float], warned: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        hand = [value for number in range(21) for value in (41.0 + number, 22.0 + number, 2.0)]
        row = person(1, 1, lefthand_box=box, righthand_box=box, lefthand_kpts=hand, righthand_kpts=[0.0] * 63)
        images = [image_row(1, "A/1.png"), image_row(2, "B/1.png")]
        write_scene(tree, "Movie", images, [row, person(2, 2)])
        record = kept(read(tree))[0]
        assert ("look like corners" in caplog.text) == warned
        assert record.lhand_bbox_xywh == ([*box, 1.0] if any(box) else None)

    def test_people_without_hands_say_nothing(self, tree: Path, caplog: pytest.LogCaptureFixture) -> None:
        rows = [
            person(1, 1, lefthand_kpts=[0.0] * 63, righthand_kpts=[0.0] * 63),
            person(2, 1, lefthand_kpts="?", righthand_box=None),
        ]
        images = [image_row(1, "A/1.png"), image_row(2, "B/1.png")]
        write_scene(tree, "Movie", images, [*rows, person(3, 2)])
        assert len(kept(read(tree))) == 1
        assert "corners" not in caplog.text
