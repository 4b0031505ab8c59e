"""``onnx``: a local detection network, run by onnxruntime when that is installed.

The network takes one image, (1, 3, H, W) float32, RGB from 0 to 1, fitted into H x W with grey around it (640
where the file leaves the size open). Of what it gives back, these layouts are understood:

==============================  =============================================================================
output                          as exported from
==============================  =============================================================================
(1, 4 + C, N), N > 4 + C        YOLOv8, YOLO11: cx, cy, w, h, a score for each class
(1, N, 5 + C), N > 100          YOLOv5, YOLOv7, YOLOX with decoded boxes: cx, cy, w, h, objectness, classes
(1, N, 6), N <= 1000            networks that end with non-maximum suppression (YOLOv10, YOLO26, exports with
                                ``nms``): x1, y1, x2, y2, score, class
``dets`` (1, N, 5), ``labels``  exports of mmdeploy: x1, y1, x2, y2, score; class (1, N)
==============================  =============================================================================

Boxes are in pixels of the network's input, in which pixel edges are whole numbers.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from hmtools.core.errors import LayoutError, SchemaError, UsageError
from hmtools.core.image import opencv
from hmtools.geometry.box import xyxy_to_xywh
from hmtools.infer.detectors.base import Detections, Detector, DetectorOptions
from hmtools.infer.media import Frame, Medium

__all__ = ["Onnx", "open_detector", "people_boxes"]

log = logging.getLogger(__name__)

_SIZE = 640
_GREY = 114  # what YOLO networks are trained to see around images
_FINAL = 1000  # networks that suppress doubles themselves give some hundred boxes at most
_PROVIDERS = {"cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"]}


class Onnx:
    """A detection network.

    Args:
        session: an ``onnxruntime.InferenceSession``.
        options: confidence, number of the class.

    Raises:
        SchemaError: if it does not take one RGB image.
    """

    name = "onnx"
    trusted = False

    def __init__(self, session: Any, options: DetectorOptions) -> None:
        self._session, self._options = session, options
        inputs = session.get_inputs()
        shape = list(inputs[0].shape) if inputs else []
        if (
            len(inputs) != 1
            or len(shape) != 4
            or (isinstance(shape[1], int) and shape[1] != 3)
            or "float" not in inputs[0].type
        ):
            found = [(one.name, one.type, one.shape) for one in inputs]
            raise SchemaError(
                f"{options.model}: expected one float input (1, 3, H, W), an RGB image; found {found}"
            )
        self._input = inputs[0].name
        self._half = "float16" in inputs[0].type
        height, width = (size if isinstance(size, int) else _SIZE for size in shape[2:])
        self._size = (width, height)
        self._outputs = [one.name for one in session.get_outputs()]

    def prepare(self, media: Sequence[Medium]) -> None:
        """Nothing to prepare."""
        log.info("people of %d sources are found by %s", len(media), self._options.model)

    def detect(self, frame: Frame) -> Detections:
        """Boxes of people.

        Raises:
            SchemaError: for an output of another layout.
        """
        pixels, scale, offset = _fitted(frame.image, self._size)
        batch = pixels.transpose(2, 0, 1)[None]
        answers = self._session.run(None, {self._input: batch.astype(np.float16) if self._half else batch})
        outputs = {name: np.asarray(value) for name, value in zip(self._outputs, answers, strict=True)}
        corners, scores = people_boxes(outputs, self._options.person_class)
        kept = scores >= self._options.confidence
        # back to the image, whose pixel centres are whole numbers
        upright = (corners[kept] - np.tile(offset, 2)) / scale - 0.5
        return Detections(np.column_stack([xyxy_to_xywh(upright), scores[kept]]))


def _fitted(
    image: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]
) -> tuple[Float32[np.ndarray, "rows columns 3"], float, Float[np.ndarray, "xy=2"]]:
    """The image in the middle of the network's input, its scale and where it begins."""
    height, width = image.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    cv2 = opencv()
    small = cv2.resize(image, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    whole = np.full((size[1], size[0], 3), _GREY, np.uint8)
    whole[top : top + inner[1], left : left + inner[0]] = small
    return whole.astype(np.float32) / 255, scale, np.array([left, top], np.float64)


def people_boxes(
    outputs: Mapping[str, np.ndarray], person_class: int
) -> tuple[Float[np.ndarray, "n 4"], Float[np.ndarray, " n"]]:
    """Boxes and scores of people in what a network gave back.

    Args:
        outputs: name -> array, in the network's order.
        person_class: number of the class that is people.

    Returns:
        (n, 4) x1, y1, x2, y2 in pixels of the network's input, and (n) scores from 0 to 1, float64.

    Raises:
        SchemaError: for another layout.
    """
    if {"dets", "labels"} <= set(outputs):
        rows, labels = outputs["dets"].reshape(-1, 5), outputs["labels"].reshape(-1)
        chosen = rows[labels == person_class].astype(np.float64)
        return chosen[:, :4], chosen[:, 4]
    first = next(iter(outputs.values()), np.zeros(0))
    if first.ndim != 3 or len(first) != 1 or (len(outputs) > 1 and not _only_first_matters(first)):
        raise _unknown(outputs)
    rows = first[0].astype(np.float64)
    if rows.shape[1] == 6 and len(rows) <= _FINAL:
        chosen = rows[rows[:, 5].round() == person_class]
        return chosen[:, :4], chosen[:, 4]
    if rows.shape[1] > rows.shape[0] > 4 + person_class:
        columns = rows.T
        return _corners(columns), columns[:, 4 + person_class]
    if rows.shape[0] > 100 and rows.shape[1] > 5 + person_class:
        return _corners(rows), rows[:, 4] * rows[:, 5 + person_class]
    raise _unknown(outputs)


def _only_first_matters(first: np.ndarray) -> bool:
    """YOLOv5 and v7 give what their boxes were made from as well, with more axes, behind them."""
    return bool(first.shape[1] > 100)


def _corners(rows: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n 4"]:
    half = rows[:, 2:4] / 2
    return np.concatenate([rows[:, :2] - half, rows[:, :2] + half], axis=1)


def _unknown(outputs: Mapping[str, np.ndarray]) -> SchemaError:
    found = ", ".join(f"{name} {value.shape}" for name, value in outputs.items())
    return SchemaError(
        f"detector onnx: outputs {found} are of no layout that is understood: (1, 4 + classes, boxes), "
        "(1, boxes, 5 + classes), (1, boxes, 6), or dets and labels; export it as one of these, or give boxes"
    )


def open_detector(options: DetectorOptions) -> Detector:
    """The network of ``options.model``.

    Raises:
        UsageError: if onnxruntime is missing, or no file is named.
        LayoutError: if the file is not there, or is no network.
        SchemaError: if it does not take one RGB image.
    """
    if options.model is None:
        raise UsageError("detector onnx: name a local file of a person detector, *.onnx")
    if not options.model.is_file():
        raise LayoutError(f"{options.model}: no such file; nothing is downloaded, expected a network, *.onnx")
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise UsageError(
            "detector onnx: onnxruntime is not installed; `pip install 'hmtools[onnx]'` (or onnxruntime-gpu)"
        ) from error
    providers = _PROVIDERS.get(options.device.partition(":")[0], ["CPUExecutionProvider"])
    available = set(runtime.get_available_providers())
    try:
        session = runtime.InferenceSession(
            str(options.model), providers=[name for name in providers if name in available]
        )
    except Exception as error:  # its errors have no common class of their own
        raise LayoutError(f"{options.model}: onnxruntime cannot load it: {error}") from error
    return Onnx(session, options)
