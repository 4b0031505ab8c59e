"""Detectors by name, and which one is taken where nobody says."""

from __future__ import annotations

import pytest

from hmtools.core.errors import UsageError
from hmtools.core.image import opencv
from hmtools.infer.detectors.base import DetectorOptions, detector_names, open_detector
from tests.infer.free_media import frame


def test_names() -> None:
    assert detector_names() == ["given", "hog", "onnx", "ultralytics", "whole"]
    with pytest.raises(UsageError, match="no detector 'hogg'; did you mean 'hog'"):
        open_detector("hogg", DetectorOptions())


def test_the_default_needs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    detector = open_detector("auto", DetectorOptions())
    assert detector.name == ("hog" if hasattr(opencv(), "HOGDescriptor") else "whole")
    detector.prepare([frame().medium])
    assert caplog.records[0].levelname == "WARNING", "its quality is said"


def test_without_a_detector_the_default_says_what_was_done_and_what_is_better(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(opencv(), "HOGDescriptor", raising=False)
    open_detector("auto", DetectorOptions()).prepare([frame().medium])
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"OpenCV {opencv().__version__} has no HOG people detector")
    assert "every frame counts as one person who fills it" in said
    assert all(way in said for way in ("--boxes FILE", "FILE.onnx", "FILE.pt; pip install ultralytics"))


def test_whole(caplog: pytest.LogCaptureFixture) -> None:
    detector = open_detector("whole", DetectorOptions())
    detector.prepare([frame().medium])
    assert not [r for r in caplog.records if r.levelname == "WARNING"], "whoever asks for it knows"
    assert detector.detect(frame()).boxes.tolist() == [[-0.5, -0.5, 640, 480, 1]]
