"""OpenCV's people detector, where OpenCV has it, and what is said where it has not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hmtools.core.errors import UsageError
from hmtools.core.image import opencv
from hmtools.infer.detectors.base import DetectorOptions, open_detector
from hmtools.infer.detectors.hog import Hog
from tests.infer.free_media import frame


class Descriptor:
    """Sees one person in a window of 64 x 128 at (100, 50), surely, and one who is none."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def detectMultiScale(self, image: Any, **_: Any) -> tuple[Any, Any]:  # noqa: N802 - its name there
        self.shapes.append(image.shape)
        windows = np.array([[100, 50, 64, 128], [0, 0, 64, 128]], np.int32)
        return windows, np.array([[1.5], [0.1]])


def test_boxes_have_no_margin() -> None:
    descriptor = Descriptor()
    found = Hog(descriptor, 0.9).detect(frame(np.zeros((960, 1280, 3), np.uint8)))
    assert descriptor.shapes == [(480, 640)]
    np.testing.assert_allclose(found.boxes[:, :4], [[225.6, 112.8, 76.8, 230.4]])
    assert found.boxes[0, 4] == pytest.approx(1 / (1 + np.exp(-3)))


def test_images_that_are_smaller_than_a_window() -> None:
    assert Hog(Descriptor(), 0.5).detect(frame(np.zeros((100, 200, 3), np.uint8))).boxes.shape == (0, 5)


def test_the_real_one_or_what_to_do_instead() -> None:
    if hasattr(opencv(), "HOGDescriptor"):
        empty = open_detector("hog", DetectorOptions()).detect(frame())
        assert empty.boxes.shape == (0, 5)
    else:
        with pytest.raises(UsageError, match=r"has no HOG people detector.*onnx or ultralytics.*whole"):
            open_detector("hog", DetectorOptions())
