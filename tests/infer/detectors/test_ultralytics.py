"""The package ``ultralytics``: what it is told, what comes back, and its licence."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hmtools.core.errors import LayoutError, UsageError
from hmtools.infer.detectors.base import DetectorOptions, open_detector
from tests.infer.free_media import frame


class Yolo:
    """A model that always sees one person."""

    told: dict[str, Any]

    def __init__(self, path: str) -> None:
        assert Path(path).is_file()

    def predict(self, image: Any, **told: Any) -> list[Any]:
        Yolo.told = told | {"pixel": image[0, 0].tolist()}
        boxes = SimpleNamespace(xyxy=torch.tensor([[10.0, 20, 40, 80]]), conf=torch.tensor([0.75]))
        return [SimpleNamespace(boxes=boxes)]


@pytest.fixture
def options(tmp_path: Path) -> DetectorOptions:
    (tmp_path / "yolo.pt").touch()
    return DetectorOptions(model=tmp_path / "yolo.pt", confidence=0.25)


def test_boxes(options: DetectorOptions, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", SimpleNamespace(YOLO=Yolo))
    detector = open_detector("auto", options)
    image = np.zeros((48, 64, 3), np.uint8)
    image[..., 0] = 255
    assert detector.detect(frame(image)).boxes.tolist() == [[9.5, 19.5, 30, 60, 0.75]]
    told = {"conf": 0.25, "classes": [0], "device": "cpu", "verbose": False}
    assert Yolo.told == told | {"pixel": [0, 0, 255]}, "it takes BGR"
    with caplog.at_level(logging.INFO):
        detector.prepare([])
    assert "AGPL-3.0" in caplog.text


def test_refused(options: DetectorOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(UsageError, match=r"not installed.*AGPL-3\.0"):
        open_detector("ultralytics", options)
    with pytest.raises(LayoutError, match="nothing is downloaded"):
        open_detector("ultralytics", DetectorOptions(model=tmp_path / "yolo11x.pt"))
    with pytest.raises(UsageError, match=r"name a local model file.*AGPL-3\.0"):
        open_detector("ultralytics", DetectorOptions())
