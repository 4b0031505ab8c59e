"""Metrics written a second time, person by person in float64 NumPy, and the bodies of the golden file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hmtools.bodies.assets import load_array, load_model
from hmtools.bodies.layers import BodyLayer
from hmtools.bodies.params import BodyParams

__all__ = ["Golden", "Mesh", "measure_one", "pa_residual"]

Mesh = NDArray[Any]
FIGURES = Path(__file__).parents[1] / "golden/smplerx/evaluate.npz"
PARAMETERS = (
    "global_orient",
    "body_pose",
    "left_hand_pose",
    "right_hand_pose",
    "jaw_pose",
    "betas",
    "expression",
)
FACTS = {"left": (20, 37, 25, 28, 34, 31), "right": (21, 52, 40, 43, 49, 46)}
TIPS = {"left": (5361, 4933, 5058, 5169, 5286), "right": (8079, 7669, 7794, 7905, 8022)}


def pa_residual(x: Mesh, y: Mesh) -> Mesh:
    """Distances (N,) of y from x after the best similarity, by Kabsch's covariance in float64."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    a, b = x - x.mean(0), y - y.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    v = vt.T
    if np.linalg.det(v @ u.T) < 0:
        v[:, 2] *= -1
        s[2] *= -1
    moved: Mesh = s.sum() / (a**2).sum() * a @ (v @ u.T).T
    distances: Mesh = np.linalg.norm(moved - b, axis=1)
    return distances


def measure_one(x: Mesh, y: Mesh, files: Path, seen: dict[str, Mesh] | None = None) -> dict[str, float]:
    """All metrics between one predicted and one true SMPL-X mesh, millimetres.

    ``seen``: masks ``vertices``, ``body`` and ``left``, ``right`` for the joints of the hands.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    skeleton = np.asarray(load_model("smplx", "neutral", roots=[files]).joint_regressor.toarray(), np.float64)
    body = np.asarray(load_array("smplx_to_j14", roots=[files]), np.float64)
    ids = load_array("mano_smplx_vertex_ids", roots=[files])
    face = load_array("smplx_flame_vertex_ids", roots=[files])
    seen = seen or {"vertices": np.ones(len(x), bool), "body": np.ones(14, bool),
                    "left": np.ones(21, bool), "right": np.ones(21, bool)}  # fmt: skip
    jx, jy = skeleton @ x, skeleton @ y

    def mean(distances: Mesh, mask: Mesh) -> float:
        return 1000 * float(distances[mask].mean()) if mask.any() else np.nan

    def both(name: str, a: Mesh, b: Mesh, root: int, mask: Mesh) -> None:
        found[name] = mean(np.linalg.norm(a - jx[root] + jy[root] - b, axis=1), mask)
        found["pa_" + name] = mean(pa_residual(a, b), mask)

    found: dict[str, float] = {}
    both("pve_all", x, y, 0, seen["vertices"])
    both("pve_face", x[face], y[face], 12, seen["vertices"][face])
    both("mpjpe_body", body @ x, body @ y, 0, seen["body"])
    for side, rows in zip(("left", "right"), ids, strict=True):
        wrist, short = FACTS[side][0], f"{side[0]}hand"
        both("pve_" + short, x[rows], y[rows], wrist, seen["vertices"][rows])
        a, b = (hand(j, m, side) for j, m in ((jx, x), (jy, y)))
        both("mpjpe_" + short, a, b, wrist, seen[side])
    for name in ("pve_", "mpjpe_", "pa_pve_", "pa_mpjpe_"):
        sides = [found[f"{name}{side}hand"] for side in "lr"]
        sides = [value for value in sides if not np.isnan(value)]
        found[name + "hand"] = float(np.mean(sides)) if sides else np.nan
    return found


def hand(joints: Mesh, mesh: Mesh, side: str) -> Mesh:
    """The 21 joints of one hand."""
    wrist, *fingers = FACTS[side]
    rows = [joints[wrist]]
    for start, tip in zip(fingers, TIPS[side], strict=True):
        rows += [*joints[start : start + 3], mesh[tip]]
    return np.stack(rows)


class Golden:
    """Bodies of ``evaluate.npz``, float32 as the published code has them."""

    def __init__(self, files: Path) -> None:
        with np.load(FIGURES) as arrays:
            self.arrays = dict(arrays)
        self.files = files
        self.layer = BodyLayer(load_model("smplx", "neutral", roots=[files]))

    def mesh(self, k: int, who: str, transl: str) -> torch.Tensor:
        """(12, 10475, 3) of test set ``k``; ``who`` is gt or pred. Hands in the file are less the mean."""
        values = {name: torch.as_tensor(self.arrays[f"params{k}/{who}_{name}"]) for name in PARAMETERS}
        means = torch.as_tensor(np.array(self.layer.model.hand_mean)).float()
        for side, mean in zip(("left", "right"), means, strict=True):
            values[f"{side}_hand_pose"] = values[f"{side}_hand_pose"] + mean
        return self._posed(self.layer, values, k, transl)

    def smpl(self, k: int) -> torch.Tensor:
        """(12, 6890, 3) the true SMPL bodies of 3DPW."""
        pose = torch.as_tensor(self.arrays["PW3D/smpl_pose"])
        values = {"global_orient": pose[:, :3], "body_pose": pose[:, 3:]}
        values["betas"] = torch.as_tensor(self.arrays["PW3D/smpl_betas"])
        return self._posed(
            BodyLayer(load_model("smpl", "neutral", roots=[self.files])), values, k, "gt_transl"
        )

    def _posed(self, layer: BodyLayer, values: dict[str, torch.Tensor], k: int, transl: str) -> torch.Tensor:
        with torch.no_grad():
            mesh: torch.Tensor = layer(BodyParams(**values)).vertices
        return mesh + torch.as_tensor(self.arrays[f"params{k}/{transl}"])[:, None]
