"""One unit: what every image policy stores, pixel by pixel, and which records are chosen."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hmtools.core.errors import UnitError
from hmtools.core.image import decode_rgb, opencv
from hmtools.datasets.base import Rejected
from hmtools.datasets.mscoco import MsCoco
from hmtools.engine.job import Unit
from hmtools.geometry.crop import image_op_affine, undo_image_op
from hmtools.humandata.record import Record
from hmtools.shards.tar import iter_members
from tests.convert.one_unit import Clip, affine_of, go, one_image, stored, two_images
from tests.datasets.coco_tree import (
    drift,
    image_row,
    person,
    picture,
    write_picture,
    write_tree,
)


class TestFull:
    def test_original_bytes_shared_by_the_people_of_a_frame(self, tmp_path: Path) -> None:
        root, out = two_images(tmp_path / "coco"), tmp_path / "out"
        (result,), rows = go(root, out)
        assert [row["source_id"] for row in rows] == ["10", "11", "20"]
        for row in rows:
            assert stored(out, row) == (root / row["image_path"]).read_bytes()
            assert row["image_affine"] is None
        assert rows[0]["offset"] == rows[1]["offset"] != rows[2]["offset"]
        assert result.counts == {"records": 3, "images": 2, "rejected": 0, "filtered": 0}
        assert [file.name for file in result.files] == [
            "mscoco-val2017-u00000-000.tar",
            "mscoco-val2017-u00000-000.arrow",
        ]
        assert result.data["health"]["records"] == 3

    @pytest.mark.parametrize("extension", ["jpg", "png", "gray.jpg", "gray.png"])
    def test_jpeg_and_png_stay_as_they_are(self, tmp_path: Path, extension: str) -> None:
        root, out = one_image(tmp_path, image_row(1, f"a.{extension}")), tmp_path / "out"
        path = root / f"images/val2017/a.{extension}"
        write_picture(path, picture()[..., 0] if "gray" in extension else picture())
        _, (row,) = go(root, out)
        assert stored(out, row) == path.read_bytes()
        assert _members(out) == [f".{extension[-3:]}", ".npz", ".json"]

    @pytest.mark.parametrize("extension", ["bmp", "webp"])
    def test_other_formats_become_png(self, tmp_path: Path, extension: str) -> None:
        root, out = one_image(tmp_path, image_row(1, f"a.{extension}")), tmp_path / "out"
        _, (row,) = go(root, out)
        assert stored(out, row).startswith(b"\x89PNG")
        original = decode_rgb((root / f"images/val2017/a.{extension}").read_bytes())
        assert np.array_equal(decode_rgb(stored(out, row)), original), "without loss"
        assert _members(out) == [".png", ".npz", ".json"]

    def test_a_name_does_not_decide_the_format(self, tmp_path: Path) -> None:
        root, out = two_images(tmp_path / "coco"), tmp_path / "out"
        png = tmp_path / "a.png"
        write_picture(png)
        (root / "images/val2017/000000000001.jpg").write_bytes(png.read_bytes())
        _, rows = go(root, out)
        assert stored(out, rows[0]) == png.read_bytes()
        assert _members(out)[0] == ".png"


def _members(out: Path) -> list[str]:
    (tar,) = out.glob("*.tar")
    return [name[name.rindex(".") :] for name, _, _ in iter_members(tar)]


# width, height, box; the last two windows are longer than 1024 pixels
CROPS = {
    "inside": (400, 300, [180.0, 130.0, 20.5, 40.25]),
    "wide box": (400, 300, [150.25, 140.5, 60.0, 20.0]),
    "at the corner": (400, 300, [0.0, 0.0, 30.0, 40.0]),
    "at the other corner": (400, 300, [371.0, 251.0, 30.0, 50.0]),
    "half outside": (400, 300, [-20.0, 100.0, 60.0, 90.0]),
    "the whole image": (200, 160, [0.0, 0.0, 200.0, 160.0]),
    "odd size": (1301, 1107, [300.5, 220.25, 333.0, 512.0]),
    "large": (1600, 1400, [500.0, 300.0, 400.0, 700.0]),
}


class TestCrop:
    @pytest.mark.parametrize("what", CROPS)
    def test_pixels_lie_where_the_affine_says(self, tmp_path: Path, what: str) -> None:
        width, height, box = CROPS[what]
        image = image_row(1, "a.png", width, height)
        root, out = write_tree(tmp_path / "coco", [image], [person(10, 1, bbox=box)]), tmp_path / "out"
        _, (row,) = go(root, out, images="crop")
        pixels = decode_rgb(stored(out, row))
        affine = affine_of(row)
        assert drift(pixels, affine) < 0.15, "0.08 is what JPEG leaves; half a stored pixel would be 0.23"
        low = np.linalg.solve(affine[:, :2], [-0.5, -0.5] - affine[:, 2])
        high = np.linalg.solve(affine[:, :2], [pixels.shape[1] - 0.5, pixels.shape[0] - 0.5] - affine[:, 2])
        # by hand: the box grown to 3:4, times 1.2, gives s; the square's side is 1.9 s
        side = 1.9 * 1.2 * max(box[3], box[2] / 0.75)
        centre = np.array([box[0] + box[2] / 2, box[1] + box[3] / 2])
        limit = np.array([width - 0.5, height - 0.5])
        np.testing.assert_array_less(low, np.maximum(centre - side / 2, -0.5) + 1e-3)
        np.testing.assert_array_less(np.minimum(centre + side / 2, limit) - 1e-3, high)
        assert (high - low < side + 3).all() or what in ("half outside", "at the other corner")
        assert max(pixels.shape[:2]) == min(1024, round(float((high - low).max())))
        assert row["bbox_xywh"].tolist() == [*box, 1.0], "labels stay in pixels of the original"

    def test_identity_is_null(self, tmp_path: Path) -> None:
        image, box = image_row(1, "a.png"), [0.0, 0.0, 96.0, 80.0]
        root = write_tree(tmp_path / "coco", [image], [person(10, 1, bbox=box)])
        _, (row,) = go(root, tmp_path / "out", images="crop")
        assert row["image_affine"] is None
        assert row["nbytes"] > 0

    def test_one_sample_a_person(self, tmp_path: Path) -> None:
        root, out = two_images(tmp_path / "coco"), tmp_path / "out"
        (result,), rows = go(root, out, images="crop")
        assert len({row["offset"] for row in rows}) == 3
        assert result.counts["images"] == 2
        (tar,) = out.glob("*.tar")
        names = [name for name, _, _ in iter_members(tar)]
        assert names == [f"{row['key']}.{kind}" for row in rows for kind in ("jpg", "npz", "json")]

    @pytest.mark.parametrize("extension", ["bmp", "gray.jpg", "gray.png"])
    def test_every_format_becomes_jpeg(self, tmp_path: Path, extension: str) -> None:
        name = f"a.{extension}"
        root, out = one_image(tmp_path, image_row(1, name)), tmp_path / "out"
        if "gray" in name:
            write_picture(root / f"images/val2017/{name}", picture()[..., 0])
        _, (row,) = go(root, out, images="crop")
        pixels = decode_rgb(stored(out, row))
        assert stored(out, row).startswith(b"\xff\xd8")
        assert pixels.shape[2] == 3

    def test_the_padding_of_the_set_counts(self, tmp_path: Path) -> None:
        class Tight(MsCoco):
            box_ratio = 1.0

        image = image_row(1, "a.png", 800, 800)
        root = write_tree(tmp_path / "coco", [image], [person(10, 1, bbox=[350.0, 300.0, 100.0, 200.0])])
        _, (usual,) = go(root, tmp_path / "usual", images="crop")
        _, (tight,) = go(root, tmp_path / "tight", images="crop", dataset=Tight())
        sizes = [
            decode_rgb(stored(tmp_path / name, row)).shape[0]
            for name, row in (("usual", usual), ("tight", tight))
        ]
        assert sizes[0] == pytest.approx(1.9 * 1.2 * 200, abs=3)
        assert sizes[1] == pytest.approx(1.9 * 200, abs=3)

    def test_equal_input_gives_equal_bytes(self, tmp_path: Path) -> None:
        root = two_images(tmp_path / "coco")
        (one,), _ = go(root, tmp_path / "one", images="crop")
        (other,), _ = go(root, tmp_path / "other", images="crop")
        assert [file.sha256 for file in one.files] == [file.sha256 for file in other.files]


class TestNone:
    def test_references_only(self, tmp_path: Path) -> None:
        root, out = two_images(tmp_path / "coco"), tmp_path / "out"
        (result,), rows = go(root, out, images="none")
        assert [path.suffix for path in out.iterdir()] == [".arrow"]
        assert [(r["shard"], r["offset"], r["nbytes"], r["image_affine"]) for r in rows] == [(None,) * 4] * 3
        assert all((root / row["image_path"]).is_file() for row in rows)
        assert result.counts == {"records": 3, "images": 0, "rejected": 0, "filtered": 0}

    def test_images_are_not_looked_at(self, tmp_path: Path) -> None:
        root = write_tree(tmp_path / "coco", [image_row(1)], [person(10, 1)], pictures=False)
        _, rows = go(root, tmp_path / "out", images="none")
        assert len(rows) == 1


EXIF_ROTATED = b"\xff\xe1" + struct.pack(">H", 34) + b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(
    ">HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0
)  # fmt: skip


class TestOrientation:
    @pytest.mark.parametrize("images", ["full", "crop"])
    def test_tags_are_ignored_because_labels_were_made_without_them(
        self, tmp_path: Path, images: str
    ) -> None:
        root, out = one_image(tmp_path, image_row(1, "a.jpg")), tmp_path / "out"
        path = root / "images/val2017/a.jpg"
        data = path.read_bytes()
        path.write_bytes(data[:2] + EXIF_ROTATED + data[2:])
        assert opencv().imread(str(path)).shape[:2] == (96, 80), "what a decoder that follows the tag sees"
        (result,), (row,) = go(root, out, images=images)
        assert result.counts["rejected"] == 0
        pixels = decode_rgb(stored(out, row))
        affine = affine_of(row)
        assert drift(pixels, affine) < 0.5
        if images == "full":
            assert stored(out, row) == path.read_bytes()
            assert pixels.shape[:2] == (80, 96)

    @pytest.mark.parametrize("operation", ["rot90cw", "rot90ccw", "hflip"])
    @pytest.mark.parametrize("images", ["full", "crop"])
    def test_files_that_are_not_upright(self, tmp_path: Path, operation: str, images: str) -> None:
        class Turned(MsCoco):
            def read(self, root: Path, unit: Unit) -> Iterator[Record | Rejected]:
                for found in super().read(root, unit):
                    if isinstance(found, Record):
                        found.image_op = operation
                    yield found

        back = {"rot90cw": "rot90ccw", "rot90ccw": "rot90cw", "hflip": "hflip"}[operation]
        root, out = one_image(tmp_path, image_row(1, "a.png", 120, 90)), tmp_path / "out"
        write_picture(root / "images/val2017/a.png", undo_image_op(picture(120, 90), back))
        _, (row,) = go(root, out, images=images, dataset=Turned())
        pixels = decode_rgb(stored(out, row))
        if images == "crop":  # stored upright
            assert drift(pixels, affine_of(row)) < 0.5
        else:
            assert stored(out, row) == (root / "images/val2017/a.png").read_bytes()
            assert np.array_equal(row["image_affine"], image_op_affine(operation, 120, 90))
            assert np.array_equal(undo_image_op(pixels, operation), picture(120, 90))

    def test_an_upright_size_that_only_fits_turned_is_a_mismatch(self, tmp_path: Path) -> None:
        root = two_images(tmp_path / "coco", image_row(1, width=80, height=96))
        write_picture(root / "images/val2017/000000000001.jpg", picture(96, 80))
        (result,), rows = go(root, tmp_path / "out")
        assert result.data["rejected"] == {"image_size_mismatch": 2}
        assert len(rows) == 1


class TestChoice:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        images = [image_row(number) for number in (1, 2, 3, 4)]
        people = [person(100 + i, 1 + i % 4) for i in range(12)]
        return write_tree(tmp_path / "coco", images, people)

    def test_every(self, root: Path, tmp_path: Path) -> None:
        (result,), rows = go(root, tmp_path / "out", every=5)
        assert sorted(row["source_index"] for row in rows) == [0, 5, 10]
        assert result.data["filtered"] == {"every": 9}
        assert result.counts["images"] == 3, "images of nobody are not read"
        assert {row["source_index"]: row["person"] for row in rows} == {0: 0, 5: 1, 10: 2}

    def test_only(self, root: Path, tmp_path: Path) -> None:
        _, rows = go(root, tmp_path / "all", only=("val*",))
        assert len(rows) == 12
        (result,), rows = go(root, tmp_path / "none", only=("train2017", "x*"))
        assert rows == []
        assert result.data["filtered"] == {"only": 12}

    def test_take_counts_images(self, root: Path, tmp_path: Path) -> None:
        (result,), rows = go(root, tmp_path / "out", take={0: 2})
        assert result.counts["images"] == 2
        assert {row["frame"] for row in rows} == {0, 1}
        assert len(rows) == 6


class TestVideo:
    @pytest.mark.parametrize("images", ["full", "crop"])
    def test_rows_of_rejected_images_stay(self, tmp_path: Path, images: str) -> None:
        for frame in range(5):
            write_picture(tmp_path / f"raw/walk/{frame}.jpg")
        (tmp_path / "raw/walk/1.jpg").unlink()
        (tmp_path / "raw/walk/3.jpg").write_bytes(b"")
        results, rows = go(tmp_path / "raw", tmp_path / "out", dataset=Clip(), images=images)
        assert [(row["frame"], row["person"]) for row in rows] == [(f, p) for f in range(5) for p in range(2)]
        reasons = [json.loads(row["meta"] or "{}").get("image_rejected") for row in rows]
        lost = ["image_missing", "image_missing"], ["image_empty", "image_empty"]
        assert reasons == [None, None, *lost[0], None, None, *lost[1], None, None]
        assert json.loads(rows[3]["meta"]) == {"note": "x", "image_rejected": "image_missing"}
        assert [row["shard"] is None for row in rows] == [reason is not None for reason in reasons]
        assert [result.data["rejected"] for result in results] == [{"image_missing": 2}, {"image_empty": 2}]
        assert [result.counts["records"] for result in results] == [6, 4]
        assert [result.counts["images"] for result in results] == [2, 1]
        assert all(row["nbytes"] is None for row in rows if row["shard"] is None)

    def test_strict(self, tmp_path: Path) -> None:
        with pytest.raises(UnitError, match=r"image_missing: walk/0\.jpg 0 no such file \(--strict\)"):
            go(tmp_path, tmp_path / "out", dataset=Clip(), strict=True)

    def test_a_video_without_any_image(self, tmp_path: Path) -> None:
        results, rows = go(tmp_path, tmp_path / "out", dataset=Clip())
        assert len(rows) == 10
        assert [result.counts["images"] for result in results] == [0, 0]
