"""Parameters of one body family as parameters of another: SMPL, SMPL-H and SMPL-X, any way, in batches.

The families differ in mesh, shape space and places of joints, so parameters cannot be copied. The source's
mesh is brought onto the target's vertices by a transfer matrix, and pose, shape and translation of the target
are fitted to that, starting from the rotations that both families have. How far the result stays away is
reported for each body, over **all** vertices.

What has no counterpart is not passed on to something else:

- A target without a face or without fingers (SMPL) is fitted to the source with these at rest, and fingers do
  not count, so that they tilt neither head nor wrist; then SMPL's hand joints turn its stiff hands to where
  the fingers are. The reported error is that to the source as it is, face and fingers included.
- A target with a face that comes from a source without one has jaw and expression at rest; fingers are found
  from the mesh.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hmtools.bodies.body_points import BodyPoints, BodyState, RestPoints, spread
from hmtools.bodies.fit import FitProblem, fit
from hmtools.bodies.layers import BodyLayer
from hmtools.bodies.mesh_transfer import MeshTransfer
from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.model import Family, Gender
from hmtools.bodies.params import POSE_PARTS, BodyParams, pose_slices
from hmtools.core.errors import GeometryError, UsageError
from hmtools.geometry.rotation import matrix_to_axis_angle

__all__ = ["BodyConverter", "Conversion", "convert_bodies"]

_BODY_JOINTS = 22
"""Root and body joints, the same in all families; what follows are hands in SMPL."""
_SMPL_HANDS = (22, 23)
_HANDS = ("left_hand_pose", "right_hand_pose")
_EYES = ("leye_pose", "reye_pose")
_FACE = ("jaw_pose", "leye_pose", "reye_pose")
_LOST: Mapping[Family, tuple[str, ...]] = {
    "smpl": (*_FACE, "expression", *_HANDS),
    "smplh": (*_FACE, "expression"),
    "smplx": (),
}
"""Family -> what bodies of other families may have and it has not."""
_BODY_SAMPLE, _HAND_SAMPLE = 400, 100
"""Vertices that are fitted: of the body without hands; and of each hand, as fingers are many small parts."""
_SHAPE_FRAMES = 32
"""Frames that decide a shape which all frames share."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conversion:
    """B converted bodies and how far they are from what they should be.

    Attributes:
        params: parameters of the target family, float32 on the CPU: axis-angle in radians, hands absolute,
            metres; fields that neither family's body gave a value stay None.
        genders: of the target model of each body.
        error_mean: (B,) metres, mean distance between the vertices of ``params`` and those of the source's
            mesh brought onto the target's.
        error_max: (B,) metres, the largest of these distances.
        bounded: (B,) whether a beta lies on its bound: such a body would have needed more.
    """

    params: BodyParams
    genders: tuple[Gender, ...]
    error_mean: Float[Tensor, " b"]
    error_max: Float[Tensor, " b"]
    bounded: Bool[Tensor, " b"]


