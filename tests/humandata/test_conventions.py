from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hmtools.humandata.conventions import (
    CONVENTIONS,
    EQUIVALENTS,
    H36M_EVALUATION_14,
    H36M_TO_LSP_14,
    H36M_TO_LSP_17,
    SMPL_VERTEX_IDS,
    SMPLX_VERTEX_IDS,
)
from hmtools.humandata.keypoints import convention, mapping

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "keypoint_tables.json").read_text("utf-8")
)

COUNTS = {
    "human_data_190": 190, "smplerx_137": 137, "smplerx_137_published": 137, "smplerx_53": 53, "coco_17": 17,
    "coco_wholebody_133": 133, "osx_134": 134, "mpii_16": 16, "h36m_17": 17, "h36m_mmpose": 17,
    "mpi_inf_3dhp_28": 28, "mpi_inf_3dhp_28_hybrik": 28, "mpi_inf_3dhp_17": 17, "muco_21": 21,
    "posetrack18_17": 17, "posetrack17_15": 15, "crowdpose_14": 14, "ochuman_19": 19, "lsp_14": 14,
    "lspet_14": 14, "smpl_24": 24, "smpl_24_j24": 24, "smpl_45": 45, "smpl_54": 54, "smpl_49": 49,
    "hmr2_44": 44, "smplh_73": 73, "smplx_144": 144, "smplx_127": 127, "agora_127": 127, "mano_21": 21,
    "mano_21_left": 21, "mano_21_right": 21, "mano_21_reorder": 21, "mano_21_left_reorder": 21,
    "mano_21_right_reorder": 21, "openpose_18": 18, "openpose_25": 25, "openpose_118": 118,
    "openpose_135": 135, "openpose_137": 137, "instavariety_25": 25, "pw3d_18": 18, "gta_100": 100,
    "penn_action_13": 13, "hybrik_29": 29,
}  # fmt: skip


def test_counts_of_every_convention() -> None:
    assert {name: convention(name).count for name in COUNTS} == COUNTS
    assert {convention(name).name for name in COUNTS} == set(CONVENTIONS)


@pytest.mark.parametrize("name", sorted(CONVENTIONS))
def test_no_name_twice_and_keys_only_twice_for_the_second_eyes(name: str) -> None:
    row = convention(name)
    assert len(set(row.names)) == row.count == len(row.keys)
    twice = {key for key in row.keys if row.keys.count(key) > 1}
    assert twice == ({"left_eye", "right_eye"} if name.startswith("smplerx_137") else set())
    assert row.own_names == (name in {"smplerx_137", "smplerx_137_published", "osx_134"})


def test_aliases_lead_to_one_convention_each() -> None:
    everything = [alias for row in CONVENTIONS.values() for alias in (row.name, *row.aliases)]
    assert len(set(everything)) == len(everything)
    for alias, name in [("coco", "coco_17"), ("human_data", "human_data_190"), ("agora_127", "smplx_127")]:
        assert convention(alias) is CONVENTIONS[name]


def test_the_190_begin_with_smplx_and_hold_each_public_vocabulary() -> None:
    everything = convention("human_data_190")
    assert everything.names[:144] == convention("smplx_144").names
    assert everything.names[153:178] == convention("openpose_25").names
    assert everything.index("headtop") == 147
    assert " ".join(everything.names[178:]) == (
        "spine_4_3dhp left_clavicle_3dhp right_clavicle_3dhp left_hand_3dhp right_hand_3dhp left_toe_3dhp "
        "right_toe_3dhp head_h36m headtop_h36m head_bottom_pt left_hand right_hand"
    )


def test_equivalent_names_are_known_and_in_one_group_only() -> None:
    names = [name for group in EQUIVALENTS for name in group]
    assert len(set(names)) == len(names)
    assert set(names) <= set(convention("human_data_190").names)
    stand_ins = {group[0] for group in EQUIVALENTS if group[1].endswith("_openpose")}
    openpose = {name.removesuffix("_openpose") for name in convention("openpose_25").names}
    assert openpose == stand_ins


