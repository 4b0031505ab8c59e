"""The errors of the 3DPW challenge."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from hmtools.bench.challenge import (
    CHALLENGE_ORIENTATIONS,
    CHALLENGE_PCK,
    challenge_errors,
    measure_challenge,
    orientation_error,
    world_rotations,
)
from hmtools.core.errors import UsageError
from hmtools.humandata.keypoints import convention
from tests.bench.reference import pa_residual


def test_all_of_it_one_by_one() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(0, 0.4, (6, 24, 3)) + np.array([0, 0, 20])
    predicted = target + rng.normal(0, 0.06, target.shape) + 1
    turns = [Rotation.random(6 * 24, random_state=seed).as_matrix().reshape(6, 24, 3, 3) for seed in (1, 2)]
    found = measure_challenge(*(torch.as_tensor(array).float() for array in (predicted, target, *turns)))
    for i in range(6):
        apart = np.linalg.norm(predicted[i] - predicted[i, 0] - target[i] + target[i, 0], axis=1)
        inner = apart[list(CHALLENGE_PCK)]
        angles = [
            np.degrees(Rotation.from_matrix(turns[0][i, k] @ turns[1][i, k].T).magnitude())
            for k in CHALLENGE_ORIENTATIONS
        ]
        expected = {
            "mpjpe_body": 1000 * apart.mean(),
            "pa_mpjpe_body": 1000 * pa_residual(predicted[i], target[i]).mean(),
            "pck50": 100 * (inner <= 0.05).mean(),
            "auc": 100 * np.clip(1 - inner / 0.2, 0, None).mean(),
            "orientation": np.mean(angles),
        }
        assert set(expected) == set(found)
        for name, value in expected.items():
            assert abs(float(found[name][i]) - value) < 2e-3, name
    x, y = torch.as_tensor(predicted).float(), torch.as_tensor(target).float()
    assert "orientation" not in measure_challenge(x, y)
    assert not challenge_errors(x, y)[:, 0].any()


def test_the_joints_by_name() -> None:
    names = convention("smpl_24").names
    assert [names[i].split("_")[-1] for i in CHALLENGE_PCK] == [
        *["hip", "hip", "knee", "knee", "ankle", "ankle"],
        *["shoulder", "shoulder", "elbow", "elbow", "wrist", "wrist"],
    ]
    assert [names[i].split("_")[-1] for i in CHALLENGE_ORIENTATIONS] == [
        *["pelvis", "hip", "hip", "knee", "knee", "shoulder", "shoulder", "elbow", "elbow"]
    ]


@pytest.mark.parametrize("angle", [0.0, 1e-4, 0.5, math.pi / 2, math.pi - 1e-4, math.pi])
def test_small_and_straight_angles(angle: float) -> None:
    axis = np.array([1.0, 2.0, -0.5]) / np.linalg.norm([1.0, 2.0, -0.5])
    turned = torch.as_tensor(Rotation.from_rotvec(angle * axis).as_matrix())[None, None]
    found = orientation_error(turned, torch.eye(3, dtype=torch.float64)[None, None])
    assert abs(float(found) - math.degrees(angle)) < 1e-6
    with pytest.raises(UsageError, match="one shape"):
        orientation_error(turned, turned.expand(1, 2, 3, 3))


def test_rotations_follow_their_parents() -> None:
    steps = [Rotation.from_rotvec(v) for v in ([0.3, 0, 0], [0, 0.5, 0], [0, 0, 1.0], [1.0, 1.0, 0])]
    relative = torch.as_tensor(np.stack([step.as_matrix() for step in steps]))[None]
    found = world_rotations(relative, (-1, 0, 1, 0))
    expected = [steps[0], steps[0] * steps[1], steps[0] * steps[1] * steps[2], steps[0] * steps[3]]
    np.testing.assert_allclose(found[0], [turn.as_matrix() for turn in expected], atol=1e-12)
