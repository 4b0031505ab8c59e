"""``whole``: every frame shows one person, who fills it. For pictures that are cut to a person already."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from hmtools.infer.detectors.base import Detections, Detector, DetectorOptions
from hmtools.infer.media import Frame, Medium

__all__ = ["Whole", "open_detector"]

log = logging.getLogger(__name__)


class Whole:
    """One box per frame: the frame."""

    name = "whole"
    trusted = True

    def prepare(self, media: Sequence[Medium]) -> None:
        """Say what that means."""
        del media
        log.warning(
            "nobody is looked for: every frame is taken to show one person who fills it. For anything else "
            "give boxes, or a detector (onnx or ultralytics with a local model)"
        )

    def detect(self, frame: Frame) -> Detections:
        """The frame, with confidence 1."""
        width, height = frame.size
        return Detections(np.array([[-0.5, -0.5, width, height, 1.0]]))


def open_detector(options: DetectorOptions) -> Detector:
    """Needs nothing of ``options``."""
    del options
    return Whole()
