"""3DPW: its protocols against what is known of the people, and against float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hmtools.bench.protocols.registry import get_protocol
from hmtools.geometry.rotation import axis_angle_to_matrix, matrix_to_axis_angle
from tests.bench.oracle import Oracle, Row, model_of, oracle, people, pose_fit, posed, values
from tests.bench.reference import pa_residual
from tests.bench.testset_shards import TestSets

ROWS = [1, 2, 4, 5, 7, 8, 12, 15, 16, 17, 18, 19, 20, 21]


@pytest.fixture(scope="module")
def pw3d(test_sets: TestSets) -> Oracle:
    return oracle(test_sets, "pw3d")


@pytest.fixture(scope="module")
def smpl(pw3d: Oracle) -> list[Row]:
    """The true parameters of each person."""
    rows = []
    for key, person in pw3d.people.items():
        gender, own = person.columns["gender"], {
            "body_pose": person.columns["smpl_body_pose"],
            "betas": person.columns["smpl_betas"],
        }  # fmt: skip
        found = pose_fit("smpl", gender, own, person.vertices)
        rows.append({"key": key, "gender": gender} | {f"smpl_{name}": value for name, value in found.items()})
    return rows


@pytest.mark.parametrize("protocol", ["spin@1", "wham@1", "3dpw-official@1"])
def test_true_parameters_have_no_error(protocol: str, pw3d: Oracle, smpl: list[Row], tmp_path: Path) -> None:
    kind = get_protocol("3dpw", protocol)
    result = pw3d.bench(kind, smpl[::-1], tmp_path)
    best = {"pck50": 100.0, "auc": 100.0}
    found = {name: value for name, value in values(result).items() if value is not None}
    assert set(found) >= set(kind.metrics) - {"accel_error"}
    for metric, value in found.items():
        assert value == pytest.approx(best.get(metric, 0), abs=0.05 if metric == "orientation" else 2e-3), (
            metric
        )


def test_the_gender_of_a_prediction_is_its_models(pw3d: Oracle, smpl: list[Row], tmp_path: Path) -> None:
    """Without a gender the numbers are of the neutral model: another body."""
    nobody = [{**row, "gender": None} for row in smpl]
    found = values(pw3d.bench(get_protocol("3dpw", "spin"), nobody, tmp_path))
    assert found["mpjpe_body"] > 1


def test_smplerx_compares_the_skeletons_of_two_families(
    pw3d: Oracle, smpl: list[Row], tmp_path: Path
) -> None:
    """No prediction is perfect here: against float64."""
    rows, expected = [], {}
    skeletons = [
        np.asarray(model_of(family).joint_regressor.toarray(), np.float64) for family in ("smplx", "smpl")
    ]
    for row in smpl:
        own = {"global_orient": row["smpl_global_orient"], "transl": row["smpl_transl"]}
        mine = {**own, "body_pose": row["smpl_body_pose"][:63], "betas": 0.5 * row["smpl_betas"]}
        rows.append({"key": row["key"], **{f"smplx_{name}": value for name, value in mine.items()}})
        hands = np.asarray(model_of("smplx").hand_mean)
        mesh = posed("smplx", "neutral", {**mine, "left_hand_pose": hands[0], "right_hand_pose": hands[1]})
        joints = [skeletons[0] @ mesh, skeletons[1] @ np.float64(pw3d.people[row["key"]].vertices)]
        x, y = (own[ROWS] - own[0] for own in joints)
        expected[row["key"]] = [1000 * np.linalg.norm(x - y, axis=1).mean(), 1000 * pa_residual(x, y).mean()]
    result = pw3d.bench(get_protocol("3dpw"), rows, tmp_path)
    for key, person in people(result).items():
        assert [person["mpjpe_body"], person["pa_mpjpe_body"]] == pytest.approx(expected[key], abs=2e-3)
        assert person["mpjpe_body"] > 5
    means = np.mean(list(expected.values()), axis=0)
    found = values(result)
    assert [found["mpjpe_body"], found["pa_mpjpe_body"]] == pytest.approx(means, abs=2e-3)
    assert found.keys() == {"mpjpe_body", "pa_mpjpe_body"}


def test_a_knee_that_is_turned_turns_one_of_nine_parts(pw3d: Oracle, smpl: list[Row], tmp_path: Path) -> None:
    """0.3 rad at the left knee: no other measured part turns, and only ankle and foot move."""
    rows = []
    for row in smpl:
        pose = np.array(row["smpl_body_pose"])
        knee = axis_angle_to_matrix(torch.tensor(pose[9:12])) @ axis_angle_to_matrix(
            torch.tensor([0.3, 0, 0]).double()
        )
        pose[9:12] = matrix_to_axis_angle(knee).numpy()
        rows.append({**row, "smpl_body_pose": pose})
    result = pw3d.bench(get_protocol("3dpw", "3dpw-official"), rows, tmp_path)
    for key, person in people(result).items():
        if person["status"] == "excluded":
            assert pw3d.people[key].columns["keypoints2d_original"] is None
            continue
        assert person["orientation"] == pytest.approx(np.degrees(0.3) / 9, abs=0.05)
        joints = np.asarray(pw3d.people[key].joints)
        shin = np.linalg.norm(joints[7] - joints[4])
        moved = {row for row, error in enumerate(person["joint_errors"]) if error > 0.1}
        assert moved <= {7, 10}
        assert person["joint_errors"][7] < 1000 * 0.3 * shin + 0.1