def test_selectors() -> None:
    lsp = mapping("h36m_17", "lsp_14")
    assert tuple(lsp.src.tolist()) == H36M_TO_LSP_14
    assert lsp.mask.all()
    names = convention("h36m_17").names
    assert [names[i] for i in H36M_TO_LSP_17[14:]] == ["pelvis_extra", "spine_extra", "head_extra"]
    # The other order needs another selector: the published one would swap its legs.
    other = mapping("h36m_mmpose", "lsp_14").src.tolist()
    assert other == [3, 2, 1, 4, 5, 6, *H36M_TO_LSP_14[6:]]
    for name in ("h36m_17", "h36m_mmpose"):
        dropped = [n for i, n in enumerate(convention(name).names) if i not in H36M_EVALUATION_14]
        assert dropped == ["pelvis_extra", "spine_extra", "head_extra"]
    to_test = [7, 5, 14, 15, 16, 9, 10, 11, 23, 24, 25, 18, 19, 20, 4, 3, 6]
    assert mapping("mpi_inf_3dhp_28", "mpi_inf_3dhp_17").src.tolist() == to_test
    assert convention("hmr2_44").index("pelvis_extra") == 39
    assert convention("muco_21").index("pelvis_extra") == 14


# Annotated hips, neck and head top get the names of their kind; the sources call them plainly.
RENAMED = {
    "ochuman_19": {"right_hip": "right_hip_extra", "left_hip": "left_hip_extra", "neck": "neck_extra"},
    "posetrack17_15": {"neck": "head_bottom_pt", "head_top": "headtop"},
}


@pytest.mark.parametrize("name", sorted(GOLDEN["ordered_names"]))
def test_order_of_the_names(name: str) -> None:
    names, renamed = convention(name).names, RENAMED.get(name, {})
    for start, listed in GOLDEN["ordered_names"][name].items():
        expected = [renamed.get(n, n) for n in listed.split()]
        assert list(names[int(start) : int(start) + len(expected)]) == expected


def test_lists_that_are_made_of_others() -> None:
    assert convention("smpl_49").names == convention("openpose_25").names + convention("smpl_24_j24").names
    assert convention("hmr2_44").names == convention("smpl_49").names[:44]
    assert convention("smpl_54").names[45:] == convention("human_data_190").names[144:153]
    assert convention("smplh_73").names[52:] == convention("smplx_144").names[55:76]
    assert convention("openpose_118").names[67:] == convention("smplx_144").names[76:127]
    assert convention("openpose_135").names[65:82] == convention("smplx_144").names[127:]
    assert convention("openpose_118").index("right_wrist") == 46
    assert [convention("openpose_137").names[i] for i in (25, 46, 67, 84, 135)] == [
        *("left_wrist_openpose", "right_wrist_openpose", "right_contour_1", "right_eye_brow_1"),
        "right_eyeball_unused",
    ]
    wholebody = convention("coco_wholebody_133")
    assert [wholebody.names[i] for i in (11, 17, 23, 91, 95, 112, 132)] == [
        *("left_hip", "left_bigtoe", "right_contour_1", "left_hand_root", "left_thumb", "right_hand_root"),
        "right_pinky",
    ]
    assert mapping("mano_21_right", "mano_21_right_reorder").src.tolist() == [
        *(0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)
    ]
    own = {"SMPLH": "eyeball", "Small_toe": "smalltoe", "Big_toe": "bigtoe"}
    for golden, name in (("agora_names", "smplx_127"), ("names_53", "smplerx_53")):
        theirs = [_in_our_words(n, own) for n in GOLDEN[golden] if not n.startswith("Face_")]
        assert theirs == list(convention(name).names[: len(theirs)])
    assert list(convention("smplerx_137").names[:65]) == GOLDEN["position_net_names"]


def _in_our_words(name: str, special: dict[str, str]) -> str:
    side = {"L": "left_", "R": "right_"}.get(name.split("_")[0], "")
    rest = name[2:] if side else name
    if rest == "Eye_SMPLH":
        return f"{side}eyeball"
    return side + special.get(rest, rest.lower().removesuffix("_4"))


def test_vertices_follow_the_joints_they_stand_for() -> None:
    assert tuple(SMPL_VERTEX_IDS) == convention("smpl_45").names[24:]
    assert tuple(SMPLX_VERTEX_IDS) == convention("smplx_144").names[55:76]
    assert [SMPL_VERTEX_IDS[n] for n in ("nose", "left_eye", "right_heel", "left_thumb", "right_pinky")] == [
        *(332, 2800, 6787, 2746, 6133)
    ]
    assert [SMPLX_VERTEX_IDS[n] for n in ("nose", "left_eye", "right_heel", "left_thumb", "right_pinky")] == [
        *(9120, 9448, 8635, 5361, 8022)
    ]
    for ids, vertices in ((SMPL_VERTEX_IDS, 6890), (SMPLX_VERTEX_IDS, 10475)):
        assert len(set(ids.values())) == 21
        assert max(ids.values()) < vertices
