"""UBody: what every field of the release becomes, on trees written from its card."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from hmtools.core.errors import AssetError, LayoutError, UnsafeFileError, UsageError
from hmtools.datasets import coco, ubody
from hmtools.datasets.ubody import UBody
from tests.datasets.coco_tree import manifest, records, run, samples
from tests.datasets.ubody_tree import (
    image_row,
    kept,
    left_out,
    person,
    read,
    write_list,
    write_scene,
    write_tree,
    write_ubody_video,
)

__all__ = ["samples"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "UBody")


class TestIdentity:
    def test_frames_count_from_0_and_positions_from_1(self, tree: Path) -> None:
        found = [
            (r.sequence, r.frame, r.source_frame, r.person, r.source_index, r.source_id, r.fps)
            for r in kept(read(tree))
        ]
        assert found == [
            ("Movie/A_Trim1", number, f"{number + 1:06d}", 0, number + 1, f"{101 + number}", 30.0)
            for number in range(3)
        ]

    def test_a_leading_slash_is_taken_off(self, tree: Path) -> None:
        record = kept(read(tree))[0]
        assert (record.image_path, record.video_frame) == ("images/Movie/A_Trim1/000001.png", None)
        assert (record.width, record.height, record.image_op) == (96, 80, "none")

    def test_positions_are_those_of_the_scene_also_in_the_other_split(self, tree: Path) -> None:
        found = kept(read(tree, "inter_test"))
        assert [(r.sequence, r.frame, r.source_index) for r in found] == [
            ("Movie/B", 0, 4),
            ("Movie/B", 6, 5),
        ]

    def test_every_scene_counts_for_itself(self, tree: Path) -> None:
        for scene in ("Movie 2", "Fitness"):
            write_scene(tree, scene, [image_row(1, "C/000009.png")], [person(1, 1), person(2, 1)])
        found = kept(read(tree))
        assert [(r.sequence, r.source_index, r.person) for r in found if r.sequence != "Movie/A_Trim1"] == [
            ("Fitness/C", 1, 0), ("Fitness/C", 2, 1), ("Movie 2/C", 1, 0), ("Movie 2/C", 2, 1)
        ]  # fmt: skip
        assert [r.sequence for r in found] == sorted(r.sequence or "" for r in found)

    def test_people_are_counted_before_any_filter(self, tree: Path) -> None:
        rows = [person(3, 1, iscrowd=1), person(2, 1), person(4, 1, valid_label=0), person(9, 1)]
        write_scene(tree, "Movie", [image_row(1, "A/000001.png"), image_row(2, "B/000001.png")], rows)
        found = kept(read(tree))
        assert [(r.source_id, r.person, r.source_index) for r in found] == [("2", 1, 2), ("9", 3, 4)]

    def test_two_rows_of_one_image_are_one_frame(self, tree: Path) -> None:
        images = [image_row(1, "/A/000001.png"), image_row(2, "A/000001.png"), image_row(3, "B/000001.png")]
        write_scene(tree, "Movie", images, [person(5, 2), person(6, 1)])
        assert [(r.source_id, r.frame, r.person) for r in kept(read(tree))] == [("5", 0, 0), ("6", 0, 1)]

    def test_the_default_interval_is_that_of_the_reference(self, tree: Path, tmp_path: Path) -> None:
        images = [image_row(number, f"A/{number:06d}.png") for number in range(1, 31)]
        people = [person(200 - number, number) for number in range(1, 31)]
        write_scene(tree, "Movie", [*images, image_row(99, "B/000001.png")], [*people, person(7, 99)])
        folder = run(tree, tmp_path / "out", name="ubody", split="intra_train", images="none")
        assert [(row["source_index"], row["frame"]) for row in records(folder)] == [
            (10, 9),
            (20, 19),
            (30, 29),
        ]
        assert manifest(folder).every == 10
        assert dict(UBody.every) == {"train": 10, "test": 100}


class TestSplits:
    @pytest.mark.parametrize(("test", "train"), [(["A"], ["Movie/B"]), (["B"], ["Movie/A_Trim1"])])
    def test_names_are_cut_at_trim(self, tree: Path, test: list[str], train: list[str]) -> None:
        write_list(tree, "intra", test)
        assert {r.sequence for r in kept(read(tree))} == set(train)
        tested = {r.sequence for r in kept(read(tree, "intra_test"))}
        assert tested == {"Movie/A_Trim1", "Movie/B"} - set(train)

    def test_each_kind_has_its_list(self, tree: Path) -> None:
        write_list(tree, "inter", ["A"])
        assert {r.sequence for r in kept(read(tree, "intra_test"))} == {"Movie/B"}
        assert {r.sequence for r in kept(read(tree, "inter_test"))} == {"Movie/A_Trim1"}

    def test_names_in_other_arrays(self, tree: Path) -> None:
        whole = np.empty((), object)
        whole[()] = ["B"]
        for names in (np.array(["B"], object), np.array([["B"]]), whole):
            write_list(tree, "intra", names)
            assert {r.sequence for r in kept(read(tree, "intra_test"))} == {"Movie/B"}

    @pytest.mark.parametrize("names", [np.zeros(3), np.array([], str), np.array([None, "B"], object)])
    def test_no_names(self, tree: Path, names: np.ndarray) -> None:
        write_list(tree, "intra", names)
        with pytest.raises(LayoutError, match=r"intra_scene_test_list\.npy: expected an array of names"):
            read(tree)

    def test_a_list_that_asks_for_more_than_names_is_refused(self, tree: Path) -> None:
        write_list(tree, "intra", np.array([Path("B")], object))
        with pytest.raises((UnsafeFileError, AssetError), match=r"intra_scene_test_list\.npy"):
            read(tree)

    @pytest.mark.parametrize("split", UBody.splits)
    def test_a_split_of_nothing(self, tree: Path, split: str) -> None:
        for kind in ("intra", "inter"):
            write_list(tree, kind, ["Z"] if split.endswith("test") else ["A", "B"])
        with pytest.raises(LayoutError, match=f"nothing is left for {split}"):
            read(tree, split)

    def test_a_list_of_another_release_is_an_error_when_all_scenes_are_there(
        self, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else everybody, the test videos among them, would be for training."""
        write_list(tree, "intra", ["B.mp4"])
        assert len(kept(read(tree))) == 5, "the scene of B.mp4 may be one of those that are not there"
        monkeypatch.setattr(ubody, "_SCENES", frozenset({"Movie"}))
        with pytest.raises(LayoutError, match="names 1 videos, 0 of the 2 that are annotated in Movie"):
            read(tree)


