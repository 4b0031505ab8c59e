"""EHF: which frames a copy has, and what becomes of those that are damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.core.errors import LayoutError
from hmtools.datasets import ehf
from hmtools.datasets.base import Rejected
from hmtools.datasets.ehf import Ehf
from tests.datasets.coco_tree import manifest
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
)


class TestDamage:
    def test_meshes(self, tmp_path: Path) -> None:
        for number in range(1, 6):
            write_frame(tmp_path, number, points=cam_mesh(number)[:10474] if number == 3 else None)
        (tmp_path / "01_align.ply").unlink()
        whole = (tmp_path / "02_align.ply").read_bytes()
        (tmp_path / "02_align.ply").write_bytes(whole[:-1])
        (tmp_path / "04_align.ply").unlink()
        (tmp_path / "04_align.ply").mkdir()
        found = read(tmp_path)
        assert list(kept(found)) == ["05"]
        assert left_out(found) == [
            ("mesh_missing", "frame 01"),
            ("mesh_truncated", "frame 02"),
            ("mesh_other", "frame 03"),
            ("mesh_missing", "frame 04"),
        ]
        details = [row.detail for row in found if isinstance(row, Rejected)]
        assert details[2] == "10474 vertices, expected the 10475 of SMPL-X"

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.4e38])
    def test_numbers_that_are_none(self, flat: Path, tmp_path: Path, value: float) -> None:
        path = flat / "01_align.ply"
        head, end, body = path.read_bytes().partition(b"end_header\n")
        numbers = np.frombuffer(body[: 12 * 10475], "<f4").copy()
        numbers[3 * 77 : 3 * 77 + 3] = value
        path.write_bytes(head + end + numbers.tobytes() + body[12 * 10475 :])
        found = manifest(run(flat, tmp_path / "out"))
        assert found.counts["records"] == 2
        assert found.rejected == {"not_finite:mesh": 1}

    @pytest.mark.parametrize(
        "text", ["", "[", "[]", "{}", '{"images": [], "annotations": 3}', "\xff", "[" * 10**5]
    )
    def test_a_json_that_is_none(self, data: Path, text: str) -> None:
        (data / "data/EHF.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(LayoutError, match=r"data/EHF\.json"):
            Ehf().plan(data, "test")

    def test_rows_of_the_json(self, data: Path) -> None:
        images: list[Any] = [
            "row", {"file_name": "02_img.png"}, image_row(2), image_row(3, file_name=7),
            image_row(4, file_name="IMG_4.png"), image_row(100),
        ]  # fmt: skip
        annotations: list[Any] = [
            "row", annotation(9), annotation(2), annotation(2), annotation(3), annotation(4),
            annotation(100, image_id=[1]), annotation(100, image_id=None), {"id": 1},
        ]  # fmt: skip
        write_labels(data / "data", images, annotations)
        found = read(data)
        assert list(kept(found)) == ["02"]
        assert kept(found)["02"].source_index == 2
        rows = (0, 1, 3, 4, 5, 6, 7, 8)
        reasons = ["duplicate_annotation" if row == 3 else "broken_row" for row in rows]
        assert left_out(found) == [
            *zip(reasons, (f"EHF.json annotations[{row}]" for row in rows), strict=True),
            ("no_annotation", "01_align.ply"),
            ("no_annotation", "100_align.ply"),
        ]

    @pytest.mark.parametrize(
        "cells",
        [
            {"body_bbox": [1, 2, 3]},
            {"body_bbox": None},
            {"face_bbox": "no"},
            {"lefthand_bbox": [1, "2", 3, 4]},
        ],
    )
    def test_boxes_of_the_json(self, data: Path, cells: dict[str, Any]) -> None:
        write_labels(data / "data", [image_row(1), image_row(2)], [annotation(1, **cells), annotation(2)])
        found = read(data)
        assert list(kept(found)) == ["02"]
        assert left_out(found)[1:] == [("broken_row", "frame 01")]

    @pytest.mark.parametrize("cells", [{"width": "160"}, {"height": 10**12}, {"height": None}])
    def test_sizes_of_the_json(self, data: Path, cells: dict[str, Any]) -> None:
        write_labels(data / "data", [image_row(1, **cells), image_row(2)], [annotation(1), annotation(2)])
        assert list(kept(read(data))) == ["02"]

    def test_a_box_without_area_is_the_only_rule(self, data: Path, tmp_path: Path) -> None:
        rows = [annotation(1, body_bbox=[5, 5, 0, 9]), annotation(2), annotation(100)]
        write_labels(data / "data", [image_row(n) for n in (1, 2, 100)], rows)
        assert manifest(run(data, tmp_path / "out")).rejected == {"box_empty": 1}

    def test_names_that_are_none_are_passed_over(self, flat: Path) -> None:
        for name in ("00_align.ply", "a_align.ply", "01_align.png", "03_img.ply", "1234567_align.ply"):
            (flat / name).write_bytes(b"x")
        assert list(kept(read(flat))) == ["01", "02", "100"]
        assert left_out(read(flat)) == []


class TestLayout:
    def test_everything_missing_is_named(self, tmp_path: Path) -> None:
        dataset = Ehf()
        assert dataset.found_splits(tmp_path) == []
        with pytest.raises(LayoutError) as caught:
            dataset.require(tmp_path, ["test"])
        for words in ("data/NN_align.ply or NN_align.ply", "NN_img.jpg", "https://smpl-x.is.tue.mpg.de"):
            assert words in str(caught.value)
        with pytest.raises(LayoutError, match="no such folder"):
            dataset.require(tmp_path / "nowhere", ["test"])

    def test_one_kind_missing(self, tmp_path: Path) -> None:
        write_frame(tmp_path, 3, images=())
        (gap,) = Ehf().missing(tmp_path, "test")
        assert "NN_img.png" in str(gap.paths)
        write_frame(tmp_path, 4)
        assert Ehf().missing(tmp_path, "test") == []
        assert Ehf().found_splits(tmp_path) == ["test"]

    def test_no_frame_that_can_be_read(self, data: Path) -> None:
        write_labels(data / "data", [], [annotation(1)])
        with pytest.raises(LayoutError, match=r"no frames .*; EHF\.json annotations\[0\] has no 701"):
            Ehf().plan(data, "test")

    def test_inputs_are_every_annotation_file(self, copies: dict[str, Path]) -> None:
        names = [path.name for path in Ehf().inputs(copies["data"], "test")]
        frames = [f"{n}_{kind}" for n in ("01", "02", "100") for kind in ("2Djnt.json", "align.ply")]
        assert names == sorted([*frames, "EHF.json", "EHF_camera.txt"])

    def test_declaration(self) -> None:
        assert dict(Ehf.splits) == {"test": "test"}
        assert Ehf.official_counts["test"] == {"images": 100, "records": 100}
        assert not Ehf.commercial_use
        assert not Ehf.video
        assert (Ehf.world.scope, Ehf.world.up, Ehf.world.metric) == ("sequence", "+y", True)
        assert Ehf.box_ratio == 1.2
        assert Ehf().spec(Path(), "test").bodies == ("smplx",)


def test_units_are_cut_by_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (11, 100, 9, 1, 2):
        (tmp_path / f"{number:02d}_align.ply").write_bytes(b"")
    monkeypatch.setattr(ehf, "FRAMES_PER_UNIT", 2)
    units = Ehf().plan(tmp_path, "test")
    assert [(u.index, u.name, u.expected, u.images) for u in units] == [
        (0, "frames 01-02", 2, 2),
        (1, "frames 09-11", 2, 2),
        (2, "frames 100-100", 1, 1),
    ]
    assert left_out(read(tmp_path)) == [("mesh_empty", f"frame {n}") for n in ("01", "02", "09", "11", "100")]
    numbers = (100, 11, 9, 2, 1)
    write_labels(tmp_path, [image_row(n) for n in numbers], [annotation(n) for n in numbers])
    assert [unit.name for unit in Ehf().plan(tmp_path, "test")] == [unit.name for unit in units]
