"""``ultralytics``: a YOLO model by the package of that name, when it is installed.

The package and its weights are under the **AGPL-3.0** (or a licence that is bought): it is not a dependency
of hmtools, and whoever installs it decides about that. Weights are a local file; nothing is downloaded.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from hmtools.core.errors import LayoutError, UsageError
from hmtools.geometry.box import xyxy_to_xywh
from hmtools.infer.detectors.base import Detections, Detector, DetectorOptions
from hmtools.infer.media import Frame, Medium

__all__ = ["Ultralytics", "open_detector"]

log = logging.getLogger(__name__)

_LICENCE = "ultralytics and its weights are under the AGPL-3.0, or a licence of its maker"


class Ultralytics:
    """A YOLO model.

    Args:
        model: an ``ultralytics.YOLO``.
        options: confidence, number of the class, device.
    """

    name = "ultralytics"
    trusted = False

    def __init__(self, model: Any, options: DetectorOptions) -> None:
        self._model, self._options = model, options

    def prepare(self, media: Sequence[Medium]) -> None:
        """Name the licence."""
        log.info("people of %d sources are found by ultralytics: %s", len(media), _LICENCE)

    def detect(self, frame: Frame) -> Detections:
        """Boxes of people; the package counts corners of pixels from 0, here centres are whole numbers."""
        bgr = np.ascontiguousarray(frame.image[..., ::-1])  # the order in which it takes arrays
        found = self._model.predict(
            bgr,
            conf=self._options.confidence,
            classes=[self._options.person_class],
            device=self._options.device,
            verbose=False,
        )[0].boxes
        corners, scores = (np.asarray(values.cpu(), np.float64) for values in (found.xyxy, found.conf))
        boxes = xyxy_to_xywh(corners.reshape(-1, 4) - 0.5)
        return Detections(np.column_stack([boxes, scores]))


def open_detector(options: DetectorOptions) -> Detector:
    """The model of ``options.model``.

    Raises:
        UsageError: if the package is missing, or no model is named.
        LayoutError: if the model is not there.
    """
    if options.model is None:
        raise UsageError(f"detector ultralytics: name a local model file, such as yolo11x.pt ({_LICENCE})")
    if not options.model.is_file():
        raise LayoutError(f"{options.model}: no such file; nothing is downloaded, expected a YOLO model")
    try:
        package = importlib.import_module("ultralytics")
    except ImportError as error:
        raise UsageError(
            f"detector ultralytics: the package is not installed; `pip install ultralytics` ({_LICENCE})"
        ) from error
    return Ultralytics(package.YOLO(str(options.model)), options)
