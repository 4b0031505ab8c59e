"""EHF: what every file of both trees becomes, on copies written from its card."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest

from hmtools.core.errors import LayoutError, UsageError
from hmtools.datasets import ehf
from hmtools.datasets.ehf import Ehf
from hmtools.humandata.record import Record
from hmtools.shards.reader import open_shards
from tests.datasets import ehf_tree
from tests.datasets.coco_tree import manifest, picture, write_picture
from tests.datasets.ehf_tree import (
    annotation,
    cam_mesh,
    image_row,
    kept,
    left_out,
    read,
    run,
    write_frame,
    write_labels,
    write_tree,
)

FIELDS = ("width", "height", "bbox_xywh", "keypoints2d_original", "world_to_cam", "focal_length")


def test_identity(copies: dict[str, Path]) -> None:
    for name, prefix, order in (("flat", "", (0, 1, 99)), ("data", "data/", (2, 1, 0))):
        found = [
            (r.frame, r.source_frame, r.source_id, r.source_index, r.image_path)
            for r in read(copies[name])
            if isinstance(r, Record)
        ]
        assert found == [
            (frame, stem, stem, index, f"{prefix}{stem}_img.png")
            for frame, stem, index in zip((0, 1, 99), ("01", "02", "100"), order, strict=True)
        ]
        for record in kept(read(copies[name])).values():
            assert (record.sequence, record.person, record.image_op) == ("test", 0, "none")
            assert (record.track_id, record.fps, record.video_frame) == (None, None, None)
            assert (record.gender, record.valid_smplx, record.valid_keypoints3d) == ("neutral", False, True)
            assert record.smplx_betas is None


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_the_mesh_is_in_the_camera_frame(tmp_path: Path, kind: str) -> None:
    root = write_tree(tmp_path, (7,), kind=kind)
    (record,) = kept(read(root)).values()
    assert record.mesh.shape == (10475, 3)
    assert record.mesh.dtype == np.float64
    assert np.abs(record.mesh - cam_mesh(7)).max() < 1e-6, "float32 of the file, nothing more"
    assert json.loads(record.meta or "") == {
        "boxes": "mesh",
        "camera": "EHF_camera.txt",
        "mesh": "07_align.ply",
    }


def test_both_trees_say_the_same(copies: dict[str, Path]) -> None:
    flat, data = kept(read(copies["flat"])), kept(read(copies["data"]))
    assert flat.keys() == data.keys()
    for name in flat:
        assert np.array_equal(flat[name].mesh, data[name].mesh)
        for field in set(FIELDS) - {"bbox_xywh"}:
            assert np.array_equal(getattr(flat[name], field), getattr(data[name], field)), field
        assert json.loads(data[name].meta or "")["mesh"] == f"data/{name}_align.ply"


def test_data_wins_over_files_beside_it(data: Path) -> None:
    write_frame(data, 5)
    assert list(kept(read(data))) == ["01", "02", "100"]


class TestCamera:
    def test_published(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """The card's matrix, to the digits it has."""
        root = write_tree(tmp_path, (1,), camera=None)
        with caplog.at_level(logging.WARNING):
            (record,) = kept(read(root)).values()
        assert not caplog.records
        card = [[0.99924, -0.00488, 0.03855], [-0.01072, -0.98820, 0.15277], [0.03735, -0.15306, -0.98751]]
        assert np.abs(record.world_to_cam[:, :3] - card).max() < 1e-5
        assert np.abs(record.world_to_cam[:, :3] - ehf_tree.rotation()).max() < 1e-12
        assert np.array_equal(record.world_to_cam[:, 3], [-0.03609917, 0.43416458, 2.37101226])
        assert np.array_equal(record.focal_length, [1498.224, 1498.224])
        assert np.array_equal(record.principal_point, [790.263706, 578.90334])
        assert (record.camera_model, record.camera_kind, record.distortion) == ("pinhole", "real", None)
        assert json.loads(record.meta or "")["camera"] == "published"

    def test_the_file_wins_and_it_is_said(
        self, copies: dict[str, Path], caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING):
            record = kept(read(copies["flat"]))["01"]
        assert "EHF_camera.txt is not the published camera" in caplog.text
        assert np.array_equal(record.focal_length, [149.8224, 149.8224])
        assert np.array_equal(record.principal_point, [79.0263706, 57.890334])
        assert np.abs(record.world_to_cam[:, :3] - ehf_tree.rotation()).max() < 1e-12

    def test_another_rotation_moves_the_mesh(self, flat: Path) -> None:
        (flat / "EHF_camera.txt").write_text("r: 0 0 0\nt: 1 2 3\nfocal: 150\ncentre: 80 60")
        world = (cam_mesh(1) - ehf_tree.TRANSLATION) @ ehf_tree.rotation()
        assert np.abs(kept(read(flat))["01"].mesh - world - np.array([1, 2, 3])).max() < 1e-6

    def test_a_file_that_says_the_published_numbers_is_no_news(
        self, flat: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        text = ehf_tree.CAMERA.replace("149.8224", "1498.22426").replace("79.0263706", "790.2637")
        (flat / "EHF_camera.txt").write_text(text.replace("57.890334", "578.9033"))
        with caplog.at_level(logging.WARNING):
            Ehf().plan(flat, "test")
        assert not caplog.records

    def test_a_file_that_nobody_understands(self, flat: Path) -> None:
        (flat / "EHF_camera.txt").write_text("rotation 1 2\n")
        with pytest.raises(LayoutError, match=r"EHF_camera\.txt.*--option camera=published"):
            Ehf().plan(flat, "test")
        found = kept(read(flat, camera="published"))["01"]
        assert np.array_equal(found.focal_length, [1498.224, 1498.224])


class TestKeypoints:
    def test_order_and_real_confidence(self, copies: dict[str, Path]) -> None:
        assert Ehf().spec(copies["flat"], "test").keypoints2d == "openpose_137"
        for number in (1, 2, 100):
            points = kept(read(copies["flat"]))[f"{number:02d}"].keypoints2d_original
            assert points.dtype == np.float32
            assert np.array_equal(points, ehf_tree.joints(number).astype(np.float32))
            assert 0 < (points[:, 2] == 0).sum() < 137

    def test_no_file_or_nobody(self, flat: Path) -> None:
        (flat / "01_2Djnt.json").unlink()
        (flat / "02_2Djnt.json").write_text('{"people": []}')
        found = kept(read(flat))
        assert [found[name].keypoints2d_original is None for name in found] == [True, True, False]

    def test_damaged(self, flat: Path) -> None:
        (flat / "01_2Djnt.json").write_text('{"people": [{}]}')
        (flat / "02_2Djnt.json").write_text("[")
        found = read(flat)
        assert list(kept(found)) == ["100"]
        assert left_out(found) == [("broken_row", "frame 01"), ("broken_row", "frame 02")]


class TestBoxes:
    def test_of_the_json(self, copies: dict[str, Path]) -> None:
        for number in (1, 2, 100):
            record = kept(read(copies["data"]))[f"{number:02d}"]
            row = annotation(number)
            assert record.bbox_xywh == [*row["body_bbox"], 1.0]
            assert record.lhand_bbox_xywh == [*row["lefthand_bbox"], 1.0]
            assert record.rhand_bbox_xywh == [*row["righthand_bbox"], 1.0]
            assert record.face_bbox_xywh == [*row["face_bbox"], 1.0]
            assert json.loads(record.meta or "")["boxes"] == "EHF.json"

    def test_parts_without_area_are_null(self, data: Path) -> None:
        rows = [
            annotation(1, lefthand_bbox=[0, 0, 0, 0], righthand_bbox=None, face_bbox=[3.0, 3.0, 5.0, 0.0])
        ]
        write_labels(data / "data", [image_row(1)], rows)
        record = kept(read(data))["01"]
        assert (record.lhand_bbox_xywh, record.rhand_bbox_xywh, record.face_bbox_xywh) == (None, None, None)

    def test_of_the_mesh(self, copies: dict[str, Path]) -> None:
        for number in (1, 2, 100):
            record = kept(read(copies["flat"]))[f"{number:02d}"]
            points = cam_mesh(number)
            pixels = points[:, :2] / points[:, 2:] * ehf_tree.FOCAL + ehf_tree.PRINCIPAL
            low, high = pixels.min(0), pixels.max(0)
            middle, half = (low + high) / 2, 0.6 * (high - low)
            first = np.maximum(middle - half, -0.5)
            last = np.minimum(middle + half, np.array(ehf_tree.SIZE) - 0.5)
            assert np.allclose(record.bbox_xywh, [*first, *(last - first), 1], atol=1e-3)
            assert record.lhand_bbox_xywh is None
        assert (last[0], first[1]) != (middle[0] + half[0], -0.5), "frame 100 leaves the image on the right"

    def test_a_mesh_out_of_view_has_no_box(self, tmp_path: Path) -> None:
        for name, move in (("side", [40.0, 0, 0]), ("behind", [0, 0, -9.0])):
            root = write_tree(tmp_path / name, (1,), points=cam_mesh(1) + move)
            assert kept(read(root))["01"].bbox_xywh is None
            assert manifest(run(root, tmp_path / f"{name}-out")).rejected == {"no_box": 1}


class TestImages:
    def test_png_is_preferred(self, tmp_path: Path) -> None:
        write_frame(tmp_path, 1)
        write_frame(tmp_path, 2, images=("jpg",))
        write_frame(tmp_path, 3, images=())
        paths = [record.image_path for record in kept(read(tmp_path)).values()]
        assert paths == ["01_img.png", "02_img.jpg", "03_img.png"]
        paths = [record.image_path for record in kept(read(tmp_path, format="jpg")).values()]
        assert paths == ["01_img.jpg", "02_img.jpg", "03_img.jpg"]
        with pytest.raises(UsageError, match=r"auto \| png \| jpg"):
            Ehf({"format": "bmp"})

    def test_sizes(self, tmp_path: Path) -> None:
        """Of the file; the official size where there is none to be had."""
        for number in (1, 2, 3):
            write_frame(tmp_path, number, images=("png",))
        write_picture(tmp_path / "01_img.png", picture(64, 48))
        (tmp_path / "02_img.png").write_bytes(b"damaged")
        (tmp_path / "03_img.png").unlink()
        found = [(record.width, record.height) for record in kept(read(tmp_path)).values()]
        assert found == [(64, 48), (1600, 1200), (1600, 1200)]

    def test_unusable_images_are_counted(self, flat: Path, tmp_path: Path) -> None:
        for name in ("01", "02"):
            (flat / f"{name}_img.jpg").unlink()
        (flat / "01_img.png").unlink()
        (flat / "02_img.png").write_bytes((flat / "02_img.png").read_bytes()[:-50])
        folder = run(flat, tmp_path / "out")
        assert manifest(folder).rejected == {"image_missing": 1, "image_truncated": 1}
        assert len(open_shards(folder)) == 1

    def test_the_json_must_say_the_size_of_the_file(self, data: Path, tmp_path: Path) -> None:
        images = [image_row(1, width=1600, height=1200), image_row(2)]
        write_labels(data / "data", images, [annotation(1), annotation(2)])
        rejected = manifest(run(data, tmp_path / "out")).rejected
        assert rejected == {"image_size_mismatch": 1, "no_annotation": 1}


def test_conversion(copies: dict[str, Path], tmp_path: Path) -> None:
    for name, root in copies.items():
        folder = run(root, tmp_path / name)
        shards = open_shards(folder)
        found = manifest(folder)
        assert found.counts["records"] == found.counts["images"] == 3
        assert found.images == "full"
        assert found.rejected == {}
        assert any(line.startswith("smplx_neutral") for line in found.needs)
        for index, number in enumerate((1, 2, 100)):
            row = shards.row(index)
            stored = shards.mesh(index)
            assert stored is not None
            assert np.abs(stored - cam_mesh(number)).max() < 1e-6
            assert stored.dtype == np.float32
            assert row["key"] == f"ehf/test/test/{number - 1:06d}_0"
            assert row["keypoints3d_smplx"] is None
            assert row["smplx_betas"] is None
            original = root / row["image_path"]
            assert shards.image_bytes(row) == original.read_bytes()


def mentioned() -> str:
    """First column of the docstring's table."""
    return "\n".join(re.findall(r"^\| (.+?) \| .+ \|$", ehf.__doc__ or "", re.MULTILINE))


def test_the_docstring_says_what_becomes_of_every_field(copies: dict[str, Path]) -> None:
    table = mentioned()
    for field in image_row(1):
        assert f"images[].{field}" in table
    for field in annotation(1):
        assert f"annotations[].{field}" in table
    people = json.loads((copies["flat"] / "01_2Djnt.json").read_text())
    for field in people["people"][0]:
        assert f"people[].{field}" in table or field == "pose_keypoints_3d"
    for path in (copies["data"] / "data").iterdir():
        assert path.name in ("EHF.json",) or re.sub(r"^\d+_", "NN_", path.name) in table
