"""``whole``: every frame shows one person, who fills it. For pictures that are cut to a person already."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from hmtools.infer.detectors.base import Detections, Detector, DetectorOptions
from hmtools.infer.media import Frame, Medium

__all__ = ["Whole", "open_detector"]

log = logging.getLogger(__name__)

_BETTER = (
    "Where that is not so, give boxes (--boxes FILE, also WHAM's pose_data.npz), an ONNX detector "
    "(--detector-model FILE.onnx; pip install 'hmtools[onnx]') or a YOLO model (--detector-model FILE.pt; "
    "pip install ultralytics, which is under the AGPL-3.0)"
)


class Whole:
    """One box per frame: the frame.

    Args:
        instead: why nothing better was taken, where nobody asked for this one.
    """

    name = "whole"
    trusted = True

    def __init__(self, instead: str = "") -> None:
        self._instead = instead

    def prepare(self, media: Sequence[Medium]) -> None:
        """Say what that means; a warning to those who have not asked for it."""
        if self._instead:
            log.warning("%s, so every frame counts as one person who fills it. %s", self._instead, _BETTER)
        else:
            log.info("every frame of %d sources counts as one person who fills it", len(media))

    def detect(self, frame: Frame) -> Detections:
        """The frame, with confidence 1."""
        width, height = frame.size
        return Detections(np.array([[-0.5, -0.5, width, height, 1.0]]))


def open_detector(options: DetectorOptions) -> Detector:
    """Needs nothing of ``options``."""
    del options
    return Whole()
