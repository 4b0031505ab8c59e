"""Boxes from files: every kind that is read, how sources are named, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.core.errors import LayoutError, SchemaError, UsageError
from hmtools.humandata.predictions import PredictionSpec, PredictionWriter
from hmtools.infer.detectors.base import DetectorOptions, open_detector
from hmtools.infer.detectors.given import read_boxes
from hmtools.infer.media import Medium
from tests.infer.free_media import frame


def save(path: Path, **arrays: Any) -> Path:
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return path


def said(path: Path) -> list[tuple[Any, ...]]:
    return [(one.source, one.frame, one.track_id, *np.round(one.box, 4)) for one in read_boxes(path)]


class TestKinds:
    def test_json(self, tmp_path: Path) -> None:
        rows = [
            {"source": "a.mp4", "frame": 3, "bbox_xywh": [1, 2, 30, 40], "score": 0.5, "track_id": 7},
            {"bbox_xyxy": [1, 2, 31, 42, 0.25]},
        ]
        (tmp_path / "b.json").write_text(json.dumps(rows))
        assert said(tmp_path / "b.json") == [
            ("a.mp4", 3, "7", 1, 2, 30, 40, 0.5),
            (None, 0, None, 1, 2, 30, 40, 0.25),
        ]

    def test_our_npz(self, tmp_path: Path) -> None:
        box = np.array([[1, 2, 30, 40], [3, 4, 50, 60]])
        path = save(tmp_path / "b.npz", bbox_xywh=box, frame=np.array([0, 4]), source=np.array(["a", "b"]))
        assert said(path) == [("a", 0, None, 1, 2, 30, 40, 1), ("b", 4, None, 3, 4, 50, 60, 1)]

    def test_our_predictions(self, tmp_path: Path) -> None:
        rows: list[dict[str, Any]] = [
            {"source": "a.mp4", "frame": 2, "track_id": "0", "bbox_xywh": [1, 2, 30, 40, 0.5], "score": 0.75},
            {"source": "a.jpg", "bbox_xywh": [1, 2, 30, 40, 0.5]},
        ]
        with PredictionWriter(tmp_path / "p.parquet", PredictionSpec(), {"model": "m"}) as writer:
            writer.write(rows)
        expected = [("a.mp4", 2, "0", 1, 2, 30, 40, 0.75), ("a.jpg", 0, None, 1, 2, 30, 40, 0.5)]
        assert said(tmp_path / "p.parquet") == expected
        assert said(tmp_path) == expected

    def test_wham_corners(self, tmp_path: Path) -> None:
        path = save(tmp_path / "pose_data.npz", bboxes=np.array([[10, 20, 40, 80.0]] * 2))
        assert said(path) == [(None, i, "0", 10, 20, 30, 60, 1) for i in (0, 1)]

    @pytest.mark.parametrize("size", [1.2, 240], ids=["units of 200 pixels", "pixels"])
    def test_wham_squares(self, tmp_path: Path, size: float) -> None:
        path = save(
            tmp_path / "pose_data.npz",
            bboxes=np.array([[300, 200, size]] * 3),
            frame_ids=np.array([4, 6, 9]),
        )
        assert said(path) == [(None, i, "0", 200, 100, 200, 200, 1) for i in (4, 6, 9)]

    def test_wham_keypoints(self, tmp_path: Path) -> None:
        keypoints = np.zeros((2, 17, 3))
        keypoints[0, :3] = [[100, 100, 0.9], [140, 300, 0.8], [900, 900, 0.2]]
        squares = np.array([[120, 200, 1.2]] * 2)
        with_both = save(tmp_path / "a.npz", keypoints=keypoints, bboxes=squares)
        assert said(with_both) == [
            (None, 0, "0", 98, 90, 44, 220, 1),
            (None, 1, "0", 20, 100, 200, 200, 1),  # nothing is seen: the square
        ]
        alone = save(tmp_path / "b.npz", keypoints=keypoints)
        assert said(alone) == said(with_both)[:1], "no box where nobody is seen"


class TestRefused:
    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ({"a": 1}, "expected a list"),
            ([{"bbox_xywh": [1, 2, 3]}], "box 0: a box of shape"),
            ([{"bbox_xywh": [1, 2, 3, 4]}, {"frame": 1}], "box 1: 'bbox_xyxy'"),
            ([{"bbox_xywh": [1, 2, 3, 4], "frame": "x"}], "box 0: invalid literal"),
            ([[1, 2, 3, 4]], "box 0: no object"),
        ],
    )
    def test_json(self, tmp_path: Path, rows: Any, message: str) -> None:
        (tmp_path / "b.json").write_text(json.dumps(rows))
        with pytest.raises(SchemaError, match=message):
            read_boxes(tmp_path / "b.json")

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"bbox": np.zeros((2, 4))}, "neither bbox_xywh nor bbox_xyxy, found bbox"),
            ({"bbox_xywh": np.zeros((2, 4)), "frame": np.zeros(3)}, "different lengths"),
            ({"bboxes": np.zeros((2, 5))}, r"bboxes of shape \(2, 5\)"),
            ({"bboxes": np.zeros((2, 4)), "frame_ids": np.zeros(3)}, "frame_ids of shape"),
            ({"bboxes": np.zeros((2, 4)), "keypoints": np.zeros((3, 17, 3))}, "keypoints of shape"),
        ],
    )
    def test_npz(self, tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
        with pytest.raises(SchemaError, match=message):
            read_boxes(save(tmp_path / "b.npz", **arrays))

    def test_files(self, tmp_path: Path) -> None:
        (tmp_path / "b.txt").touch()
        (tmp_path / "b.json").write_text("{")
        for name, message in (("b.txt", "expected \\*.parquet"), ("c.json", "no such file")):
            with pytest.raises(LayoutError, match=message):
                read_boxes(tmp_path / name)
        with pytest.raises(SchemaError, match="no JSON"):
            read_boxes(tmp_path / "b.json")
        with pytest.raises(UsageError, match="no JSON"):  # the file of a user: wrong use
            open_detector("given", DetectorOptions(boxes=tmp_path / "b.json"))
        with pytest.raises(UsageError, match="name a file of boxes"):
            open_detector("given", DetectorOptions())


class TestSources:
    def detector(self, tmp_path: Path, sources: list[str | None], media: list[str]) -> Any:
        rows = [{"source": source, "bbox_xywh": [n, 0, 9, 9]} for n, source in enumerate(sources)]
        (tmp_path / "b.json").write_text(json.dumps(rows))
        found = open_detector("auto", DetectorOptions(boxes=tmp_path / "b.json"))
        found.prepare([Medium(source=name, kind="image", files=(Path(name),)) for name in media])
        return found

    def first(self, detector: Any, source: str, index: int = 0) -> list[float]:
        return [float(box[0]) for box in detector.detect(frame(source=source, index=index)).boxes]

    def test_by_path_or_by_name(self, tmp_path: Path) -> None:
        found = self.detector(
            tmp_path, ["x/a.jpg", "b.jpg", "a.jpg"], ["x/a.jpg", "y/a.jpg", "y/b.jpg", "z/c.jpg"]
        )
        assert self.first(found, "x/a.jpg") == [0]
        assert self.first(found, "y/a.jpg") == [], "two have that name"
        assert self.first(found, "y/b.jpg") == [1]
        assert self.first(found, "y/b.jpg", index=1) == []
        assert self.first(found, "z/c.jpg") == []

    def test_one_input_needs_no_name(self, tmp_path: Path) -> None:
        assert self.first(self.detector(tmp_path, [None, None], ["a.jpg"]), "a.jpg") == [0, 1]
        with pytest.raises(UsageError, match="boxes without source, and 2 inputs"):
            self.detector(tmp_path, [None], ["a.jpg", "b.jpg"])

    def test_boxes_of_something_else(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"boxes for other\.mp4, none for a\.jpg"):
            self.detector(tmp_path, ["other.mp4"], ["a.jpg"])
