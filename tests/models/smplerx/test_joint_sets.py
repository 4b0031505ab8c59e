from __future__ import annotations

import numpy as np

from hmtools.humandata.keypoints import convention, flip_pairs, mapping
from hmtools.models.smplerx import joint_sets
from tests.models.smplerx.networks import figures


def test_published_tables() -> None:
    stored = figures("readouts")
    assert tuple(stored["joints/joint_idx_137"]) == joint_sets.SUPERVISED_ROWS
    names = convention(joint_sets.SUPERVISED).names
    assert names == tuple(stored["joints/names_137"])
    assert names[: joint_sets.POSITION_JOINTS] == tuple(stored["joints/pos_names_65"])
    pairs = {tuple(sorted(pair)) for pair in stored["joints/flip_pairs_137"].tolist()}
    assert set(flip_pairs(joint_sets.SUPERVISED)) == pairs
    rotations = {tuple(sorted(pair)) for pair in stored["joints/orig_flip_pairs_53"].tolist()}
    assert set(flip_pairs(joint_sets.POSE)) == rotations
    assert (joint_sets.BODY_JOINTS, joint_sets.HAND_JOINTS, joint_sets.POSITION_JOINTS) == (25, 20, 65)
    # The loader's own gather has the two eyes of the face exchanged.
    loader = mapping("human_data_190", "smplerx_137_published")
    np.testing.assert_array_equal(loader.src, stored["joints/humandata_137"])


def test_parts_fill_the_sets() -> None:
    joints = [i for rows in joint_sets.JOINT_PARTS.values() for i in range(137)[rows]]
    assert joints == list(range(137))
    columns = [i for rows in joint_sets.POSE_PARTS.values() for i in range(159)[rows]]
    assert columns == list(range(159))
    lengths = {name: rows.stop - rows.start for name, rows in joint_sets.POSE_PARTS.items()}
    assert lengths == {"root": 3, "body": 63, "left_hand": 45, "right_hand": 45, "jaw": 3}


def test_roots() -> None:
    names = convention(joint_sets.SUPERVISED).names
    assert names[joint_sets.PELVIS] == "Pelvis"
    roots = {part: names[row] for part, row in joint_sets.PART_ROOTS.items()}
    assert roots == {"left_hand": "L_Wrist", "right_hand": "R_Wrist", "face": "Neck"}