def convert_bodies(
    params: BodyParams,
    source: Family,
    target: Family,
    *,
    genders: Gender | Sequence[Gender] = "neutral",
    target_gender: Gender | None = None,
    roots: Sequence[Path] | None = None,
    one_shape: bool = False,
    max_beta: float = 5.0,
    batch: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Convert bodies once; see :class:`BodyConverter`, which keeps the models for the next call."""
    return BodyConverter(source, target, roots=roots, max_beta=max_beta, batch=batch)(
        params, genders, target_gender=target_gender, one_shape=one_shape, progress=progress
    )


class BodyConverter:
    """Converts bodies of one family to another; models and matrices are read when first needed.

    Args:
        source: family of the bodies.
        target: family that is wanted; may be the same, to change the gender or to bound betas.
        roots: folders to look for files in; the setting ``body_models`` by default.
        num_betas: shape components of the result.
        max_beta: bound of the absolute value of each.
        batch: bodies that are worked on at once; memory grows with it, about 12 MB each.
        device: where the work is done.
    """

    def __init__(
        self,
        source: Family,
        target: Family,
        *,
        roots: Sequence[Path] | None = None,
        num_betas: int = 10,
        max_beta: float = 5.0,
        batch: int = 32,
        device: str | torch.device = "cpu",
    ) -> None:
        if batch < 1 or num_betas < 1 or max_beta <= 0:
            raise UsageError(
                "expected batch and num_betas of at least 1 and max_beta above 0, found "
                f"{batch}, {num_betas} and {max_beta}"
            )
        self.source: Family = source
        self.target: Family = target
        self.num_betas, self.max_beta, self.batch = num_betas, max_beta, batch
        self._stiff = target == "smpl" and source != "smpl"  # fingers are lost
        self._device = torch.device(device)
        self._sources = BodyLayers(source, roots=roots, device=device)
        self._targets = self._sources if source == target else BodyLayers(target, roots=roots, device=device)
        self._transfer = MeshTransfer(source, target, roots=roots, device=device)
        self._samples: dict[Gender, _Sample] = {}

    def __call__(
        self,
        params: BodyParams,
        genders: Gender | Sequence[Gender] = "neutral",
        *,
        target_gender: Gender | None = None,
        one_shape: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Conversion:
        """Convert a batch of bodies.

        Args:
            params: B bodies of the source family.
            genders: of the models they belong to, one for all or B.
            target_gender: gender of the target models; that of each source by default.
            one_shape: all bodies are one person and get the same betas, found from 32 of them.
            progress: called with the number of bodies done and B, after each batch.

        Returns:
            Target parameters and how far they are off, in the order of ``params``.

        Raises:
            GeometryError: for NaN or infinity, naming field and row.
            UsageError: for fields or shapes that the source family does not have, or one shape for models of
                more than one gender.
            AssetError: for missing model files or transfer matrices.
        """
        if not params.batch():
            return self._nothing()
        params.check(self.source)
        work = _Work(self, _spelled_out(params, self._device), genders, target_gender)
        if one_shape:
            work.find_shape()
        return work.run(progress)

    def _nothing(self) -> Conversion:
        """The conversion of no bodies: that of one, cut off."""
        one = _Work(self, _spelled_out(BodyParams(), self._device), "neutral", None).run(None)
        return Conversion(
            params=BodyParams(**{name: value[:0] for name, value in one.params.given().items()}),
            genders=(),
            error_mean=one.error_mean[:0],
            error_max=one.error_max[:0],
            bounded=one.bounded[:0],
        )

    def _layer(self, gender: Gender) -> BodyLayer:
        """Layer of the target family."""
        return self._targets.layer(gender)

    def _sample(self, gender: Gender) -> _Sample:
        """The vertices of a target model that are fitted."""
        if gender not in self._samples:
            self._samples[gender] = _Sample(self._layer(gender), self.num_betas)
        return self._samples[gender]

    def _rotations(self, params: BodyParams, gender: Gender) -> Float[Tensor, "b j 3 3"]:
        """Rotations of source joints relative to their parents; no gender has others."""
        return self._sources.layer(gender).rotations(params)

    def _mesh(self, params: BodyParams, genders: Gender | Sequence[Gender]) -> Float[Tensor, "b v 3"]:
        """Source meshes on the target's vertices, metres."""
        with torch.no_grad():
            return self._transfer(cast(Tensor, self._sources(params, genders, check=False).vertices))


class _Sample:
    """The vertices of one target model that are fitted; ``hand``: (N,) share of hand and fingers in each."""

    def __init__(self, layer: BodyLayer, num_betas: int) -> None:
        template = np.asarray(layer.model.v_template, np.float64)
        weights = np.asarray(layer.model.weights, np.float64)
        slices = pose_slices(layer.family)
        stiff = [slice(joint, joint + 1) for joint in _SMPL_HANDS]
        sides = [slices[name] for name in _HANDS] if _HANDS[0] in slices else stiff
        hands = np.stack([weights[:, side].sum(1) for side in sides])
        eyes = sum((weights[:, slices[name]].sum(1) for name in _EYES if name in slices), np.zeros(1))
        parts = [(np.flatnonzero(hand >= 0.5), _HAND_SAMPLE) for hand in hands]
        parts.append((np.flatnonzero((hands.max(0) < 0.5) & (eyes < 0.5)), _BODY_SAMPLE))
        rows = np.sort(np.concatenate([spread(template, rows, count) for rows, count in parts]))
        self.body = BodyPoints(layer, torch.as_tensor(rows), min(num_betas, layer.num_betas))
        self.hand = torch.as_tensor(hands.sum(0)[rows]).to(self.body.weights)


class _Work:
    """One call of a converter."""

    def __init__(
        self,
        tool: BodyConverter,
        params: BodyParams,
        genders: Gender | Sequence[Gender],
        target: Gender | None,
    ) -> None:
        count = params.batch()
        self.tool, self.params = tool, params
        self.genders = [genders] * count if isinstance(genders, str) else list(genders)
        if len(self.genders) != count:
            raise UsageError(f"expected one gender for each of {count} bodies, found {len(self.genders)}")
        self.targets = [target] * count if target is not None else self.genders
        self.betas: Tensor | None = None

    def find_shape(self) -> None:
        """Find the betas that fit evenly spread bodies best; from then on all have them."""
        if len(set(self.targets)) > 1:
            raise UsageError("one shape for all bodies needs one target gender; name it as target_gender")
        count = len(self.targets)
        spread_out = np.linspace(0, count - 1, min(count, _SHAPE_FRAMES))
        rows = np.unique(spread_out.round().astype(int)).tolist()
        self.betas = self._fit(rows, self._wanted(rows)[1], one_shape=True).betas[:1]

    def run(self, progress: Callable[[int, int], None] | None) -> Conversion:
        count, done = len(self.targets), 0
        parts, order = [], []
        for rows in self._batches():
            parts.append(self._convert(rows))
            order += rows
            done += len(rows)
            if progress is not None:
                progress(done, count)
        back = torch.as_tensor(np.argsort(order, kind="stable"))
        values = {name: torch.cat([part[name] for part in parts])[back] for name in parts[0]}
        error_mean, error_max, bounded = (values.pop(name) for name in ("mean", "max", "bounded"))
        return Conversion(
            params=BodyParams(**values),
            genders=tuple(self.targets),
            error_mean=error_mean,
            error_max=error_max,
            bounded=bounded,
        )

    def _batches(self) -> Iterator[list[int]]:
        """Rows of one target gender, as many as fit a batch."""
        for gender in dict.fromkeys(self.targets):
            rows = [row for row, own in enumerate(self.targets) if own == gender]
            for start in range(0, len(rows), self.tool.batch):
                yield rows[start : start + self.tool.batch]

    def _convert(self, rows: list[int]) -> dict[str, Tensor]:
        """Parameters of some bodies by name, and their ``mean``, ``max`` and ``bounded``."""
        wanted, resting = self._wanted(rows)
        state = self._fit(rows, resting)
        if self.tool._stiff:
            state = self._turn_hands(rows, wanted, state)
        params = self._kept(rows)
        for name, part in pose_slices(self.tool.target).items():
            if name not in _FACE or getattr(self.params, name) is not None:
                turns = matrix_to_axis_angle(state.rotations[:, part]).flatten(1)
                params = replace(params, **{name: turns.float()})
        params = replace(params, betas=state.betas.float(), transl=state.transl.float())
        with torch.no_grad():
            mesh = self.tool._layer(self._target(rows))(params).vertices
        miss = (mesh - wanted).norm(dim=-1)
        bounded = (state.betas.abs() >= self.tool.max_beta * (1 - 1e-6)).any(1)
        values = {**params.given(), "mean": miss.mean(1), "max": miss.amax(1), "bounded": bounded}
        return {name: value.cpu() for name, value in values.items()}

    def _target(self, rows: list[int]) -> Gender:
        return self.targets[rows[0]]

    def _kept(self, rows: list[int]) -> BodyParams:
        """Kid weight and expression, where the target has them too."""
        params, layer = self.params.select(rows), self.tool._layer(self._target(rows))
        kid = params.kid if layer.has_kid else None
        return BodyParams(kid=kid, expression=params.expression if layer.num_expression else None)

    def _wanted(self, rows: list[int]) -> tuple[Float[Tensor, "b v 3"], Float[Tensor, "b v 3"]]:
        """Source meshes on the target's vertices: as they are, and with what the target lacks at rest."""
        params = self.params.select(rows)
        genders = [self.genders[row] for row in rows]
        mesh = self.tool._mesh(params, genders)
        far = ~mesh.isfinite().flatten(1).all(1)
        if far.any():
            row = rows[int(far.nonzero()[0])]
            raise GeometryError(
                f"row {row}: expected a body of finite size, found one whose vertices overflow"
            )
        lost = [name for name in _LOST[self.tool.target] if getattr(params, name) is not None]
        if not lost:
            return mesh, mesh
        return mesh, self.tool._mesh(replace(params, **dict.fromkeys(lost)), genders)

    def _fit(self, rows: list[int], mesh: Float[Tensor, "b v 3"], *, one_shape: bool = False) -> BodyState:
        tool, sample = self.tool, self.tool._sample(self._target(rows))
        body, stiff = sample.body, tool._stiff
        wanted, rest = mesh[:, body.rows].to(body.dtype), self._rest(rows, body)
        start = self._start(rows, body, one_shape)
        start = replace(start, transl=(wanted - body.pose(rest, start).points).mean(1))
        slices = pose_slices(tool.target)
        still = [slices[name].start for name in _FACE if name in slices]
        every = tuple(joint for joint in range(len(body.parents)) if joint not in still)
        problem = FitProblem(
            body=body,
            rest=rest,
            wanted=wanted,
            weights=1 - sample.hand if stiff else torch.ones_like(sample.hand),
            joints=every[:_BODY_JOINTS] if stiff else every,
            betas=self.betas is None,
            max_beta=tool.max_beta,
            one_shape=one_shape,
        )
        return fit(problem, start)

    def _turn_hands(self, rows: list[int], mesh: Float[Tensor, "b v 3"], state: BodyState) -> BodyState:
        """Turn SMPL's hand joints, and nothing else, to where the fingers are."""
        sample = self.tool._sample(self._target(rows))
        problem = FitProblem(
            body=sample.body,
            rest=self._rest(rows, sample.body),
            wanted=mesh[:, sample.body.rows].to(sample.body.dtype),
            weights=sample.hand,
            joints=_SMPL_HANDS,
            betas=False,
            transl=False,
        )
        return fit(problem, state)

    def _rest(self, rows: list[int], body: BodyPoints) -> RestPoints:
        return body.rest(replace(self._kept(rows), transl=torch.zeros(len(rows), 3)))  # says how many bodies

    def _start(self, rows: list[int], body: BodyPoints, one_shape: bool) -> BodyState:
        """Rotations that both families have; betas where both models have the same; transl of zero."""
        tool, params, target = self.tool, self.params.select(rows), self._target(rows)
        given = tool._rotations(params, self.genders[rows[0]]).to(body.dtype)
        rotations = torch.eye(3).to(given).expand(len(given), len(body.parents), 3, 3).clone()
        ours, theirs = pose_slices(tool.target), pose_slices(tool.source)
        for name in ours.keys() & theirs.keys():
            size = min(POSE_PARTS[tool.source][name], POSE_PARTS[tool.target][name])
            start = ours[name].start
            rotations[:, start : start + size] = given[:, theirs[name]][:, :size]
        betas = rotations.new_zeros(len(given), len(body.shape))
        if self.betas is not None:
            betas = self.betas.expand_as(betas)
        elif params.betas is not None and tool.source == tool.target:
            same = torch.tensor([self.genders[row] == target for row in rows]).to(betas)
            known = params.betas[:, : betas.shape[1]].to(betas)
            betas[:, : known.shape[1]] = known * same[:, None]
            if one_shape:
                betas = betas.mean(0).expand_as(betas)
        return BodyState(rotations, betas, betas.new_zeros(len(betas), 3))


def _spelled_out(params: BodyParams, device: torch.device) -> BodyParams:
    """``params`` in float32 with every field, and at least one, for every body."""
    count = params.batch()
    fields = {"transl": torch.zeros(1, 3), **params.given()}
    return BodyParams(
        **{k: v.to(device, torch.float32).expand(count, *v.shape[1:]) for k, v in fields.items()}
    )
