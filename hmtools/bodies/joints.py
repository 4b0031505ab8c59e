"""Joint sets of a posed body: by name from the family's own joints, or by a regressor on its mesh.

    joints = JointSets("smpl")(output, "coco_17")

A set is taken by name wherever the body has that very joint; sets whose joints are *defined* by a regressor
(Human3.6M, LSP, the nine extra joints) use its file. SMPL-X and SMPL-H have no COCO hips, there the
skeleton's hips stand in, which are other points; SMPL takes them from ``J_regressor_extra.npy``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hmtools.bodies import assets
from hmtools.bodies.layers import NATIVE_JOINTS, BodyOutput
from hmtools.bodies.model import GENDERS, Family
from hmtools.core.errors import UsageError, nearest
from hmtools.humandata.keypoints import H36M_EVALUATION_14, SMPL_49_FROM_SMPL_54, mapping

__all__ = ["JOINT_SETS", "JointSet", "JointSets"]


@dataclass(frozen=True, slots=True)
class JointSet:
    """How one set comes from one family.

    Attributes:
        source: convention that is selected from; the family's own joints where no regressor is named.
        regressor: asset whose rows are joints (rows of ``source``, or its end where ``append``).
        append: the family's own joints come first, then the regressed ones.
        select: rows of ``source`` to take instead of matching names.
        approximate: a missing joint may be another definition of the same point (hips).
    """

    source: str = ""
    regressor: str = ""
    append: bool = False
    select: tuple[int, ...] = ()
    approximate: bool = False


_EXTRA = JointSet(source="smpl_54", regressor="j_regressor_extra", append=True)


def _h36m(regressor: str) -> dict[str, JointSet]:
    rows = JointSet(source="h36m_mmpose", regressor=regressor)
    return {"h36m_17": rows, "h36m_mmpose": rows, "h36m_14": replace(rows, select=H36M_EVALUATION_14)}


JOINT_SETS: Mapping[Family, Mapping[str, JointSet]] = {
    "smpl": {
        "smpl_24": JointSet(),
        "smpl_45": JointSet(),
        "smpl_54": _EXTRA,
        "smpl_49": replace(_EXTRA, select=SMPL_49_FROM_SMPL_54),
        "coco_17": _EXTRA,
        "lsp_14": _EXTRA,
        **_h36m("j_regressor_h36m"),
    },
    "smplh": {
        "smplh_73": JointSet(),
        "coco_17": JointSet(approximate=True),
        **_h36m("j_regressor_h36m"),
    },
    "smplx": {
        "smplx_144": JointSet(),
        "smplx_127": JointSet(),
        "smplerx_137": JointSet(),
        "coco_17": JointSet(approximate=True),
        "lsp_14": JointSet(source="lsp_14", regressor="smplx_to_j14"),
        **_h36m("j_regressor_h36m_smplx"),
    },
}
"""Family -> set -> how it is made. ``h36m_17`` has the left leg first, ``h36m_mmpose`` the right one;
``h36m_14`` are the 14 joints that errors are averaged over, in the order of the latter."""

_OFF_CENTRE = 0.02
"""Metres from the plane of symmetry: hips, knees and ankles are 4 cm and more away from it. +x is left."""


def _take(joints: Tensor, source: str, target: str, *, approximate: bool = False) -> Tensor:
    rows = mapping(source, target, approximate=approximate).src
    return joints[:, torch.as_tensor(rows.copy(), device=joints.device)]


class JointSets:
    """Takes joint sets from the output of a family's layers; regressor files are read when first needed.

    Args:
        family: smpl, smplh or smplx.
        roots: folders to look for regressors in; the setting ``body_models`` by default.
    """

    def __init__(self, family: Family, *, roots: Sequence[Path] | None = None) -> None:
        self.family: Family = family
        self._roots = roots
        self._regressors: dict[str, Tensor] = {}
        self._legs: dict[str, str] = {}

    def needs_vertices(self, name: str) -> bool:
        """Whether the set needs the mesh (``vertices=True``)."""
        return bool(self._set(name).regressor)

    def __call__(self, output: BodyOutput, name: str) -> Float[Tensor, "b j 3"]:
        """The joints of one set, (B, J, 3) metres, in the frame of ``output``.

        Raises:
            UsageError: if the family has no such set, or the mesh it needs was not asked for.
            AssetError: if the regressor's file is missing.
        """
        row = self._set(name)
        joints = output.joints
        source = row.source or NATIVE_JOINTS[self.family]
        if row.regressor:
            if output.vertices is None:
                raise UsageError(
                    f"{name} of {self.family} is regressed from the mesh; pose with vertices=True"
                )
            if not row.append:
                return self.matrix(name).to(output.vertices) @ output.vertices
            regressed = self._regressor(row.regressor).to(output.vertices) @ output.vertices
            joints = torch.cat([joints, regressed], dim=1)
        if row.select:
            return joints[:, list(row.select)]
        return _take(joints, source, name, approximate=row.approximate)

    def matrix(self, name: str) -> Float[Tensor, "j v"]:
        """The joints of a set that is regressed whole, as a matrix: joints = matrix @ vertices.

        Raises:
            UsageError: if the family has no such set, or takes some of its joints from the skeleton.
            AssetError: if the regressor's file is missing.
        """
        row = self._set(name)
        if not row.regressor or row.append:
            raise UsageError(f"{name} of {self.family} is not regressed from the mesh alone")
        rows = self._regressor(row.regressor)[None]
        if row.source == "h36m_mmpose":
            rows = _take(rows, self._leg_order(row.regressor), row.source)
        if row.select:
            return rows[0, list(row.select)]
        return _take(rows, row.source, name, approximate=row.approximate)[0]

    def _set(self, name: str) -> JointSet:
        known = JOINT_SETS[self.family]
        if name not in known:
            raise UsageError(
                f"{self.family} has no joint set {name!r}{nearest(name, known)}; it has {', '.join(known)}"
            )
        return known[name]

    def _leg_order(self, key: str) -> str:
        """Which leg the rows of a Human3.6M regressor begin with, told by where they lie on the rest mesh.

        Files of both orders circulate under one name. A file that does not tell has the right leg first.
        """
        if key not in self._legs:
            genders = [g for g in GENDERS if assets.find(f"{self.family}_{g}", roots=self._roots) is not None]
            model = assets.load_model(self.family, (genders or ["neutral"])[0], roots=self._roots)
            x = (self._regressor(key).numpy() @ np.asarray(model.v_template, np.float64))[1:7, 0]
            left_first = bool((x[:3] > _OFF_CENTRE).all() and (x[3:] < -_OFF_CENTRE).all())
            self._legs[key] = "h36m_17" if left_first else "h36m_mmpose"
        return self._legs[key]

    def _regressor(self, key: str) -> Tensor:
        if key not in self._regressors:
            self._regressors[key] = torch.as_tensor(np.array(assets.load_array(key, roots=self._roots)))
        return self._regressors[key]
