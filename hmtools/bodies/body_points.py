"""A few chosen vertices of a body, and how they move with each rotation, the shape and the translation.

What a fit needs and automatic differentiation gives slowly: all derivatives of all chosen vertices in a few
matrix products. A rotation of a joint is a small turn about the axes of the **world**, which moves everything
behind the joint about the joint's place; pose blend shapes are differentiated as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hmtools.bodies.layers import BodyLayer
from hmtools.bodies.params import BodyParams

__all__ = ["BodyPoints", "BodyState", "PosedPoints", "RestPoints", "spread"]


@dataclass(frozen=True, slots=True, eq=False)
class BodyState:
    """What a fit changes: (B, J, 3, 3) rotations relative to the parents, (B, S) betas, (B, 3) metres."""

    rotations: Float[Tensor, "b j 3 3"]
    betas: Float[Tensor, "b s"]
    transl: Float[Tensor, "b 3"]

    def select(self, rows: Tensor) -> BodyState:
        """The bodies at ``rows``, an index or a mask."""
        return BodyState(self.rotations[rows], self.betas[rows], self.transl[rows])

    def put(self, rows: Tensor, other: BodyState) -> BodyState:
        """These bodies, with ``other`` in place of those at ``rows``, an index."""
        return BodyState(
            self.rotations.index_copy(0, rows, other.rotations),
            self.betas.index_copy(0, rows, other.betas),
            self.transl.index_copy(0, rows, other.transl),
        )

    def where(self, taken: Tensor, other: BodyState) -> BodyState:
        """``other`` for the bodies that are ``taken`` (B,), these for the rest."""
        return BodyState(
            torch.where(taken[:, None, None, None], other.rotations, self.rotations),
            torch.where(taken[:, None], other.betas, self.betas),
            torch.where(taken[:, None], other.transl, self.transl),
        )


@dataclass(frozen=True, slots=True, eq=False)
class RestPoints:
    """Rest body with betas of zero, expression and kid weight included: vertices and joints, metres."""

    points: Float[Tensor, "b n 3"]
    joints: Float[Tensor, "b j 3"]

    def select(self, rows: Tensor) -> RestPoints:
        """The bodies at ``rows``, an index or a mask."""
        return RestPoints(self.points[rows], self.joints[rows])


@dataclass(frozen=True, slots=True, eq=False)
class PosedPoints:
    """Chosen vertices of B posed bodies and what their derivatives are made of; metres.

    Attributes:
        points: (B, N, 3) in the frame of ``transl``.
        places: (B, J, 3) posed joints, before ``transl``.
        world: (B, J, 3, 3) rotation of each joint from rest to pose.
        skin: (B, N, 3, 3) weighted sum of ``world`` over the joints of each vertex.
        unposed: (B, N, 3) vertices with shape and pose blend shapes, before skinning.
        rest_joints: (B, J, 3) shaped joints.
    """

    points: Float[Tensor, "b n 3"]
    places: Float[Tensor, "b j 3"]
    world: Float[Tensor, "b j 3 3"]
    skin: Float[Tensor, "b n 3 3"]
    unposed: Float[Tensor, "b n 3"]
    rest_joints: Float[Tensor, "b j 3"]


class BodyPoints:
    """Some vertices of one layer's body.

    Args:
        layer: the body.
        rows: (N,) vertex indices.
        num_betas: shape components that count.
        dtype: float type of all arithmetic.
    """

    def __init__(
        self, layer: BodyLayer, rows: Tensor, num_betas: int, dtype: torch.dtype = torch.float64
    ) -> None:
        self.layer, self.dtype = layer, dtype
        self.rows = rows.to(layer.joints.template.device)
        flesh, parents = layer.surface, layer.parents

        def chosen(directions: Tensor) -> Tensor:  # (C, 3 V) -> (C, N, 3)
            return directions.reshape(len(directions), -1, 3)[:, self.rows].to(dtype)

        self.weights = flesh.weights[self.rows].to(dtype)
        self.shape = chosen(flesh.rest.shape[:num_betas])
        self.shape_joints = layer.joints.shape[:num_betas].to(dtype).reshape(len(self.shape), -1, 3)
        self.pose_directions = chosen(flesh.pose).flatten(1)
        self.parents = [int(parent) for parent in parents]
        self.behind = torch.as_tensor(_behind(parents)).to(self.weights)

    def rest(self, params: BodyParams) -> RestPoints:
        """What the given expression and kid weight make of the mean body; other parameters do not count."""
        still = BodyParams(expression=params.expression, kid=params.kid)
        points, joints = self.layer.rest_vertices(still)[:, self.rows], self.layer.joints(still)
        batch = params.batch()
        return RestPoints(
            points.to(self.dtype).expand(batch, -1, -1), joints.to(self.dtype).expand(batch, -1, -1)
        )

    def pose(self, rest: RestPoints, state: BodyState) -> PosedPoints:
        """Pose the chosen vertices of a batch."""
        rotations = state.rotations
        rest_joints = rest.joints + torch.einsum("bs,sjc->bjc", state.betas, self.shape_joints)
        world, places = self._chain(rotations, rest_joints)
        feature = (rotations[:, 1:] - torch.eye(3).to(rotations)).flatten(1)
        shaped = rest.points + torch.einsum("bs,snc->bnc", state.betas, self.shape)
        unposed = shaped + (feature @ self.pose_directions).reshape(shaped.shape)
        skin = (self.weights @ world.flatten(2)).reshape(*rest.points.shape, 3)
        moved = self.weights @ (places - (world @ rest_joints[..., None]).squeeze(-1))
        points = (skin @ unposed[..., None]).squeeze(-1) + moved + state.transl[:, None]
        return PosedPoints(points, places, world, skin, unposed, rest_joints)

    def by_rotation(self, posed: PosedPoints, joints: Tensor) -> Float[Tensor, "b f 3 n 3"]:
        """Change of the points with small turns of ``joints`` (F,) about world axes, metres per radian."""
        shift = posed.places - (posed.world @ posed.rest_joints[..., None]).squeeze(-1)
        # Where each joint alone would take each point, by its share of the point.
        parts = posed.unposed[:, None] @ posed.world.mT + shift[:, :, None]
        parts = parts * self.weights.T[:, :, None]
        behind = self.behind[joints]
        arms = (behind @ parts.flatten(2)).reshape(len(parts), len(behind), *parts.shape[2:])
        arms = arms - (behind @ self.weights.T)[:, :, None] * posed.places[:, joints, None]
        x, y, z = arms.unbind(-1)
        slopes: Tensor = arms.new_zeros(*arms.shape[:2], 3, *arms.shape[2:])
        # The axis times the arm from the joint, as a cross product.
        slopes[:, :, 0, :, 1], slopes[:, :, 0, :, 2] = -z, y
        slopes[:, :, 1, :, 0], slopes[:, :, 1, :, 2] = z, -x
        slopes[:, :, 2, :, 0], slopes[:, :, 2, :, 1] = -y, x
        return slopes + self._bent(posed, joints)

    def by_shape(self, posed: PosedPoints) -> Float[Tensor, "b s n 3"]:
        """Change of the points with each beta, metres."""
        joints = self.shape_joints.permute(1, 2, 0)  # (J, 3, S)
        places = [joints[0].expand(len(posed.world), -1, -1)]
        for joint, parent in enumerate(self.parents[1:], start=1):
            places.append(places[parent] + posed.world[:, parent] @ (joints[joint] - joints[parent]))
        shift = torch.stack(places, 1) - posed.world @ joints
        moved = (self.weights @ shift.flatten(2)).reshape(*posed.points.shape, -1)
        slopes: Tensor = posed.skin @ self.shape.permute(1, 2, 0) + moved
        return slopes.permute(0, 3, 1, 2)

    def _bent(self, posed: PosedPoints, joints: Tensor) -> Tensor:
        """What pose blend shapes add to the change by turns; they do not know the root."""
        batch, count = posed.points.shape[:2]
        before = posed.world[:, [max(self.parents[joint], 0) for joint in joints.tolist()]]
        after = posed.world[:, joints]
        # A turn t in the world changes the joint's rotation by before^T [t]x after.
        x, y, z = after[..., None, :].unbind(2)
        none = torch.zeros_like(x)
        crossed = torch.stack(
            [torch.cat(rows, 2) for rows in ((none, -z, y), (z, none, -x), (-y, x, none))], 2
        )
        change = before.mT[:, :, None] @ crossed
        change = change.flatten(3) * (joints > 0)[:, None, None]
        directions = self.pose_directions.reshape(-1, 9, 3 * count)[(joints - 1).clamp(min=0)]
        moved = change.transpose(0, 1).flatten(1, 2) @ directions
        moved = moved.reshape(-1, batch, 3, count, 3).permute(1, 3, 0, 2, 4)
        moved = moved.reshape(batch, count, -1, 3) @ posed.skin.mT
        return moved.reshape(batch, count, -1, 3, 3).permute(0, 2, 3, 1, 4)

    def _chain(self, rotations: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        world, places = [rotations[:, 0]], [joints[:, 0]]
        for joint, parent in enumerate(self.parents[1:], start=1):
            arm = joints[:, joint] - joints[:, parent]
            world.append(world[parent] @ rotations[:, joint])
            places.append(places[parent] + (world[parent] @ arm[..., None]).squeeze(-1))
        return torch.stack(world, 1), torch.stack(places, 1)


def spread(
    points: Float[np.ndarray, "n 3"], rows: Int[np.ndarray, " m"], count: int
) -> Int[np.ndarray, " k"]:
    """``count`` of the ``rows`` of ``points`` (or all, if fewer), each the farthest from those before.

    The first is the one farthest from the middle; of equally far ones the first in ``rows`` is taken.
    """
    chosen = points[rows]
    nearest = ((chosen - chosen.mean(0)) ** 2).sum(1) if len(rows) else np.zeros(0)
    found: list[int] = []
    while len(found) < min(count, len(rows)):
        found.append(int(np.argmax(nearest)))
        distance = ((chosen - chosen[found[-1]]) ** 2).sum(1)
        nearest = distance if len(found) == 1 else np.minimum(nearest, distance)
    return rows[found]


def _behind(parents: np.ndarray) -> Any:
    """(J, J) ones where the column's joint hangs on the row's joint, itself included."""
    table = np.eye(len(parents))
    for joint in range(len(parents) - 1, 0, -1):
        table[parents[joint]] += table[joint]
    return table
