"""What of a body is measured: joints that are regressed from the mesh, and the vertices of hands and face.

Everything comes from licensed files beside the body model, or from the stand-in. What is missing is said with
what cannot be measured without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hmtools.bodies import assets
from hmtools.bodies.joints import JointSets
from hmtools.bodies.model import BodyModel, Family, Gender
from hmtools.core.errors import AssetError, UsageError
from hmtools.humandata.keypoints import H36M_TO_LSP_14, SMPLX_VERTEX_IDS, convention

__all__ = [
    "BODY_14",
    "HAND_21",
    "PART_ROWS",
    "PW3D_14",
    "AgoraParts",
    "BodyParts",
    "Regressor",
    "load_lsp_14",
    "load_pw3d_14",
    "load_skeleton",
]

_FINGERS = ("thumb", "index", "middle", "ring", "pinky")
BODY_14: tuple[str, ...] = convention("lsp_14").names
"""Names of the 14 joints of ``SMPLX_to_J14``, in its order."""
HAND_21: tuple[str, ...] = ("hand_wrist", *(f"{finger}_{n}" for finger in _FINGERS for n in (1, 2, 3, "tip")))
"""Joints of one hand in the order in which they are measured."""
PW3D_14: tuple[int, ...] = (1, 2, 4, 5, 7, 8, 12, 15, 16, 17, 18, 19, 20, 21)
"""Skeleton joints (SMPL and SMPL-X alike) that ``smplerx@1`` measures on 3DPW: hips, knees, ankles, neck,
head, shoulders, elbows, wrists. Source: SMPLer-X."""

_PELVIS, _NECK = 0, 12
# side -> wrist, first joint of thumb, index, middle, ring, pinky in the SMPL-X skeleton
_HAND_CHAINS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"left": (20, 37, 25, 28, 34, 31), "right": (21, 52, 40, 43, 49, 46)}
)
PART_ROWS: Mapping[str, slice] = MappingProxyType(
    {"body": slice(2, 16), "left_hand": slice(16, 37), "right_hand": slice(37, 58)}
)
"""Which rows of :attr:`BodyParts.joints` are the body's 14 and the hands' 21; 0 is the pelvis, 1 the neck."""


@dataclass(frozen=True, slots=True, eq=False)
class Regressor:
    """Joints as weighted sums of vertices, kept as the vertices that carry weight.

    Rows of published regressors add up to 1 only within their rounding, which 25 m from the camera is worth
    0.001 mm: ``excess`` keeps that share, so that meshes can be moved to the origin before they are
    multiplied.

    Attributes:
        ids: (N,) vertices that some joint uses.
        weights: (J, N).
        excess: (J,) sum of each row, less 1.
        vertices: vertices of the mesh that it is for.
    """

    ids: Int[Tensor, " n"]
    weights: Float[Tensor, "j n"]
    excess: Float[Tensor, " j"]
    vertices: int

    @classmethod
    def of(cls, matrix: Float[np.ndarray, "j v"]) -> Regressor:
        """The regressor of a dense (J, V) matrix; float32."""
        rows = torch.as_tensor(np.array(matrix)).double()
        ids = rows.ne(0).any(0).nonzero()[:, 0]
        return cls(ids, rows[:, ids].float(), (rows.sum(1) - 1).float(), rows.shape[1])

    def __len__(self) -> int:
        return len(self.weights)

    def __call__(self, mesh: Float[Tensor, "b v 3"]) -> Float[Tensor, "b j 3"]:
        """Joints (B, J, 3) of meshes (B, V, 3), in their unit and frame.

        Raises:
            UsageError: if the meshes have another number of vertices.
        """
        origin = mesh[:, :1]
        return self.relative(mesh, origin) + origin

    def relative(
        self, mesh: Float[Tensor, "b v 3"], origin: Float[Tensor, "b 1 3"]
    ) -> Float[Tensor, "b j 3"]:
        """Joints less ``origin``, without the rounding that comes with a place far away.

        Raises:
            UsageError: if the meshes have another number of vertices.
        """
        self.check(mesh)
        return self.weights @ (mesh[:, self.ids] - origin) + self.excess[:, None] * origin

    def local(self, points: Float[Tensor, "b 3 v"], origin: Float[Tensor, "b 3 1"]) -> Float[Tensor, "b 3 j"]:
        """Joints less ``origin``, of meshes less ``origin``, both with the coordinates in front."""
        return points[:, :, self.ids] @ self.weights.T + self.excess * origin

    def check(self, mesh: Tensor) -> None:
        """UsageError unless ``mesh`` is (B, V, 3) with the number of vertices that this is for."""
        if mesh.ndim != 3 or mesh.shape[1:] != (self.vertices, 3):
            raise UsageError(
                f"expected meshes of shape (B, {self.vertices}, 3), found {tuple(mesh.shape)}; is it another "
                "body family?"
            )

    def to(self, device: torch.device | str) -> Regressor:
        """The same on another device."""
        return Regressor(self.ids.to(device), self.weights.to(device), self.excess.to(device), self.vertices)


@dataclass(frozen=True, slots=True, eq=False)
class BodyParts:
    """What ``smplerx@1`` measures of SMPL-X meshes.

    Attributes:
        joints: 58 rows: pelvis and neck (rows 0 and 12 of the model's regressor), the 14 joints of
            ``SMPLX_to_J14``, and :data:`HAND_21` of the left and the right hand.
        hands: (2, 778) vertices of the left and the right hand, ``MANO_SMPLX_vertex_ids``.
        face: (5023,) vertices of the head, ``SMPL-X__FLAME_vertex_ids``.
        standin: whether the model is the licence-free stand-in: its numbers say nothing about a method.
        sha256: content hash of the body model (:func:`hmtools.bodies.assets.body_hash`).
    """

    joints: Regressor
    hands: Int[Tensor, "2 h"]
    face: Int[Tensor, " f"]
    standin: bool
    sha256: str

    @classmethod
    def load(cls, roots: Sequence[Path] | None = None, device: torch.device | str = "cpu") -> BodyParts:
        """Read the neutral SMPL-X model and the three files beside it.

        Args:
            roots: folders to search; the setting ``body_models`` by default.
            device: where the numbers are wanted.

        Raises:
            AssetError: naming every file that is missing and what cannot be measured without it.
        """
        model = _model("smplx", roots, _NEEDS)
        skeleton = model.joint_regressor.toarray()
        rows = [skeleton[[_PELVIS, _NECK]], assets.load_array("smplx_to_j14", roots=roots)]
        rows += [_hand_rows(skeleton, side) for side in _HAND_CHAINS]
        parts = cls(
            joints=Regressor.of(np.concatenate(rows)),
            hands=_ids("mano_smplx_vertex_ids", roots),
            face=_ids("smplx_flame_vertex_ids", roots),
            standin=model.standin,
            sha256=assets.body_hash(model),
        )
        return parts.to(device)

    def to(self, device: torch.device | str) -> BodyParts:
        """The same on another device."""
        return replace(
            self, joints=self.joints.to(device), hands=self.hands.to(device), face=self.face.to(device)
        )


@dataclass(frozen=True, slots=True, eq=False)
class AgoraParts:
    """What ``agora-official@1`` measures of SMPL-X or SMPL meshes.

    Attributes:
        family: smplx or smpl.
        body: (4010,) vertices of the body without head and hands, ``body_verts_<family>``.
        hands: (2, 778) as in :class:`BodyParts`; None for SMPL.
        face: (5023,) as in :class:`BodyParts`; None for SMPL.
    """

    family: Family
    body: Int[Tensor, " n"]
    hands: Int[Tensor, "2 h"] | None
    face: Int[Tensor, " f"] | None

    @classmethod
    def load(
        cls,
        family: Family = "smplx",
        roots: Sequence[Path] | None = None,
        device: torch.device | str = "cpu",
    ) -> AgoraParts:
        """Read the lists of vertices; no body model is needed.

        Raises:
            AssetError: naming every file that is missing and what cannot be measured without it.
            UsageError: for SMPL-H, which AGORA does not measure.
        """
        if family not in _AGORA_NEEDS:
            raise UsageError(f"AGORA measures {' or '.join(_AGORA_NEEDS)} meshes, not {family}")
        needs = _AGORA_NEEDS[family]
        _require(needs, roots)
        found = {key.partition("_v")[0]: _ids(key, roots).to(device) for key in needs}
        return cls(family, found["body"], found.get("mano_smplx"), found.get("smplx_flame"))


def load_skeleton(
    family: Family,
    rows: Sequence[int] | None = None,
    *,
    gender: Gender = "neutral",
    roots: Sequence[Path] | None = None,
) -> Regressor:
    """The model's own joint regressor: ``rows`` of its skeleton, all by default.

    Of a posed mesh these are not exactly the kinematic joints.

    Raises:
        AssetError: if the model is missing.
    """
    key = f"{family}_{gender}"
    matrix = _model(family, roots, {key: "joints of its meshes"}, gender).joint_regressor.toarray()
    return Regressor.of(matrix if rows is None else matrix[list(rows)])


def load_pw3d_14(roots: Sequence[Path] | None = None) -> tuple[Regressor, Regressor]:
    """What ``smplerx@1`` measures on 3DPW: 15 rows of SMPL-X (prediction) and of SMPL (truth), both neutral.

    Row 0 is the pelvis, the others are :data:`PW3D_14`.

    Raises:
        AssetError: if a model is missing.
    """
    rows = (_PELVIS, *PW3D_14)
    return load_skeleton("smplx", rows, roots=roots), load_skeleton("smpl", rows, roots=roots)


def load_lsp_14(family: Family = "smpl", roots: Sequence[Path] | None = None) -> Regressor:
    """The common protocol's 15 rows: pelvis of the Human3.6M regressor (row 0), then its 14 LSP joints.

    For SMPL ``J_regressor_h36m``, rows 6 5 4 1 2 3 16 15 14 11 12 13 8 10 with the left leg first (SPIN); for
    SMPL-X the file of the same joints. Files with either leg first are read right.

    Raises:
        AssetError: if the file is missing, saying what cannot be measured.
    """
    key = "j_regressor_h36m" if family == "smpl" else "j_regressor_h36m_smplx"
    _require({key: "the 14 joints of the common 3DPW protocol"}, roots)
    matrix = JointSets(family, roots=roots).matrix("h36m_17")
    return Regressor.of(matrix[[0, *H36M_TO_LSP_14]].numpy())


_NEEDS: Mapping[str, str] = MappingProxyType(
    {
        "smplx_neutral": "any error of SMPL-X meshes: its regressor gives pelvis, wrists and neck",
        "smplx_to_j14": "MPJPE and PA-MPJPE of the body",
        "mano_smplx_vertex_ids": "PVE and PA-PVE of the hands",
        "smplx_flame_vertex_ids": "PVE and PA-PVE of the face",
    }
)
_AGORA_NEEDS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "smplx": {
            "body_verts_smplx": "MVE and NMVE of the body",
            "mano_smplx_vertex_ids": "MVE of the hands",
            "smplx_flame_vertex_ids": "MVE of the face",
        },
        "smpl": {"body_verts_smpl": "MVE and NMVE of the body"},
    }
)


def _require(needs: Mapping[str, str], roots: Sequence[Path] | None) -> None:
    """AssetError that lists all of ``needs`` (key -> what it is for) that are in none of ``roots``."""
    searched = assets.search_roots() if roots is None else roots
    there = {found.asset.key for found in assets.find_all(searched)}
    lost = [
        f"cannot measure {what}: {assets.missing(assets.asset(key), searched)}"
        for key, what in needs.items()
        if key not in there
    ]
    if lost:
        raise AssetError("\n".join(lost))


def _model(
    family: Family, roots: Sequence[Path] | None, needs: Mapping[str, str], gender: Gender = "neutral"
) -> BodyModel:
    _require(needs, roots)
    return assets.load_model(family, gender, roots=roots)


def _ids(key: str, roots: Sequence[Path] | None) -> Tensor:
    return torch.as_tensor(np.array(assets.load_array(key, roots=roots)))


def _hand_rows(skeleton: Float[np.ndarray, "j v"], side: str) -> Float[np.ndarray, "21 v"]:
    """:data:`HAND_21` of one hand: rows of the skeleton, and fingertips that are single vertices."""
    wrist, *first = _HAND_CHAINS[side]
    rows = [skeleton[wrist]]
    for finger, joint in zip(_FINGERS, first, strict=True):
        tip = np.zeros(skeleton.shape[1])
        tip[SMPLX_VERTEX_IDS[f"{side}_{finger}"]] = 1
        rows += [*skeleton[joint : joint + 3], tip]
    return np.stack(rows)
