"""Who is who in AGORA's images, and what its leader board makes of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.bench.agora_matching import (
    AGORA_METRICS,
    Counts,
    Match,
    agora_errors,
    agora_scores,
    match_people,
    valid_people,
)
from hmtools.bench.parts import AgoraParts
from hmtools.core.errors import UsageError

SHAPE = np.random.default_rng(0).uniform(0, 100, (26, 2))


def people(*places: tuple[float, float]) -> np.ndarray:
    """The same 26 joints, at most 100 pixels wide, at several places; the last two joints do not count."""
    joints = np.array(places, float).reshape(-1, 1, 2) + SHAPE
    joints[:, 24:] = 1e6
    return joints


def answer(match: Match) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    pairs = list(zip(match.predicted.tolist(), match.target.tolist(), strict=True))
    return pairs, match.false_positives.tolist(), match.misses.tolist()


def sure(count: int) -> np.ndarray:
    return np.ones(count, bool)


def test_the_nearest_first() -> None:
    """Prediction 0 is nearer to person 1, but prediction 1 is nearer still; greedy, so 0 gets person 0."""
    target = people((0, 0), (30, 0))
    assert answer(match_people(people((20, 0), (28, 0)), target, sure(2))) == ([(0, 0), (1, 1)], [], [])
    assert answer(match_people(people((28, 0), (20, 0)), target, sure(2))) == ([(0, 1), (1, 0)], [], [])


def test_too_many_too_few_and_nobody() -> None:
    two = people((0, 0), (300, 0))
    assert answer(match_people(people((1, 0)), two, sure(2))) == ([(0, 0)], [], [1])
    assert answer(match_people(two, people((299, 0)), sure(1))) == ([(1, 0)], [0], [])
    assert answer(match_people(people(), two, np.array([True, False]))) == ([], [], [0])
    assert answer(match_people(two, people(), sure(0))) == ([], [0, 1], [])


def test_boxes_must_overlap() -> None:
    """The box is w x h; moved by d along x it overlaps by (w - d) / (w + d), each side one pixel longer."""
    width = float(np.ptp(SHAPE[:24, 0])) + 1
    limit = width * (1 - 0.1) / (1 + 0.1)
    target = people((0, 0))
    assert answer(match_people(people((limit - 0.01, 0)), target, sure(1)))[0] == [(0, 0)]
    assert answer(match_people(people((limit + 0.01, 0)), target, sure(1))) == ([], [0], [0])


def test_a_step_that_fails_costs_a_prediction() -> None:
    """The cheapest pair does not overlap: one try less, although the other person would have done."""
    predicted = np.repeat([[0.0, 0.0], [10.0, 10.0]], 12, axis=0)[None]
    beside, scrambled = predicted + np.array([10.0, 0.0]), predicted[:, ::-1]
    target = np.concatenate([beside, scrambled])
    assert answer(match_people(predicted, scrambled, sure(1)))[0] == [(0, 0)]
    assert answer(match_people(predicted, target, sure(2))) == ([], [0], [0, 1])
    found = match_people(np.concatenate([predicted, scrambled]), target, sure(2))
    assert answer(found) == ([(1, 1)], [0], [0])


def test_invalid_people_are_neither_found_nor_missed() -> None:
    target = people((0, 0), (300, 0))
    valid = np.array([False, True])
    assert answer(match_people(people((1, 0), (301, 0)), target, valid)) == ([(1, 1)], [0], [])
    assert answer(match_people(people((1, 0)), target, valid)) == ([], [0], [1])
    # Nearest to somebody invalid, near enough to somebody valid
    near = people((0, 0), (30, 0))
    assert answer(match_people(people((10, 0)), near, valid)) == ([(0, 1)], [], [])


def test_the_cost_is_the_largest_singular_value() -> None:
    """By the sum of squares the first person is nearer, by the largest singular value the second."""
    rng = np.random.default_rng(1)
    along, across = (rng.normal(size=24) for _ in range(2))
    across -= across @ along / (along @ along) * along
    both = np.stack(
        [along / np.linalg.norm(along), across / np.linalg.norm(across)], 1
    )  # singular values 1, 1
    predicted = people((0, 0))
    target = np.repeat(predicted, 2, 0)
    target[0, :24] += 10 * both @ np.diag([1, 0])  # norms: singular 10, Frobenius 10
    target[1, :24] += 9 * both  # singular 9, Frobenius 12.7
    assert answer(match_people(predicted, target, sure(2)))[0] == [(0, 1)]


def test_joints_that_are_not_finite_are_nobody() -> None:
    predicted = people((0, 0), (1, 0))
    predicted[0, 3, 1] = np.nan
    assert answer(match_people(predicted, people((0, 0)), sure(1))) == ([(1, 0)], [0], [])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 6), st.integers(0, 6))
def test_everybody_is_accounted_for_in_any_order(seed: int, count: int, true: int) -> None:
    rng = np.random.default_rng(seed)
    predicted, target = (people(*rng.uniform(0, 250, (n, 2)).tolist()) for n in (count, true))
    valid = rng.random(true) < 0.7
    found = match_people(predicted, target, valid)
    assert sorted([*found.predicted, *found.false_positives]) == list(range(count))
    assert sorted([*found.target, *found.misses]) == np.flatnonzero(valid).tolist()
    order, others = rng.permutation(count), rng.permutation(true)
    shuffled = match_people(predicted[order], target[others], valid[others])
    pairs = {
        (int(order[i]), int(others[j])) for i, j in zip(shuffled.predicted, shuffled.target, strict=True)
    }
    assert pairs == set(answer(found)[0])


def test_bad_use_is_refused() -> None:
    with pytest.raises(UsageError, match=r"predicted joints: expected \(people, 24 or more, 2\)"):
        match_people(people((0, 0))[:, :23], people((0, 0)), sure(1))
    with pytest.raises(UsageError, match="one flag per true person, found 2 for 1"):
        match_people(people((0, 0)), people((0, 0)), sure(2))


def test_who_is_to_be_found() -> None:
    occlusion = np.array([0.0, 90.0, 90.5, -1.0, np.nan, 50.0])
    flags = np.array([True, True, True, True, True, False])
    assert valid_people(occlusion, flags).tolist() == [True, True, False, False, False, False]


def test_errors_part_by_part() -> None:
    rng = np.random.default_rng(2)
    parts = AgoraParts("smplx", torch.arange(50, 90), torch.arange(20).reshape(2, 10), torch.arange(20, 50))
    arrays = [rng.normal(0, 0.5, (3, n, 3)) + np.array([0, 0, 8]) for n in (100, 100, 127, 144)]
    x, y, a, b = (torch.as_tensor(array).float() for array in arrays)
    found = agora_errors(x, y, a, b, parts)
    assert tuple(found) == AGORA_METRICS
    rows = {
        "body": (list(range(22)), list(range(50, 90)), [1, 2]),
        "lhand": ([20, *range(25, 40)], list(range(10)), [20]),
        "rhand": ([21, *range(40, 55)], list(range(10, 20)), [21]),
        "face": ([12, *range(76, 127)], list(range(20, 50)), [12]),
    }
    for part, (joints, vertices, root) in rows.items():
        ours, theirs = (j[:, root].mean(1, keepdims=True) for j in arrays[2:])
        first, second = arrays[0][:, vertices] - ours, arrays[1][:, vertices] - theirs
        expected = np.linalg.norm(first - second, axis=-1).mean(1)
        np.testing.assert_allclose(found[f"pve_{part}"], 1000 * expected, atol=2e-3)
        first, second = arrays[2][:, joints] - ours, arrays[3][:, joints] - theirs
        expected = np.linalg.norm(first - second, axis=-1).mean(1)
        np.testing.assert_allclose(found[f"mpjpe_{part}"], 1000 * expected, atol=2e-3)
    with pytest.raises(UsageError, match=r"predicted joints: expected \(B, 127 or more, 3\)"):
        agora_errors(x, y, a[:, :100], b, parts)


def test_smpl_has_a_body_only_with_24_joints() -> None:
    rng = torch.Generator().manual_seed(3)
    x, y = (torch.randn(2, 60, 3, generator=rng) for _ in range(2))
    joints = torch.randn(2, 45, 3, generator=rng)
    moved = joints.clone()
    moved[:, 23] += torch.tensor([0.0, 0.24, 0.0])
    found = agora_errors(x, y, moved, joints, AgoraParts("smpl", torch.arange(60), None, None))
    assert set(found) == {"pve_body", "mpjpe_body"}
    torch.testing.assert_close(found["mpjpe_body"], torch.full((2,), 10.0))


ERRORS = {
    **{"pve_body": [100.0, 110.25], "pve_lhand": [30.0, 60.0], "pve_rhand": [45.0, 45.0]},
    **{"pve_face": [33.0, 33.0], "mpjpe_body": [98.0, 99.1]},
}


def test_the_scores_of_the_board() -> None:
    """3 people, 2 found, 2 predictions of nobody: F1 = 2 / (2 + 1.5)."""
    errors = {name: np.array(values) for name, values in ERRORS.items()}
    counts = Counts(matched=2, missed=1, false_positives=2)
    assert agora_scores(errors, counts) == {
        "f1": 0.57,
        **{"pve_body": 105.1, "pve_lhand": 30.0, "pve_rhand": 30.0, "pve_face": 22.0, "mpjpe_body": 98.5},
        **{"nmve_body": 184.4, "pve_full": 132.4, "nmve_full": 232.3, "nmje_body": 172.8},
    }
    kids = agora_scores(errors, counts, full_f1=0.8)
    assert (kids["nmve_body"], kids["nmve_full"]) == (184.4, 165.5)


def test_nobody_found() -> None:
    empty = {name: np.zeros(0) for name in ERRORS}
    scores = agora_scores(empty, Counts(matched=0, missed=2, false_positives=0))
    assert scores["f1"] == 0
    assert scores["pve_lhand"] == 0
    assert np.isnan([scores["pve_body"], scores["nmve_body"], scores["nmve_full"]]).all()
    assert np.isnan(agora_scores(empty, Counts(matched=0, missed=0, false_positives=0))["f1"])
    with pytest.raises(UsageError, match="pve_body: expected 1 errors of matched people, found 0"):
        agora_scores(empty, Counts(matched=1, missed=0, false_positives=0))
