"""Pose, shape and place of bodies whose vertices come closest to given points.

Levenberg-Marquardt on chosen vertices, all bodies of a batch side by side, each with its own damping and its
own end. In each step rotations and translation are eliminated exactly, and what is left is a problem in the
betas alone: solved inside their bounds, and summed over all bodies where they share one shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hmtools.bodies.body_points import BodyPoints, BodyState, PosedPoints, RestPoints
from hmtools.geometry.rotation import axis_angle_to_matrix, matrix_to_axis_angle

__all__ = ["FitProblem", "bounded_solution", "fit"]

_POSE_PRIOR = 1e-7
"""Square metres of mean squared distance that one squared radian away from the start costs: twists that no
vertex shows stay where they are, and a joint that moves 1 % of the vertices by 3 cm per radian is free."""
_SHAPE_PRIOR = 1e-8
"""Square metres per squared beta away from the start: a component that moves vertices by 1 mm loses 1 %."""
_STEPS = 30
_ENOUGH = 2e-3
"""A fit ends when a step takes less than this part of what is left of the cost ..."""
_TINY = 1e-12
"""... or when less than this is left: a micrometre."""
_DAMPING = (1e-4, 1e-9, 1e6)
"""First, least and most damping, relative to the curvature of each parameter."""
_MOST_TURN = 1.0
"""Radians a joint may turn in one step: beyond, the derivatives mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitProblem:
    """What is fitted to what.

    Attributes:
        body: the chosen vertices.
        rest: the B bodies' unchanging parts.
        wanted: (B, N, 3) metres, where the vertices should be.
        weights: (N,) not negative, how much each counts; only their proportions matter.
        joints: joints that may turn, rising; the others stay as they start.
        betas: whether the betas may change.
        transl: whether the translation may change.
        max_beta: bound of the absolute value of each beta.
        one_shape: all bodies of the batch have the same betas; they must start so.
    """

    body: BodyPoints
    rest: RestPoints
    wanted: Float[Tensor, "b n 3"]
    weights: Float[Tensor, " n"]
    joints: tuple[int, ...]
    betas: bool = True
    transl: bool = True
    max_beta: float = 5.0
    one_shape: bool = False


def fit(problem: FitProblem, start: BodyState) -> BodyState:
    """The bodies nearest to ``problem.wanted``, looked for from ``start``.

    Args:
        problem: points, weights and bounds.
        start: where to begin, and what weakly determined parameters keep to; betas that may change are first
            moved into their bounds.

    Returns:
        Rotations, betas within their bounds, translation. To rounding, no body depends on the others of the
        batch, unless they share one shape.
    """
    if problem.betas:
        bounded = start.betas.clamp(-problem.max_beta, problem.max_beta)
        start = BodyState(start.rotations, bounded, start.transl)
    with torch.no_grad():
        run = _Run(problem, start)
        for _ in range(_STEPS):
            if not len(run.live):
                break
            run.step()
    return run.state


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """Turns of the free joints about the axes of the world, change of translation, change of betas."""

    turns: Float[Tensor, "b f 3"]
    transl: Float[Tensor, "b t"]
    betas: Float[Tensor, "b s"]


