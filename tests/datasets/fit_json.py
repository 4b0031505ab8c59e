"""NeuralAnnot files for tests, written from the format's description and not from its reader."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["FIELDS", "entry", "fit_values", "write_fits"]

FIELDS = {
    "root_pose": ("global_orient", 3),
    "body_pose": ("body_pose", 63),
    "lhand_pose": ("left_hand_pose", 45),
    "rhand_pose": ("right_hand_pose", 45),
    "jaw_pose": ("jaw_pose", 3),
    "shape": ("betas", 10),
    "expr": ("expression", 10),
    "trans": ("transl", 3),
}
"""Field of ``smplx_param`` -> column of the record without its family, and how many numbers."""


def fit_values(number: int) -> dict[str, list[float]]:
    """The parameters of annotation ``number``: no two of them alike, the person 40 metres away."""
    rng = np.random.default_rng(number)
    values = {name: (0.3 * rng.standard_normal(count)).tolist() for name, (_, count) in FIELDS.items()}
    return values | {"trans": [0.01 * (number % 9), -0.02, 40.0 + 0.1 * (number % 7)]}


def entry(number: int, **changes: Any) -> dict[str, Any]:
    """The entry of annotation ``number``, lists in a further list; a change to None leaves a field out."""
    values = {name: [value] for name, value in fit_values(number).items()} | changes
    camera = {"focal": [[2000.0 + number % 5, 2010.0]], "princpt": [[48.0 + number % 3, 36.5]]}
    camera |= {name: values.pop(name) for name in ("focal", "princpt") if name in values}
    return {
        "smplx_param": {name: value for name, value in values.items() if value is not None},
        "cam_param": {name: value for name, value in camera.items() if value is not None},
    }


def write_fits(path: Path, entries: Mapping[Any, Any]) -> Path:
    """Write a file of fits; an entry given as text is written as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f'"{key}": {row if isinstance(row, str) else json.dumps(row)}' for key, row in entries.items()]
    path.write_text("{" + ", ".join(rows) + "}")
    return path
