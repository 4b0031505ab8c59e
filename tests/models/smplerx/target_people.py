"""People to make targets of: nobody, anybody (seeded), and those of the golden files."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmtools.geometry.crop import crop_affine
from hmtools.humandata.keypoints import convention
from hmtools.models.smplerx.target_input import TargetInput, posing_gender
from hmtools.models.smplerx.target_rules import RULES, TargetRule

GOLDEN = Path(__file__).parents[2] / "golden/smplerx"
WIDTH, HEIGHT = 320, 240
_WIDTHS = {
    **{"keypoints2d_137": (137, 3), "keypoints3d_137": (137, 4), "crop_affine": (2, 3)},
    **{"smplx_global_orient": (3,), "smplx_body_pose": (63,), "smplx_jaw_pose": (3,), "smplx_transl": (3,)},
    **{"smplx_left_hand_pose": (45,), "smplx_right_hand_pose": (45,)},
    **{"smplx_betas": (10,), "smplx_expression": (10,), "betas_neutral": (10,)},
    **{"focal_length": (2,), "principal_point": (2,)},
    **{"lhand_bbox_xywh": (5,), "rhand_bbox_xywh": (5,), "face_bbox_xywh": (5,)},
}
_FLAGS = [item.name for item in fields(TargetInput) if item.name.startswith("valid_")]


@cache
def arrays(name: str) -> dict[str, Any]:
    """A golden file."""
    with np.load(GOLDEN / name, allow_pickle=name.startswith("toy")) as data:
        return {key: data[key] for key in data.files}


def person(rule: str | TargetRule, **columns: Any) -> TargetInput:
    """One person with the given columns, numbers as anything NumPy reads, everything else null."""
    values: dict[str, Any] = {name: torch.full((1, *shape), torch.nan) for name, shape in _WIDTHS.items()}
    values |= {name: torch.ones(1, dtype=torch.bool) for name in _FLAGS}
    values |= {"width": torch.tensor([WIDTH]), "height": torch.tensor([HEIGHT])}
    values |= {"flip": torch.tensor([False]), "rotation": torch.zeros(1)}
    values |= {"rules": (RULES[rule] if isinstance(rule, str) else rule,), "gender": ("neutral",)}
    gender = columns.get("gender", ("neutral",))[0]
    has_smplx, refit = "smplx_body_pose" in columns, "betas_neutral" in columns
    values["smplx_gender"] = (posing_gender(gender, has_smplx=has_smplx, has_betas_neutral=refit),)
    for name, value in columns.items():
        values[name] = value if isinstance(value, tuple) else torch.as_tensor(np.asarray(value))[None]
        if isinstance(values[name], Tensor) and values[name].is_floating_point():
            values[name] = values[name].float().reshape(1, *_WIDTHS.get(name, values[name].shape[1:]))
    return TargetInput(**values)


def joined(people: list[TargetInput]) -> TargetInput:
    """One batch of many; a column that some have is NaN, or True, for the others."""

    def cells(name: str) -> Any:
        own = [getattr(p, name) for p in people]
        if isinstance(own[0], tuple):
            return tuple(value for each in own for value in each)
        like = next((value for value in own if value is not None), None)
        if like is None:
            return None
        fill = True if like.dtype == torch.bool else torch.nan
        return torch.cat([torch.full_like(like, fill) if value is None else value for value in own])

    return TargetInput(**{item.name: cells(item.name) for item in fields(TargetInput)})


def augmented(
    people: TargetInput, matrix: Any, flip: bool, rotation: float, *, mirrored: bool
) -> TargetInput:
    """One person with an augmentation; ``mirrored``: the matrix counts from the mirrored image."""
    found = np.asarray(matrix, np.float64).copy()
    if mirrored and flip:
        found[:, 2] += found[:, 0] * (WIDTH - 1)
        found[:, 0] *= -1
    return replace(
        people,
        crop_affine=torch.as_tensor(found, dtype=torch.float32)[None],
        flip=torch.tensor([flip]),
        rotation=torch.tensor([float(rotation)]),
    )


def drawn(people: TargetInput, seed: int, box_xywh: Any) -> TargetInput:
    """The augmentation that the published loaders draw after both of their generators were seeded."""
    generator, plain = np.random.RandomState(seed), random.Random(seed)
    scale = 1 + 0.25 * np.clip(generator.randn(), -1, 1)
    rotation = 30 * np.clip(generator.randn(), -2, 2) if plain.random() <= 0.6 else 0.0
    for _ in range(3):  # colours
        plain.random()
    flip = plain.random() <= 0.5
    x, y, w, h = np.asarray(box_xywh, np.float64)
    affine = crop_affine(
        [x + w / 2, y + h / 2], [w * scale, h * scale], (384, 512), rotation, flip=flip, convention="corners"
    )
    return augmented(people, affine, flip, rotation, mirrored=False)


def by_name(names: Any, values: Any, valid: Any) -> np.ndarray:
    """Joints of any names as rows of the 137 with a confidence; zeros where the 137 has no such name."""
    place = {name: row for row, name in enumerate(convention("smplerx_137").names)}
    values, valid = np.asarray(values, np.float32), np.asarray(valid, np.float32).reshape(-1)
    found = np.zeros((137, values.shape[1] + 1), np.float32)
    for row, name in enumerate(names):
        if name in place:
            found[place[name]] = [*values[row], valid[row]]
    return found


def row(values: Any, index: int = 0) -> dict[str, Tensor]:
    """One person of targets or masks."""
    return {item.name: getattr(values, item.name)[index] for item in fields(values)}
