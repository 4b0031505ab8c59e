"""Small tables of predictions: people of the stand-in body, and other rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hmtools.bodies.mixed import BodyLayers
from hmtools.humandata.predictions import PredictionSpec, PredictionWriter
from hmtools.infer.outputs.bodies import bodies_of_predictions, body_columns
from hmtools.infer.outputs.scenes import Track, scan, tracks

__all__ = ["FACTS", "WIDE", "person", "standin_bodies", "track_of", "write_table"]

FACTS = {"model": "test", "standin": True}
WIDE = (320, 240)
"""Width and height of the pictures that people are in."""


def person(seed: int, source: str = "clip.mp4", frame: int = 0, **changes: Any) -> dict[str, Any]:
    """A row: somebody 3 m away who looks at the camera, bent a little by ``seed``."""
    rng = np.random.default_rng(seed)
    row = {
        "source": source,
        "frame": frame,
        "track_id": "1",
        "width": WIDE[0],
        "height": WIDE[1],
        "bbox_xywh": [100, 20, 120, 200, 1],
        "focal_length": [300, 300],
        "principal_point": [159.5, 119.5],
        "smplx_global_orient": [np.pi, 0.2 * rng.normal(), 0],
        "smplx_body_pose": rng.normal(0, 0.25, 63),
        "smplx_left_hand_pose": rng.normal(0, 0.2, 45),
        "smplx_right_hand_pose": rng.normal(0, 0.2, 45),
        "smplx_jaw_pose": [0.2, 0, 0],
        "smplx_betas": rng.normal(0, 1, 10),
        "smplx_expression": np.zeros(10),
        "smplx_transl": [0.1 * rng.normal(), 0.2, 3],
    }
    return {**row, **changes}


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], **facts: Any) -> Path:
    """Write rows; columns are those of SMPL-X."""
    with PredictionWriter(path, PredictionSpec(bodies=("smplx",)), {**FACTS, **facts}) as writer:
        writer.write(rows)
    return path


def track_of(path: Path) -> Track:
    """The only person of a table, with the columns of the body."""
    (track,) = tracks(scan(path), body_columns("smplx"))
    return track


def standin_bodies(path: Path) -> BodyLayers:
    """The body models that a table says it is of."""
    return bodies_of_predictions(path, "smplx")