class _Run:
    """Where each body of a fit is, what that costs, and how carefully it goes on."""

    def __init__(self, problem: FitProblem, start: BodyState) -> None:
        wanted = problem.wanted
        weights = problem.weights.to(wanted)
        self.problem, self.start, self.state = problem, start, start
        self.root_weights = (weights / weights.sum()).sqrt()[:, None]
        self.joints = torch.tensor(problem.joints, dtype=torch.long, device=wanted.device)
        parents = [max(problem.body.parents[joint], 0) for joint in problem.joints]
        self.parents = torch.tensor(parents, dtype=torch.long, device=wanted.device)
        self.damping = wanted.new_full((len(wanted),), _DAMPING[0])
        every = torch.arange(len(wanted), device=wanted.device)
        self.cost = self._cost(every, start, problem.body.pose(problem.rest, start))
        self.live = every[self.cost > _TINY]

    def step(self) -> None:
        """Try one step of each body that is not done; one that would get worse stays, and is damped more."""
        rows, problem = self.live, self.problem
        rest, state, old = problem.rest.select(rows), self.state.select(rows), self.cost[rows]
        posed = problem.body.pose(rest, state)
        step = self._solve(rows, state, self._equations(rows, state, posed))
        moved = self._moved(state, posed, step)
        new = self._cost(rows, moved, problem.body.pose(rest, moved))
        better = new < old
        self.state = self.state.put(rows, state.where(better, moved))
        self.cost = self.cost.index_copy(0, rows, torch.where(better, new, old))
        damping = self.damping[rows] * torch.where(better, 0.1, 10.0)
        self.damping = self.damping.index_copy(0, rows, damping.clamp(min=_DAMPING[1]))
        done = (better & (old - new < _ENOUGH * old)) | (new < _TINY) | (damping > _DAMPING[2])
        self.live = rows[~done]

    def _cost(self, rows: Tensor, state: BodyState, posed: PosedPoints) -> Tensor:
        """(B,) square metres; the sum over all bodies, for each of them, where they share one shape."""
        miss = (posed.points - self.problem.wanted[rows]) * self.root_weights
        away = self._turned(rows, state)
        cost = miss.square().sum((1, 2)) + _POSE_PRIOR * away.square().sum((1, 2))
        cost = cost + _SHAPE_PRIOR * (state.betas - self.start.betas[rows]).square().sum(1)
        return cost.sum().expand_as(cost) if self.problem.one_shape else cost

    def _turned(self, rows: Tensor, state: BodyState) -> Tensor:
        """(B, F, 3) turns of the free joints since the start, before their own rotation, radians."""
        start = self.start.rotations[rows][:, self.joints]
        return matrix_to_axis_angle(state.rotations[:, self.joints] @ start.mT)

    def _equations(self, rows: Tensor, state: BodyState, posed: PosedPoints) -> tuple[Tensor, Tensor, int]:
        """Normal equations (B, P, P) and (B, P) of turns, translation and betas; how many are not betas."""
        body, problem = self.problem.body, self.problem
        parts = [body.by_rotation(posed, self.joints).flatten(1, 2)]
        if problem.transl:
            eye = torch.eye(3).to(posed.points)
            parts.append(eye[:, None].expand(len(rows), 3, *posed.points.shape[1:]))
        pose = sum(part.shape[1] for part in parts)
        if problem.betas:
            parts.append(body.by_shape(posed))
        slopes = (torch.cat(parts, dim=1) * self.root_weights).flatten(2)
        miss = ((posed.points - problem.wanted[rows]) * self.root_weights).flatten(1)
        matrix, vector = slopes @ slopes.mT, (slopes @ miss[..., None]).squeeze(-1)
        turned = (self._before(posed) @ self._turned(rows, state)[..., None]).flatten(1)
        turns = turned.shape[1]
        prior = matrix.new_zeros(matrix.shape[1])
        prior[:turns], prior[pose:] = _POSE_PRIOR, _SHAPE_PRIOR
        vector[:, :turns] += _POSE_PRIOR * turned
        if problem.betas:
            vector[:, pose:] += _SHAPE_PRIOR * (state.betas - self.start.betas[rows])
        return matrix + torch.diag(prior), vector, pose

    def _solve(self, rows: Tensor, state: BodyState, equations: tuple[Tensor, Tensor, int]) -> _Step:
        matrix, vector, pose = equations
        matrix = matrix + torch.diag_embed(matrix.diagonal(dim1=1, dim2=2) * self.damping[rows, None])
        turns = 3 * len(self.joints)
        coupling, across = matrix[:, :pose, pose:], torch.linalg.cholesky(matrix[:, :pose, :pose])
        solved = torch.cholesky_solve(torch.cat([coupling, vector[:, :pose, None]], dim=-1), across)
        inner, outer = solved[..., :-1], solved[..., -1]
        betas = torch.zeros_like(state.betas)
        if self.problem.betas:
            reduced = matrix[:, pose:, pose:] - coupling.mT @ inner
            wanted = -vector[:, pose:] + (coupling.mT @ outer[..., None]).squeeze(-1)
            if self.problem.one_shape:
                reduced = reduced.sum(0, keepdim=True).expand_as(reduced)
                wanted = wanted.sum(0, keepdim=True).expand_as(wanted)
            most = self.problem.max_beta
            betas = bounded_solution(reduced, wanted, -most - state.betas, most - state.betas)
            outer = outer + (inner @ betas[..., None]).squeeze(-1)
        return _Step(-outer[:, :turns].reshape(len(rows), len(self.joints), 3), -outer[:, turns:], betas)

    def _moved(self, state: BodyState, posed: PosedPoints, step: _Step) -> BodyState:
        turns = step.turns
        share = (_MOST_TURN / turns.norm(dim=-1, keepdim=True)).clamp(max=1.0)
        turns = (self._before(posed).mT @ (share * turns)[..., None]).squeeze(-1)
        rotations = state.rotations.clone()
        rotations[:, self.joints] = axis_angle_to_matrix(turns) @ rotations[:, self.joints]
        transl = state.transl + step.transl if self.problem.transl else state.transl
        return BodyState(rotations, state.betas + step.betas, transl)

    def _before(self, posed: PosedPoints) -> Tensor:
        """(B, F, 3, 3) rotation of what each free joint turns in; the root turns in the world itself."""
        before = posed.world[:, self.parents].clone()
        before[:, self.joints == 0] = torch.eye(3).to(before)
        return before


def bounded_solution(
    matrix: Float[Tensor, "b s s"],
    vector: Float[Tensor, "b s"],
    lower: Float[Tensor, "b s"],
    upper: Float[Tensor, "b s"],
) -> Float[Tensor, "b s"]:
    """Solutions of positive definite systems, kept within bounds around 0.

    Unknowns beyond a bound are put on it and the others solved again, until all are inside. What is put on
    its bound stays there, so the answer may miss the constrained minimum; a fit does not, as it starts afresh
    in each step.
    """
    held = torch.zeros_like(vector, dtype=torch.bool)
    answer = torch.zeros_like(vector)
    for _ in range(vector.shape[1] + 1):
        known = torch.where(held, answer, 0.0)
        right = vector - (matrix @ known[..., None]).squeeze(-1)
        both = held[:, :, None] | held[:, None, :]
        system = torch.where(both, 0.0, matrix) + torch.diag_embed(held.to(matrix))
        solution = torch.linalg.solve(system, torch.where(held, 0.0, right))
        answer = torch.where(held, answer, solution)
        outside = (answer < lower) | (answer > upper)
        answer = torch.minimum(torch.maximum(answer, lower), upper)
        held = held | outside
        if not outside.any():
            break
    return answer
