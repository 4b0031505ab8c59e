"""``hog``: OpenCV's people detector, which needs no download.

A linear SVM on histograms of oriented gradients (Dalal and Triggs, "Histograms of Oriented Gradients for
Human Detection", CVPR 2005), of pedestrians. Its quality is that of 2005: it finds people who stand or walk,
seen whole, 100 pixels tall or more, and misses those who sit, bend, are cut off or hidden; trees and posts
are people to it at times. Enough for a first look; for results use a detection network.

OpenCV 5 has dropped it from its main modules: it is there in OpenCV 4 (``opencv-python<5``), and in OpenCV 5
with its extra modules (``opencv-contrib-python``, in the place of ``opencv-python``).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from hmtools.core.errors import UsageError
from hmtools.core.image import opencv
from hmtools.infer.detectors.base import Detections, Detector, DetectorOptions
from hmtools.infer.media import Frame, Medium

__all__ = ["Hog", "missing", "open_detector"]

log = logging.getLogger(__name__)

_LONG_SIDE = 640  # pixels at which frames are searched: 0.1 s; larger ones take seconds
# Windows have a margin: 16 pixels on each side of 64 x 128 in the paper (section 4). Found people fill more
# of their windows than that; with these shares boxes hold head and feet.
_INNER = (0.6, 0.9)


class Hog:
    """OpenCV's HOG people detector.

    Args:
        found: an ``cv2.HOGDescriptor`` with its people detector.
        confidence: boxes below it are left out; the SVM's margin m counts as 1 / (1 + exp(-2 m)).
    """

    name = "hog"
    trusted = False

    def __init__(self, found: Any, confidence: float) -> None:
        self._descriptor, self._confidence = found, confidence

    def prepare(self, media: Sequence[Medium]) -> None:
        """Say what is to be expected."""
        del media
        log.warning(
            "OpenCV's HOG detector looks for people: it finds those who stand, seen whole, and misses many "
            "others. For results use onnx or ultralytics with a local model, or give boxes"
        )

    def detect(self, frame: Frame) -> Detections:
        """Boxes about people, without the margin of the detector's windows."""
        cv2 = opencv()
        scale = min(1.0, _LONG_SIDE / max(frame.size))
        small = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
        if scale < 1:
            small = cv2.resize(small, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if small.shape[0] < 128 or small.shape[1] < 64:
            return Detections(np.zeros((0, 5)))
        windows, margins = self._descriptor.detectMultiScale(
            small, winStride=(8, 8), padding=(16, 16), scale=1.05
        )
        if not len(windows):
            return Detections(np.zeros((0, 5)))
        boxes = _inner(np.asarray(windows, np.float64) / scale)
        scores = 1 / (1 + np.exp(-2 * np.asarray(margins, np.float64).reshape(-1)))
        kept = scores >= self._confidence
        return Detections(np.column_stack([boxes, scores])[kept])


def _inner(windows: np.ndarray) -> np.ndarray:
    size = windows[:, 2:] * _INNER
    return np.concatenate([windows[:, :2] + (windows[:, 2:] - size) / 2, size], axis=1)


def missing() -> str:
    """Why there is no such detector here; empty where there is."""
    cv2 = opencv()
    if hasattr(cv2, "HOGDescriptor"):
        return ""
    return f"OpenCV {cv2.__version__} has no HOG people detector (OpenCV 4 and opencv-contrib-python have)"


def open_detector(options: DetectorOptions) -> Detector:
    """OpenCV's detector.

    Raises:
        UsageError: if this OpenCV has none.
    """
    if lacking := missing():
        raise UsageError(
            f"{lacking}; give boxes, or use the detector onnx or ultralytics with a local model, or whole if "
            "each frame is one person"
        )
    cv2 = opencv()
    found = cv2.HOGDescriptor()
    found.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())
    return Hog(found, options.confidence)
