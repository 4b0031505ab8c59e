"""Errors of predicted bodies, in millimetres, one value per person.

Batched functions of float32 tensors on any device; the caller streams batches. Vertices and joints come in
metres, prediction and truth in the same axes. PVE and MPVPE are two names of one thing. A value is NaN where
it is not defined: nothing visible, or a prediction that is not finite; infinite beyond 1e18 m.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hmtools.bench.alignment import centred, lengths, masked_mean, pa_distances, pa_lengths, root_distances
from hmtools.bench.parts import BODY_14, HAND_21, PART_ROWS, BodyParts, Regressor
from hmtools.bench.visibility import Visible
from hmtools.core.errors import UsageError

__all__ = [
    "LSP_HIPS",
    "PELVIS",
    "SMPLX_JOINTS",
    "SMPLX_METRICS",
    "auc",
    "joint_errors_14",
    "joint_errors_smplx",
    "measure_14",
    "measure_smplx",
    "mpjpe",
    "pa_mpjpe",
    "pck",
]

PELVIS: tuple[int, ...] = (0,)
"""Root of :func:`measure_14`: row 0 of the regressors (``smplerx@1``, SPIN)."""
LSP_HIPS: tuple[int, ...] = (3, 4)
"""Root of :func:`measure_14` with ``load_lsp_14``: half-way between the two hips of the 14 (WHAM)."""
SMPLX_JOINTS: tuple[str, ...] = (
    *BODY_14,
    *(f"{side}_{joint}" for side in ("left", "right") for joint in HAND_21),
)
"""Names of the 56 joints of :func:`joint_errors_smplx`."""
SMPLX_METRICS: tuple[str, ...] = tuple(
    f"{alignment}{kind}"
    for kinds in (
        ("pve_all", "pve_lhand", "pve_rhand", "pve_hand", "pve_face"),
        ("mpjpe_body", "mpjpe_lhand", "mpjpe_rhand", "mpjpe_hand"),
    )
    for alignment in ("", "pa_")
    for kind in kinds
)
"""What :func:`measure_smplx` gives, in its order."""

_MM = 1000.0
_MESHES_AT_ONCE = {"cpu": 16, "cuda": 1024}  # on a CPU, few enough to stay in its cache
_PELVIS, _NECK, _BODY = 0, 1, PART_ROWS["body"]
_HANDS = slice(PART_ROWS["left_hand"].start, PART_ROWS["right_hand"].stop)


@torch.no_grad()
def measure_smplx(
    predicted: Float[Tensor, "b v 3"],
    target: Float[Tensor, "_b v 3"],
    parts: BodyParts,
    visible: Visible | None = None,
) -> dict[str, Float[Tensor, " b"]]:
    """All errors of ``smplerx@1`` between SMPL-X meshes: :data:`SMPLX_METRICS`, each (B,), millimetres.

    J is the joint regressor of the neutral model, applied to each whole mesh.

    ============================ ==================================== ===========================
    metric                       points                               aligned by
    ============================ ==================================== ===========================
    ``pve_all``                  10475 vertices                       pelvis, J row 0
    ``pve_lhand``, ``pve_rhand`` 778 vertices of the hand             wrist, J rows 20 and 21
    ``pve_face``                 5023 vertices of the head            neck, J row 12
    ``mpjpe_body``               14 joints of ``SMPLX_to_J14``        pelvis, J row 0
    ``mpjpe_lhand``, ``_rhand``  21 joints: wrist, fingers with tips  wrist, J rows 20 and 21
    ``pve_hand``, ``mpjpe_hand`` mean of left and right
    ``pa_...``                   the same                             similarity of those points
    ============================ ==================================== ===========================

    A value is the mean distance of its points after the alignment; ``pa_`` is
    :func:`~hmtools.bench.alignment.pa_distances`. Source: SMPLer-X, which reports no ``mpjpe_*`` for SMPL-X
    meshes; those are ours, by the same roots.

    Args:
        predicted: (B, 10475, 3) metres.
        target: (B, 10475, 3) metres.
        parts: on the device of the meshes.
        visible: the points that are averaged (UBody); alignments use all. A part without any is NaN, a hand
            value is the mean of the hands that have some.

    Returns:
        Metric -> (B,) float; all NaN for people of whom a vertex is NaN or infinite.

    Raises:
        UsageError: if the shapes differ or are not those of SMPL-X.
    """
    for mesh in (predicted, target):
        parts.joints.check(mesh)
    _same(predicted, target)
    step = _MESHES_AT_ONCE.get(predicted.device.type, 256)
    found = []
    for start in range(0, max(len(predicted), 1), step):
        rows = slice(start, start + step)
        seen = None if visible is None else visible[rows]
        found.append(_measured(predicted[rows], target[rows], parts, seen))
    return {name: torch.cat([part[name] for part in found]) for name in SMPLX_METRICS}


def joint_errors_smplx(
    predicted: Float[Tensor, "b v 3"], target: Float[Tensor, "b v 3"], parts: BodyParts
) -> Float[Tensor, "b 56"]:
    """Errors of the joints that ``mpjpe_body``, ``mpjpe_lhand`` and ``mpjpe_rhand`` are means of.

    Returns:
        (B, 56) millimetres, named by :data:`SMPLX_JOINTS`; the wrists of the hands are 0, being the root.

    Raises:
        UsageError: as :func:`measure_smplx`.
    """
    _same(predicted, target)
    ours, theirs = (parts.joints.relative(mesh, mesh[:, :1]) for mesh in (predicted, target))
    pieces = []
    for part, root in (("body", _PELVIS), ("left_hand", _HANDS.start), ("right_hand", _HANDS.start + 21)):
        rows = PART_ROWS[part]
        pieces.append(root_distances(ours[:, rows], theirs[:, rows], ours[:, root], theirs[:, root]))
    return _MM * torch.cat(pieces, dim=1)


def measure_14(
    predicted: Float[Tensor, "b v 3"],
    target: Float[Tensor, "b w 3"],
    regressors: tuple[Regressor, Regressor],
    *,
    root: Sequence[int] = PELVIS,
) -> dict[str, Float[Tensor, " b"]]:
    """MPJPE and PA-MPJPE of 14 joints regressed from both meshes (3DPW), millimetres.

    ``mpjpe_body`` once the roots coincide, ``pa_mpjpe_body`` after the similarity of the 14 joints; means
    over the joints. ``pve_all``, only for meshes of one family: mean distance of all vertices once the roots
    coincide.

    - ``smplerx@1``: SMPL-X prediction, SMPL truth, :func:`~hmtools.bench.parts.load_pw3d_14`, root
      :data:`PELVIS`. Source: SMPLer-X.
    - common protocol: SMPL meshes, ``(r, r)`` with r from :func:`~hmtools.bench.parts.load_lsp_14`, root
      :data:`PELVIS` (SPIN, HMR2.0) or :data:`LSP_HIPS` (WHAM, which moves the vertices by it too).

    Args:
        predicted: (B, V, 3) metres.
        target: (B, W, 3) metres.
        regressors: of prediction and truth, 15 rows each: pelvis, then the 14 joints.
        root: rows whose mean is the root.

    Returns:
        Metric -> (B,).

    Raises:
        UsageError: if a mesh does not fit its regressor, or the batches differ.
    """
    ours, theirs, *roots = _regressed(predicted, target, regressors, root)
    found = {
        "mpjpe_body": mpjpe(ours[:, 1:], theirs[:, 1:], *roots),
        "pa_mpjpe_body": pa_mpjpe(ours[:, 1:], theirs[:, 1:]),
    }
    if predicted.shape == target.shape:
        local = (mesh - mesh[:, :1] for mesh in (predicted, target))
        found["pve_all"] = _MM * root_distances(*local, *roots).mean(-1)
    return found


def joint_errors_14(
    predicted: Float[Tensor, "b v 3"],
    target: Float[Tensor, "b w 3"],
    regressors: tuple[Regressor, Regressor],
    *,
    root: Sequence[int] = PELVIS,
) -> Float[Tensor, "b 14"]:
    """The 14 errors that ``mpjpe_body`` of :func:`measure_14` is the mean of; (B, 14) millimetres.

    Raises:
        UsageError: as :func:`measure_14`.
    """
    ours, theirs, *roots = _regressed(predicted, target, regressors, root)
    return _MM * root_distances(ours[:, 1:], theirs[:, 1:], *roots)


def mpjpe(
    predicted: Float[Tensor, "b j 3"],
    target: Float[Tensor, "b j 3"],
    predicted_root: Float[Tensor, "b 3"],
    target_root: Float[Tensor, "b 3"],
    counted: Bool[Tensor, "b j"] | None = None,
) -> Float[Tensor, " b"]:
    """Mean distance of joints (metres) once the roots coincide; (B,) millimetres.

    Args:
        predicted: (B, J, 3) metres.
        target: (B, J, 3) metres.
        predicted_root: (B, 3) what is moved onto ``target_root``.
        target_root: (B, 3).
        counted: (B, J) joints that the mean is over, all by default; NaN where there are none.

    Raises:
        UsageError: if the shapes differ.
    """
    return _MM * masked_mean(root_distances(predicted, target, predicted_root, target_root), counted)


@torch.no_grad()
def pa_mpjpe(
    predicted: Float[Tensor, "b j 3"],
    target: Float[Tensor, "b j 3"],
    counted: Bool[Tensor, "b j"] | None = None,
) -> Float[Tensor, " b"]:
    """Mean distance of joints (metres) after the best similarity of **all** of them; (B,) millimetres.

    Args:
        predicted: (B, J, 3) metres.
        target: (B, J, 3) metres.
        counted: (B, J) joints that the mean is over, all by default; NaN where there are none.

    Raises:
        UsageError: if the shapes differ.
    """
    return _MM * masked_mean(pa_distances(predicted, target), counted)


def pck(errors: Float[Tensor, "b j"], threshold: float = 50.0) -> Float[Tensor, " b"]:
    """Percentage of the joint errors (B, J) in mm that are at most ``threshold`` mm; NaN if one is NaN."""
    share = 100 * (errors <= threshold).to(errors).mean(-1)
    return torch.where(errors.isnan().any(-1), torch.nan, share)


def auc(errors: Float[Tensor, "b j"], limit: float = 200.0) -> Float[Tensor, " b"]:
    """Area under the curve of PCK over thresholds from 0 to ``limit`` mm, in per cent of the whole.

    The exact integral, ``100 mean(max(0, 1 - error / limit))``: the mean over people is the area under their
    common curve. A sum over steps of 1 mm differs by at most 0.5. NaN if an error is NaN.
    """
    return 100 * (1 - errors / limit).clamp(min=0).mean(-1)


def _regressed(
    predicted: Tensor, target: Tensor, regressors: tuple[Regressor, Regressor], root: Sequence[int]
) -> list[Tensor]:
    """Joints of both and their roots, each less the first vertex of its mesh."""
    pairs = zip(regressors, (predicted, target), strict=True)
    ours, theirs = (regressor.relative(mesh, mesh[:, :1]) for regressor, mesh in pairs)
    _same(ours, theirs)
    return [ours, theirs, *(joints[:, list(root)].mean(1) for joints in (ours, theirs))]


def _measured(
    predicted: Tensor, target: Tensor, parts: BodyParts, visible: Visible | None
) -> dict[str, Tensor]:
    """:func:`measure_smplx` of a few meshes."""
    (ours, our_origin), (theirs, their_origin) = centred(predicted.mT), centred(target.mT)
    our_joints = parts.joints.local(ours, our_origin)
    their_joints = parts.joints.local(theirs, their_origin)
    apart = our_joints - their_joints
    wrists = apart[:, :, [_HANDS.start, _HANDS.start + 21]].mT[..., None]
    # Groups of points: (B, 3, N), or (B, 2, 3, N) for the two hands
    pairs = [
        (ours, theirs),
        (_hands(_taken(ours, parts.hands.flatten())), _hands(_taken(theirs, parts.hands.flatten()))),
        (_taken(ours, parts.face), _taken(theirs, parts.face)),
        (our_joints[:, :, _BODY], their_joints[:, :, _BODY]),
        (_hands(our_joints[:, :, _HANDS]), _hands(their_joints[:, :, _HANDS])),
    ]
    roots = [apart[:, :, [_PELVIS]], wrists, apart[:, :, [_NECK]], apart[:, :, [_PELVIS]], wrists]
    plain = [lengths((x - y).sub_(root)) for (x, y), root in zip(pairs, roots, strict=True)]
    best = pa_lengths([pairs[0], *((_about_middle(x), _about_middle(y)) for x, y in pairs[1:])])
    counted = _counted(parts, visible)
    found: dict[str, Tensor] = {}
    for prefix, distances in (("", plain), ("pa_", best)):
        means = [_MM * masked_mean(d, c) for d, c in zip(distances, counted, strict=True)]
        for name, value in zip(("pve_all", "pve", "pve_face", "mpjpe_body", "mpjpe"), means, strict=True):
            if value.ndim == 1:
                found[prefix + name] = value
            else:
                found[f"{prefix}{name}_lhand"], found[f"{prefix}{name}_rhand"] = value.unbind(1)
                found[f"{prefix}{name}_hand"] = value.nanmean(1)
    return found


def _counted(parts: BodyParts, visible: Visible | None) -> list[Tensor | None]:
    """The points of each group that are averaged."""
    if visible is None:
        return [None] * 5
    seen = visible.vertices
    return [seen, seen[:, parts.hands], seen[:, parts.face], visible.body, visible.hands]


def _taken(points: Tensor, ids: Tensor) -> Tensor:
    """Columns ``ids`` of (B, 3, N) points."""
    # gather reads the indices once per row and is three times faster here than indexing
    return points.gather(2, ids.expand(len(points), 3, -1))


def _hands(points: Tensor) -> Tensor:
    """(B, 3, 2 N) -> (B, 2, 3, N)."""
    return points.reshape(*points.shape[:2], 2, points.shape[2] // 2).transpose(1, 2)


def _about_middle(points: Tensor) -> Tensor:
    return points - points.mean(-1, keepdim=True)


def _same(predicted: Tensor, target: Tensor) -> None:
    if predicted.shape != target.shape:
        raise UsageError(
            f"expected one prediction for each true body, found {tuple(predicted.shape)} and "
            f"{tuple(target.shape)}"
        )
