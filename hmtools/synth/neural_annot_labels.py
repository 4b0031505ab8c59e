"""Entries of a NeuralAnnot SMPL-X file, with the oddities real ones have.

An entry holds one person's fit: parameters in the camera frame, hands **relative** to the model's mean hand
(``flat_hand_mean`` false), no eyes, and the pinhole that belongs to them in the whole image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hmtools.synth.actors import Actor
    from hmtools.synth.scene import Figure

__all__ = ["as_written", "fit_label", "standin_hand_mean"]

_DIGITS = 7
_HANDS = {"left_hand_pose": "lhand_pose", "right_hand_pose": "rhand_pose"}
_POSE = {"global_orient": "root_pose", "body_pose": "body_pose", **_HANDS, "jaw_pose": "jaw_pose"}
"""Part of the pose -> its key, in the order of the file; eyes are not in it."""


@cache
def standin_hand_mean() -> NDArray[np.float64]:
    """(2, 45) of the stand-in's neutral model, which every fit is made with; radians."""
    from hmtools.bodies.assets import load_model, standin_dir

    return np.asarray(load_model("smplx", "neutral", roots=(standin_dir(),)).hand_mean, np.float64)


def as_written(actor: Actor, hand_mean: NDArray[np.floating[Any]]) -> Actor:
    """The actor whom a file can describe exactly: angles of seven digits, eyes at rest.

    Args:
        actor: an SMPL-X person.
        hand_mean: (2, 45) mean pose of the model's left and right hand, radians.
    """
    means = dict(zip(_HANDS, np.asarray(hand_mean, np.float64), strict=True))
    pose = {}
    for part in _POSE:
        mean = means.get(part, 0.0)
        pose[part] = np.round(actor.pose[part] - mean, _DIGITS) + mean
    return replace(
        actor,
        pose=pose,
        betas=actor.betas.round(_DIGITS),
        expression=actor.expression.round(_DIGITS),
        transl=np.zeros_like(actor.transl),
    )


def fit_label(
    actor: Actor,
    figure: Figure,
    hand_mean: NDArray[np.floating[Any]],
    valid: Mapping[str, bool] | None,
    quirks: Sequence[str],
) -> dict[str, Any]:
    """Describe the fit of one person in a still image.

    Args:
        actor: as :func:`as_written` gives it, one frame.
        figure: where the person stands.
        hand_mean: (2, 45) as there.
        valid: ``lhand``, ``rhand`` and ``face`` -> whether that part of the fit is good; None leaves the
            flags out.
        quirks: ``nested_lists`` puts every list into another one.

    Returns:
        The value that the file has under the annotation's id.
    """
    means = dict(zip(_HANDS, np.asarray(hand_mean, np.float64), strict=True))
    values = {
        key: np.round(actor.pose[part][0] - means.get(part, 0.0), _DIGITS) for part, key in _POSE.items()
    }
    values |= {"shape": actor.betas, "expr": actor.expression[0], "trans": figure.transl}
    camera = {"focal": figure.focal_length, "princpt": figure.principal_point}
    nested = "nested_lists" in quirks

    def lists(arrays: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
        return {key: [array.tolist()] if nested else array.tolist() for key, array in arrays.items()}

    flags = {f"{part}_valid": flag for part, flag in (valid or {}).items()}
    return {"smplx_param": {**lists(values), **flags}, "cam_param": lists(camera)}
