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
    assert "give boxes" in caplog.text, "its quality is said"


def test_whole() -> None:
    detector = open_detector("whole", DetectorOptions())
    assert detector.detect(frame()).boxes.tolist() == [[-0.5, -0.5, 640, 480, 1]]
