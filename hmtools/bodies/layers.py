"""SMPL, SMPL-H and SMPL-X as batched, differentiable functions.

One :class:`BodyLayer` is one model of one gender; :class:`~hmtools.bodies.mixed.BodyLayers` takes batches of
mixed genders. The kinematic chain and the look-up of the jaw contour are those of the ``smplx`` package;
blend shapes and skinning are written so that the joints alone (``vertices=False``) need only the few hundred
vertices that are joints or carry landmarks, about twenty times less work for the same numbers.

Frames and units: metres and radians; the rest pose is y up, facing +z. A body is turned by ``global_orient``
about its **pelvis** and then moved by ``transl``; the pelvis of the rest body is not at the origin, see
:mod:`hmtools.bodies.camera`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from smplx.lbs import find_dynamic_lmk_idx_and_bcoords
from smplx.utils import find_joint_kin_chain
from torch import Tensor, nn

from hmtools.bodies.model import BodyModel, Family
from hmtools.bodies.params import POSE_PARTS, BodyParams
from hmtools.core.errors import AssetError, UsageError
from hmtools.geometry.rotation import axis_angle_to_matrix
from hmtools.humandata.keypoints import SMPL_VERTEX_IDS, SMPLX_VERTEX_IDS

__all__ = ["NATIVE_JOINTS", "BodyLayer", "BodyOutput"]

NATIVE_JOINTS: dict[Family, str] = {"smpl": "smpl_45", "smplh": "smplh_73", "smplx": "smplx_144"}
"""Family -> convention of the joints its layer returns."""

_NECK = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BodyOutput:
    """What a layer returns for B bodies, in the frame of ``transl``, metres.

    Attributes:
        joints: (B, K, 3) joints of the family's :data:`NATIVE_JOINTS`: posed skeleton, picked vertices, and
            for SMPL-X 51 face landmarks and 17 points of the jaw contour.
        vertices: (B, V, 3), or None when only joints were asked for.
        rest_pelvis: (B, 3) pelvis of the shaped rest body, before pose and ``transl``.
        convention: name of the joints' order.
    """

    joints: Float[Tensor, "b k 3"]
    vertices: Float[Tensor, "b v 3"] | None
    rest_pelvis: Float[Tensor, "b 3"]
    convention: str


class _Blend(nn.Module):
    """N points of the rest body as a linear function of betas, expression and kid weight."""

    template: Tensor
    shape: Tensor
    expression: Tensor
    kid: Tensor

    def __init__(self, template: Any, shape: Any, expression: Any, kid: Any, dtype: torch.dtype) -> None:
        super().__init__()

        def rows(directions: Any) -> Tensor:  # (N, 3, C) -> (C, 3 N), so that fewer betas are a plain slice
            points, _, count = directions.shape
            return torch.as_tensor(np.moveaxis(np.asarray(directions), -1, 0).reshape(count, 3 * points))

        self.register_buffer("template", torch.as_tensor(np.array(template)).to(dtype))
        self.register_buffer("shape", rows(shape).to(dtype).contiguous())
        self.register_buffer("expression", rows(expression).to(dtype).contiguous())
        self.register_buffer("kid", torch.as_tensor(np.array(kid)).to(dtype).reshape(-1))

    def forward(self, params: BodyParams) -> Tensor:
        """(B, N, 3) metres."""
        moved = self.template.reshape(1, -1)
        for values, directions in ((params.betas, self.shape), (params.expression, self.expression)):
            if values is not None:
                moved = moved + values @ directions[: values.shape[1]]
        if params.kid is not None:
            moved = moved + params.kid[:, None] * self.kid
        return moved.reshape(moved.shape[0], -1, 3)


class _Flesh(nn.Module):
    """Some vertices of the body, skinned, and where the joints that are vertices or landmarks lie in them."""

    pose: Tensor
    weights: Tensor
    picked: Tensor
    landmarks: Tensor
    contour: Tensor

    def __init__(
        self, model: BodyModel, kid: Any, points: _Points, rows: np.ndarray, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.rest = _Blend(
            model.v_template[rows], model.shapedirs[rows], model.expression_dirs[rows], kid[rows], dtype
        )
        pose = np.asarray(model.posedirs)[rows]
        self.register_buffer(
            "pose", torch.as_tensor(pose.reshape(-1, pose.shape[-1]).T.copy()).to(dtype).contiguous()
        )
        self.register_buffer("weights", torch.as_tensor(np.asarray(model.weights)[rows]).to(dtype))
        for name in ("picked", "landmarks", "contour"):
            self.register_buffer(name, torch.as_tensor(np.searchsorted(rows, getattr(points, name))))

    def forward(self, params: BodyParams, rotations: Tensor, transforms: Tensor) -> Tensor:
        """(B, N, 3) posed points; ``transforms`` (B, J, 4, 4) take each joint from rest to pose."""
        feature = (rotations[:, 1:] - torch.eye(3).to(rotations)).reshape(rotations.shape[0], -1)
        rest = self.rest(params)
        posed = rest + (feature @ self.pose).reshape(rotations.shape[0], *rest.shape[1:])
        # Points last: one large product for the blended transforms, then plain sums along memory. A product
        # of 3 x 3 matrices per point takes three times as long.
        rows = transforms[:, :, :3].reshape(rotations.shape[0], -1, 12).transpose(1, 2) @ self.weights.T
        skin, posed = rows.reshape(rotations.shape[0], 3, 4, -1), posed.transpose(1, 2)
        moved = skin[:, :, 3]
        for axis in range(3):
            moved = moved + skin[:, :, axis] * posed[:, None, axis]
        return moved.transpose(1, 2)


@dataclass(frozen=True, slots=True)
class _Points:
    """Vertices behind joints: (21,), (51, 3), (79, 17, 3) vertex indices; without a face two are empty."""

    picked: np.ndarray
    landmarks: np.ndarray
    contour: np.ndarray

    @classmethod
    def of(cls, model: BodyModel) -> _Points:
        ids = SMPLX_VERTEX_IDS if model.family == "smplx" else SMPL_VERTEX_IDS
        picked = np.array(list(ids.values()))
        if model.landmark_faces is None or model.contour_faces is None:
            return cls(picked, np.zeros((0, 3), np.int64), np.zeros((0, 0, 3), np.int64))
        return cls(picked, model.faces[model.landmark_faces], model.faces[model.contour_faces])

    def rows(self) -> np.ndarray:
        parts = [self.picked, self.landmarks.reshape(-1), self.contour.reshape(-1)]
        return np.unique(np.concatenate(parts))


class BodyLayer(nn.Module):
    """One body model of one gender.

    Args:
        model: what its file holds.
        kid_template: (V, 3) metres, the template of a child, for bodies with a ``kid`` weight; it is moved to
            its own mean, as the ``smplx`` package does.
        dtype: float type of all arithmetic.
        surface: whether meshes will be wanted; without, it is small and gives joints alone.
    """

    landmark_bary: Tensor
    contour_bary: Tensor
    neck_chain: Tensor

    def __init__(
        self,
        model: BodyModel,
        *,
        kid_template: Float[np.ndarray, "v 3"] | None = None,
        dtype: torch.dtype = torch.float32,
        surface: bool = True,
    ) -> None:
        super().__init__()
        self.model = model
        self.family: Family = model.family
        self.has_kid = kid_template is not None
        template = np.asarray(model.v_template, np.float64)
        kid = np.zeros_like(template)
        if kid_template is not None:
            kid = np.asarray(kid_template, np.float64)
            kid = kid - kid.mean(0) - template
        regressor = model.joint_regressor

        def at_joints(directions: Any) -> np.ndarray:
            array = np.asarray(directions, np.float64)
            count = array.size // len(template) // 3
            flat = np.asarray(regressor @ array.reshape(len(template), 3 * count))
            return flat.reshape(regressor.shape[0], 3, count)

        self.joints = _Blend(
            at_joints(template)[..., 0],
            at_joints(model.shapedirs),
            at_joints(model.expression_dirs),
            at_joints(kid)[..., 0],
            dtype,
        )
        points = _Points.of(model)
        self.whole = _Flesh(model, kid, points, np.arange(len(template)), dtype) if surface else None
        self.points = _Flesh(model, kid, points, points.rows(), dtype)
        self.parents = np.array(model.parents)  # torch warns about read-only arrays
        self._chain = tuple(int(parent) for parent in model.parents)
        if model.landmark_bary is not None and model.contour_bary is not None:
            self.register_buffer("landmark_bary", torch.as_tensor(np.array(model.landmark_bary)).to(dtype))
            self.register_buffer("contour_bary", torch.as_tensor(np.array(model.contour_bary)).to(dtype))
            chain = find_joint_kin_chain(_NECK, self.parents)
            self.register_buffer("neck_chain", torch.as_tensor(np.array(chain)))

    @property
    def num_betas(self) -> int:
        """Shape components the model has."""
        return len(self.joints.shape)

    @property
    def num_expression(self) -> int:
        """Expression components the model has; 0 without a face."""
        return len(self.joints.expression)

    def forward(self, params: BodyParams, *, vertices: bool = True) -> BodyOutput:
        """Pose a batch of bodies.

        Args:
            params: the bodies, in the layer's float type and device.
            vertices: whether the mesh is wanted; without it the same joints come about twenty times faster.

        Returns:
            Joints and mesh in the frame of ``transl``, metres.

        Raises:
            UsageError: for a field the family lacks, a wrong shape, no body at all, or more betas than the
                model has.
            AssetError: for a kid weight without a kid template.
        """
        self._check(params)
        rotations = self.rotations(params)
        rest = self.joints(params)
        rest = rest.expand(rotations.shape[0], -1, -1)
        posed, transforms = _posed_skeleton(rotations, rest, self._chain)
        flesh = self.surface if vertices else self.points
        mesh = flesh(params, rotations, transforms)
        joints = torch.cat([posed, mesh[:, flesh.picked], *self._landmarks(flesh, mesh, rotations)], dim=1)
        if params.transl is not None:
            joints, mesh = joints + params.transl[:, None], mesh + params.transl[:, None]
        return BodyOutput(
            joints=joints,
            vertices=mesh if vertices else None,
            rest_pelvis=rest[:, 0],
            convention=NATIVE_JOINTS[self.family],
        )

    def rest_pelvis(self, params: BodyParams) -> Float[Tensor, "b 3"]:
        """Pelvis of the shaped rest body (B, 3), metres: what the root turns about."""
        self._check(params)
        joints: Tensor = self.joints(params)
        return joints[:, 0].expand(params.batch(), -1)

    def rest_vertices(self, params: BodyParams) -> Float[Tensor, "b v 3"]:
        """Shaped mesh in the rest pose (B, V, 3), metres, without pose blend shapes."""
        self._check(params)
        mesh: Tensor = self.surface.rest(params)
        return mesh.expand(params.batch(), -1, -1)

    def rotations(self, params: BodyParams) -> Float[Tensor, "b j 3 3"]:
        """All joint rotations relative to their parents, in the order of the family's joints."""
        like, batch = self.joints.template, params.batch()
        parts = []
        for name, count in POSE_PARTS[self.family].items():
            value: Tensor | None = getattr(params, name)
            if value is None:
                part = torch.eye(3).to(like).expand(batch, count, 3, 3)
            elif value.dim() == 4:
                part = value.expand(batch, count, 3, 3)
            else:
                part = axis_angle_to_matrix(value.reshape(value.shape[0], count, 3)).expand(
                    batch, count, 3, 3
                )
            parts.append(part)
        return torch.cat(parts, dim=1)

    @property
    def surface(self) -> _Flesh:
        """All vertices of the mesh; UsageError where the layer was made without."""
        if self.whole is None:
            raise UsageError(f"the layer of {self.model.path.name} was made with surface=False: joints alone")
        return self.whole

    def _landmarks(self, flesh: _Flesh, mesh: Tensor, rotations: Tensor) -> list[Tensor]:
        if not len(flesh.landmarks):
            return []
        # The contour slides along the jaw with the turn of the head against the camera: its place is looked
        # up by the heading of the neck in the frame of global_orient, so it does not move rigidly with a
        # body.
        rows, bary = find_dynamic_lmk_idx_and_bcoords(
            mesh, rotations, self._contour_rows(), self.contour_bary, self.neck_chain, pose2rot=False
        )
        fixed = mesh[:, flesh.landmarks]
        person = torch.arange(mesh.shape[0], device=mesh.device)[:, None, None]
        sliding = mesh[person, flesh.contour.reshape(-1, 3)[rows]]
        return [
            torch.einsum("blfc,lf->blc", fixed, self.landmark_bary),
            torch.einsum("blfc,blf->blc", sliding, bary),
        ]

    def _contour_rows(self) -> Tensor:
        count = self.contour_bary.shape[:2]
        return torch.arange(count.numel(), device=self.contour_bary.device).reshape(count)

    def _check(self, params: BodyParams) -> None:
        if params.batch() == 0:
            raise UsageError(f"{self.family}: expected one body or more, found a batch of none")
        for name, value in params.given().items():
            params._check_shape(self.family, name, value)
        for name, most in (("betas", self.num_betas), ("expression", self.num_expression)):
            value = getattr(params, name)
            if value is not None and value.shape[1] > most:
                raise UsageError(
                    f"{name}: {self.model.path.name} has {most} components, found {value.shape[1]}; cut them "
                    f"to {most}, or use a model file that has more"
                )
        if params.kid is not None and not self.has_kid:
            raise AssetError(
                f"a kid weight needs the kid template ({self.family}_kid_template.npy), which was not given; "
                "`hmtools body list` says where it is looked for"
            )


def _posed_skeleton(rotations: Tensor, rest: Tensor, parents: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Joints (B, J, 3) after posing, and (B, J, 4, 4) what takes each from rest to pose.

    Parents are plain numbers, not an array: compilers follow the chain then.
    """
    bones = torch.cat([rest[:, :1], rest[:, 1:] - rest[:, parents[1:]]], dim=1)
    last = torch.tensor([0.0, 0, 0, 1]).to(rest).expand(rest.shape[0], rest.shape[1], 1, 4)
    local = torch.cat([torch.cat([rotations, bones[..., None]], dim=-1), last], dim=-2)
    chain = [local[:, 0]]
    for joint, parent in enumerate(parents[1:], start=1):
        chain.append(chain[parent] @ local[:, joint])
    posed = torch.stack(chain, dim=1)
    at_rest = posed[..., :3, :3] @ rest[..., None]
    joints = posed[..., :3, 3]
    moved = torch.cat([posed[..., :3], posed[..., 3:] - nn.functional.pad(at_rest, (0, 0, 0, 1))], dim=-1)
    return joints, moved
