"""What protocols compare, by name: each measure joins the metrics of :mod:`hmtools.bench.metrics` to pairs.

A measure takes :class:`~hmtools.bench.pairs.Pairs` of B people and returns columns of ``per_sample``, (B,)
each, and ``joint_errors`` (B, J). torch is loaded when one is called, not when a protocol names it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from hmtools.bench.protocols import base
from hmtools.bench.protocols.base import Measure
from hmtools.humandata.keypoints import convention

if TYPE_CHECKING:
    from torch import Tensor

    from hmtools.bench.pairs import Pairs
    from hmtools.bench.parts import BodyParts, Regressor

__all__ = ["CHALLENGE_24", "LSP_14", "MOVING_14", "SKELETON_14", "VISIBLE_BODY", "WHOLE_BODY"]

_SMPL_JOINTS = 24


@lru_cache(maxsize=4)
def _parts(root: Path, device: str) -> BodyParts:
    from hmtools.bench.parts import BodyParts

    return BodyParts.load((root,), device)


@lru_cache(maxsize=4)
def _skeletons(root: Path, device: str) -> tuple[Regressor, Regressor]:
    from hmtools.bench.parts import load_pw3d_14

    ours, theirs = load_pw3d_14((root,))
    return ours.to(device), theirs.to(device)


@lru_cache(maxsize=4)
def _lsp(root: Path, device: str) -> Regressor:
    from hmtools.bench.parts import load_lsp_14

    return load_lsp_14("smpl", (root,)).to(device)


def _whole_body(pairs: Pairs) -> dict[str, Tensor]:
    """SMPL-X meshes, every vertex: :func:`hmtools.bench.metrics.measure_smplx`."""
    from hmtools.bench.metrics import joint_errors_smplx, measure_smplx

    parts = _parts(pairs.bodies.root, pairs.bodies.device)
    found = dict(measure_smplx(pairs.predicted.vertices, pairs.target.vertices, parts))
    found["joint_errors"] = joint_errors_smplx(pairs.predicted.vertices, pairs.target.vertices, parts)
    return found


def _visible_body(pairs: Pairs) -> dict[str, Tensor]:
    """SMPL-X meshes, averaged over what the test camera sees of the true one inside the image.

    Raises:
        UsageError: if the pairs have no test camera.
    """
    import torch

    from hmtools.bench.metrics import joint_errors_smplx, measure_smplx
    from hmtools.bench.visibility import visible
    from hmtools.core.errors import UsageError

    if pairs.crop_affine is None:
        raise UsageError("this measure needs a protocol with a test camera")
    parts = _parts(pairs.bodies.root, pairs.bodies.device)
    sizes = [[record[name] for record in pairs.records] for name in ("height", "width")]
    height, width = (torch.tensor(size, device=pairs.bodies.device) for size in sizes)
    seen = visible(pairs.target.vertices, parts, pairs.crop_affine, height, width)
    found = dict(measure_smplx(pairs.predicted.vertices, pairs.target.vertices, parts, seen))
    joints = joint_errors_smplx(pairs.predicted.vertices, pairs.target.vertices, parts)
    counted = torch.cat([seen.body, seen.hands.flatten(1)], dim=1)
    found["joint_errors"] = torch.where(counted, joints, torch.nan)
    return found


def _skeleton_14(pairs: Pairs) -> dict[str, Tensor]:
    """14 joints of the neutral skeletons of two families: SMPL-X predictions, SMPL truth."""
    from hmtools.bench.metrics import joint_errors_14, measure_14

    regressors = _skeletons(pairs.bodies.root, pairs.bodies.device)
    found = dict(measure_14(pairs.predicted.vertices, pairs.target.vertices, regressors))
    found["joint_errors"] = joint_errors_14(pairs.predicted.vertices, pairs.target.vertices, regressors)
    return found


def _lsp_14(pairs: Pairs) -> dict[str, Tensor]:
    """14 joints regressed from SMPL meshes by the regressor of Human3.6M, its pelvis the root."""
    from hmtools.bench.metrics import joint_errors_14, measure_14

    regressor = _lsp(pairs.bodies.root, pairs.bodies.device)
    both = (regressor, regressor)
    found = dict(measure_14(pairs.predicted.vertices, pairs.target.vertices, both))
    found["joint_errors"] = joint_errors_14(pairs.predicted.vertices, pairs.target.vertices, both)
    return found


def _moving_14(pairs: Pairs) -> dict[str, Tensor]:
    """The 14 joints of :data:`LSP_14` about the middle of the hips, the vertices too, and their acceleration.

    Raises:
        UsageError: if the pairs are not in order of time.
    """
    from hmtools.bench.metrics import LSP_HIPS, joint_errors_14, measure_14

    regressor = _lsp(pairs.bodies.root, pairs.bodies.device)
    both = (regressor, regressor)
    ours, theirs = pairs.predicted.vertices, pairs.target.vertices
    found = dict(measure_14(ours, theirs, both, root=LSP_HIPS))
    found["joint_errors"] = joint_errors_14(ours, theirs, both, root=LSP_HIPS)
    found["accel_error"] = _along_tracks(pairs, *(regressor(mesh) for mesh in (ours, theirs)))
    return found


def _along_tracks(pairs: Pairs, predicted: Tensor, target: Tensor) -> Tensor:
    """Acceleration errors of joints about the middle of their hips, track by track; (B,) mm/s^2."""
    import torch

    from hmtools.bench.acceleration import acceleration_error
    from hmtools.bench.metrics import LSP_HIPS
    from hmtools.core.errors import UsageError

    if pairs.motion is None:
        raise UsageError("acceleration needs a protocol with over_tracks: rows in order of time")
    local = [
        joints[:, 1:] - joints[:, list(LSP_HIPS)].mean(1, keepdim=True) for joints in (predicted, target)
    ]
    found = torch.full((len(predicted),), torch.nan, device=predicted.device)
    tracks = [place.track for place in pairs.motion]
    for track in dict.fromkeys(tracks):
        rows = [row for row, own in enumerate(tracks) if own == track]
        places = torch.tensor([pairs.motion[row].place for row in rows], device=predicted.device)
        fps = pairs.motion[rows[0]].fps
        found[rows] = acceleration_error(local[0][rows], local[1][rows], places, fps)
    return found


def _challenge_24(pairs: Pairs) -> dict[str, Tensor]:
    """24 joints of SMPL's skeleton and the turn of nine of them: :mod:`hmtools.bench.challenge`.

    Raises:
        UsageError: if the bodies have no skeleton: the protocol's truth must want one.
    """
    from hmtools.bench.challenge import challenge_errors, measure_challenge
    from hmtools.core.errors import UsageError

    ours, theirs = pairs.predicted, pairs.target
    if ours.joints is None or theirs.joints is None:
        raise UsageError("this measure needs a protocol whose truth has a skeleton")
    joints = ours.joints[:, :_SMPL_JOINTS], theirs.joints[:, :_SMPL_JOINTS]
    found = dict(measure_challenge(*joints, ours.rotations, theirs.rotations))
    found["joint_errors"] = challenge_errors(*joints)
    return found


WHOLE_BODY = Measure(_whole_body, base.WHOLE_BODY_56)
"""SMPL-X meshes: every vertex, hands, face, joints."""
VISIBLE_BODY = Measure(_visible_body, base.WHOLE_BODY_56)
"""The same, averaged over what the test camera sees of the true mesh."""
SKELETON_14 = Measure(_skeleton_14, base.SKELETON_14)
"""14 joints of the skeletons of SMPL-X (predicted) and SMPL (true)."""
LSP_14 = Measure(_lsp_14, base.LSP_14)
"""14 joints of SMPL meshes, about the pelvis."""
MOVING_14 = Measure(_moving_14, base.LSP_14)
"""The same about the hips, with vertices and acceleration."""
CHALLENGE_24 = Measure(_challenge_24, convention("smpl_24").names)
"""SMPL's own joints and their turns."""
