"""What a detector is, and how one is found by name.

A detector is a module beside this one with a function ``open_detector(options) -> Detector``; the name of the
module is the name of the detector. Nothing is ever downloaded: models are local files.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Float

import hmtools.infer.detectors as detectors
from hmtools.core.errors import UsageError, nearest
from hmtools.infer.media import Frame, Medium

__all__ = ["AUTO", "Detections", "Detector", "DetectorOptions", "detector_names", "open_detector"]

AUTO = "auto"
"""Given boxes if there are any, else the given model, else ``hog`` where OpenCV has it, else ``whole``."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The people of one frame.

    Attributes:
        boxes: (n, 5) x, y, w, h, confidence (0 to 1), float64, upright pixels with centres at integers.
        track_ids: who they are, where the detector knows; None: it does not.
    """

    boxes: Float[np.ndarray, "n 5"]
    track_ids: Sequence[str | None] | None = None


class Detector(Protocol):
    """Finds the people of frames, one frame after another, from one thread."""

    @property
    def name(self) -> str:
        """What predictions say of it."""

    @property
    def trusted(self) -> bool:
        """Whether its boxes are the user's own: none is a double, and no limits but those asked for count."""

    def prepare(self, media: Sequence[Medium]) -> None:
        """Hear which media will come.

        Raises:
            UsageError: if it has nothing to say about them.
        """

    def detect(self, frame: Frame) -> Detections:
        """The people of one frame, in any order; of a source, frames come in rising order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorOptions:
    """What detectors may be told.

    Attributes:
        boxes: file of given boxes.
        model: local file of a detection network.
        confidence: boxes below it are left out.
        person_class: number of the class that is people, of networks that know several.
        device: where networks run.
    """

    boxes: Path | None = None
    model: Path | None = None
    confidence: float = 0.5
    person_class: int = 0
    device: str = "cpu"


def detector_names() -> list[str]:
    """Names that :func:`open_detector` knows, without :data:`AUTO`."""
    return sorted(found.name for found in pkgutil.iter_modules(detectors.__path__) if found.name != "base")


def open_detector(name: str, options: DetectorOptions) -> Detector:
    """Make a detector ready.

    Args:
        name: of :func:`detector_names`, or :data:`AUTO`.
        options: for it.

    Raises:
        UsageError: for an unknown name, a package that is missing, an option that it needs.
        LayoutError: for a file that is not there.
    """
    if name == AUTO:
        return _default(options)
    known = detector_names()
    if name not in known:
        raise UsageError(f"no detector {name!r}{nearest(name, known)}; there are {', '.join([AUTO, *known])}")
    module = importlib.import_module(f"{detectors.__name__}.{name}")
    found: Detector = module.open_detector(options)
    return found


def _default(options: DetectorOptions) -> Detector:
    if options.boxes is not None:
        return open_detector("given", options)
    if options.model is not None:
        return open_detector("onnx" if options.model.suffix == ".onnx" else "ultralytics", options)
    from hmtools.infer.detectors.hog import missing
    from hmtools.infer.detectors.whole import Whole

    lacking = missing()
    return Whole(lacking) if lacking else open_detector("hog", options)
