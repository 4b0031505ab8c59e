"""How far derived joints lie from those that the source annotated: the first sign of a wrong frame or unit.

Joints are paired by name where both are known: in 3D the same point, in 2D also another definition of it
(OpenPose's hips beside those of the model), which adds a few pixels that a wrong frame would dwarf. The
distances of all records are kept as a histogram with bins of a 1/16 octave, so that units can be counted
apart and added in any order; a percentile is the upper edge of its bin, at most 4.5 % too large.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np

from hmtools.humandata.keypoints import mapping
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec

__all__ = ["Histogram", "agreement", "distances", "percentiles"]

Histogram = dict[str, dict[int, int]]
"""``<what>_<unit>`` -> bin -> joints."""

_PER_OCTAVE = 16
_SMALLEST = -10 * _PER_OCTAVE  # 2^-10 pixels or millimetres: as good as equal
_PERCENTILES = (50, 95, 99)
_FAMILIES = {"smplx": "smplx_144", "smpl": "smpl_45"}


def distances(record: Record, spec: RecordSpec) -> dict[str, np.ndarray]:
    """Distances of one derived, normalised record.

    Returns:
        ``keypoints2d_<family>_px`` and ``keypoints3d_<family>_mm`` -> (J,) float64, of the joints that are
        known on both sides; without those that have none.
    """
    found = {}
    for family, native in _FAMILIES.items():
        for dimensions, unit, scale in ((2, "px", 1.0), (3, "mm", 1000.0)):
            source = spec.keypoints2d if dimensions == 2 else spec.keypoints3d
            derived = getattr(record, f"keypoints{dimensions}d_{family}")
            labelled = getattr(record, f"keypoints{dimensions}d_original")
            if source is None or derived is None or labelled is None:
                continue
            pairs = mapping(source, native, approximate=dimensions == 2)
            ours = np.asarray(derived, np.float64)[pairs.dst]
            theirs = np.asarray(labelled, np.float64)[pairs.src]
            both = (ours[:, -1] > 0) & (theirs[:, -1] > 0)
            if both.any():
                away = np.linalg.norm(ours[both, :dimensions] - theirs[both, :dimensions], axis=1)
                found[f"keypoints{dimensions}d_{family}_{unit}"] = scale * away
    return found


def agreement(record: Record, spec: RecordSpec) -> dict[str, Counter[int]]:
    """The :func:`distances` of one record, as counts of bins."""
    return {name: Counter(_bins(values).tolist()) for name, values in distances(record, spec).items()}


def _bins(values: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        octave = np.log2(values) * _PER_OCTAVE
    return np.asarray(np.ceil(np.maximum(octave, _SMALLEST)), np.int64)


def percentiles(histograms: Mapping[str, Mapping[int, int]]) -> dict[str, dict[str, float]]:
    """What the manifest says: name -> ``joints, p50, p95, p99``, in the unit of the name."""
    found = {}
    for name, bins in sorted(histograms.items()):
        edges = sorted(bins)
        reached = np.cumsum([bins[edge] for edge in edges])
        total = int(reached[-1])
        row: dict[str, float] = {"joints": total}
        for percent in _PERCENTILES:
            place = int(np.searchsorted(reached, math.ceil(total * percent / 100)))
            row[f"p{percent}"] = float(f"{2 ** (edges[place] / _PER_OCTAVE):.4g}")
        found[name] = row
    return found