class TestLayout:
    def test_missing_paths_have_a_page(self, tree: Path) -> None:
        shutil.rmtree(tree / "images")
        (tree / "splits/intra_scene_test_list.npy").unlink()
        with pytest.raises(LayoutError) as caught:
            UBody().require(tree, ["intra_train"])
        missing, _, layout = str(caught.value).partition("is expected as")
        assert "images or videos" in missing
        assert "splits/intra_scene_test_list.npy" in missing
        assert missing.count("from https://osx-ubody.github.io") == 2
        assert "annotations/<Scene>/smplx_annotation.json" in layout
        assert UBody().found_splits(write_tree(tree.parent / "other")) == list(UBody.splits)

    @pytest.mark.parametrize("part", ["images", "smplx_annotation.json", "keypoint_annotation.json"])
    def test_scenes_that_are_not_whole_are_named(
        self, tree: Path, part: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        write_scene(tree, "Singing", [image_row(1, "C/1.png")], [person(1, 1)])
        assert len(kept(read(tree))) == 4
        assert "Singing" not in caplog.text
        if part == "images":
            shutil.rmtree(tree / "images/Singing")
        else:
            (tree / "annotations/Singing" / part).unlink()
        assert len(kept(read(tree))) == 3
        assert "left out, no annotations or no pictures" in caplog.text
        assert "'Singing'" in caplog.text
        assert "'Fitness'" in caplog.text
        assert "'Movie'" not in caplog.text

    def test_no_scene_at_all(self, tree: Path) -> None:
        (tree / "annotations/Movie/keypoint_annotation.json").unlink()
        with pytest.raises(LayoutError, match="annotated in no scene; not there: ConductMusic, "):
            read(tree)

    def test_inputs(self, tree: Path) -> None:
        assert [path.relative_to(tree).as_posix() for path in UBody().inputs(tree, "inter_train")] == [
            "splits/inter_scene_test_list.npy",
            "annotations/Movie/keypoint_annotation.json",
            "annotations/Movie/smplx_annotation.json",
        ]

    def test_options(self) -> None:
        with pytest.raises(UsageError, match=r"expected auto \| images \| videos"):
            UBody({"frames": "png"})

    def test_declaration(self) -> None:
        assert UBody.box_ratio == 1.25
        assert UBody.official_counts["intra_train"] == {"records": 71_299}
        assert not UBody.commercial_use
        assert not UBody.video


class TestFrames:
    def test_images_that_are_there_win(self, tree: Path) -> None:
        write_ubody_video(tree / "videos/Movie/A_Trim1.mp4", 3)
        assert {r.image_path for r in kept(read(tree, frames="videos"))} == {"videos/Movie/A_Trim1.mp4"}
        for frames in ("auto", "images"):
            paths = [r.image_path for r in kept(read(tree, frames=frames))]
            assert paths == [f"images/Movie/A_Trim1/00000{number}.png" for number in (1, 2, 3)]

    def test_frames_of_videos_are_retimed(self, tree: Path) -> None:
        """At 30 fps every frame is shown, at 15 fps twice."""
        shutil.rmtree(tree / "images/Movie/B")
        for rate, wanted in ((30, [0, 6]), (15, [0, 3])):
            write_ubody_video(tree / "videos/Movie/B.mp4", 9, rate)
            found = kept(read(tree, "intra_test"))
            assert [(r.frame, r.source_frame) for r in found] == [(0, "000001"), (6, "000007")]
            assert [r.video_frame for r in found] == wanted, rate
            assert {r.fps for r in found} == {30.0}

    def test_frames_beyond_the_end_are_counted(self, tree: Path) -> None:
        write_ubody_video(tree / "videos/Movie/A_Trim1.mp4", 2)
        found = read(tree, frames="videos")
        assert [r.frame for r in kept(found)] == [0, 1]
        assert left_out(found) == [("frame_missing", "103", False)]

    def test_only_frames_of_the_interval_are_lost(self, tree: Path, tmp_path: Path) -> None:
        """Positions 1 and 2 have a frame, 3 has none; 2 is the one of the interval."""
        write_ubody_video(tree / "videos/Movie/A_Trim1.mp4", 2)
        for every, rejected in ((1, {"frame_missing": 1}), (2, {}), (3, {"frame_missing": 1})):
            folder = run(
                tree, tmp_path / f"out{every}", name="ubody", split="intra_train", images="none", every=every,
                options={"frames": "videos"},
            )  # fmt: skip
            assert manifest(folder).rejected == rejected, every

    def test_videos_that_cannot_be_read(self, tree: Path) -> None:
        write_ubody_video(tree / "videos/Movie/A_Trim1.mp4", 2)
        assert left_out(read(tree, frames="videos", split="intra_test")) == [
            ("video_missing", "104", False), ("video_missing", "105", False)
        ]  # fmt: skip
        (tree / "videos/Movie/B.mp4").write_bytes(b"no video")
        assert left_out(read(tree, frames="videos", split="intra_test")) == [
            ("video_broken", "104", False), ("video_broken", "105", False)
        ]  # fmt: skip

    @pytest.mark.parametrize("images", ["crop", "full"])
    def test_pictures_of_videos_are_stored(self, tree: Path, tmp_path: Path, images: str) -> None:
        write_ubody_video(tree / "videos/Movie/A_Trim1.mp4", 9)
        options = {"frames": "videos"}
        folder = run(
            tree, tmp_path / "out", name="ubody", split="intra_train", images=images, every=1, options=options
        )
        rows = records(folder)
        assert [row["video_frame"] for row in rows] == [0, 1, 2]
        assert all(row["nbytes"] > 0 for row in rows)

    def test_neither_images_nor_a_video(self, tree: Path) -> None:
        shutil.rmtree(tree / "images/Movie/B")
        (tree / "images/Movie/B").mkdir()  # empty, which is as good as missing
        assert left_out(read(tree, "intra_test"))[0] == ("video_missing", "104", False)
        assert len(kept(read(tree, "intra_test", frames="images"))) == 2, "rejected when they are stored"


def mentioned() -> set[str]:
    rows = re.findall(r"^\| (.+?) \| .+ \|$", ubody.__doc__ or "", re.MULTILINE)
    return {name for row in rows for name in re.findall(r"((?:images|annotations)\[\]\.\w+)", row)}


def test_the_docstring_says_what_becomes_of_every_field() -> None:
    image, annotation = image_row(1, "A/1.png"), person(1, 1)
    assert isinstance(image, dict)
    assert isinstance(annotation, dict)
    fields = {f"images[].{name}" for name in image} | {f"annotations[].{name}" for name in annotation}
    assert mentioned() == fields


def test_plan_packs_whole_videos_of_a_scene(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [image_row(n, f"{'ABCDE'[n // 2]}/{n:06d}.png") for n in range(1, 10)]
    write_scene(tree, "Singing", images, [person(n, n) for n in range(1, 10)])
    monkeypatch.setattr("hmtools.datasets.ubody_scenes.IMAGES_PER_UNIT", 4)
    units = UBody().plan(tree, "intra_train")
    assert [(u.index, u.name, u.images, u.expected) for u in units] == [
        (0, "Movie/A_Trim1", 3, 3),
        (1, "Singing/A to Singing/C", 3, 3),
        (2, "Singing/D to Singing/E", 4, 4),
    ]
    assert units[1].sequences == ("Singing/A", "Singing/C")
    assert coco.IMAGES_PER_UNIT == 512
