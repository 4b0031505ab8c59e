from __future__ import annotations

import doctest
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hmtools.core.errors import UsageError
from hmtools.humandata import keypoints
from hmtools.humandata.conventions import CONVENTIONS, EQUIVALENTS, SMPL_49_FROM_SMPL_54
from hmtools.humandata.keypoints import (
    PARTS,
    KeypointMap,
    bones,
    convention,
    flip_pairs,
    flip_permutation,
    mapping,
    part,
)

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "keypoint_tables.json").read_text("utf-8")
)
NAMES = sorted(CONVENTIONS)
any_convention = pytest.mark.parametrize("name", NAMES)
one_of_all = st.sampled_from(NAMES)
# A mirrored hand is the other hand, which is another convention.
one_with_two_hands = st.sampled_from([name for name in NAMES if not name.startswith("mano")])

# Name in the reference: ours, joints that reach the 190, then the 137 set's body, hands and face, and the
# body joints that stay empty beside toes and heels. Figures were found by running the reference's tables.
NO_HEAD = "Pelvis L_Hip R_Hip Neck L_Ear R_Ear L_Eye R_Eye Nose"
NO_FEET = 6
SURVIVAL = [
    ("coco", "coco_17", 17, 15, 0, 2, "Pelvis L_Hip R_Hip Neck", NO_FEET),
    ("coco_wholebody", "coco_wholebody_133", 131, 23, 40, 70, "Pelvis Neck", 0),
    ("mpii", "mpii_16", 16, 10, 0, 0, NO_HEAD, NO_FEET),
    ("h36m", "h36m_17", 17, 10, 0, 0, NO_HEAD, NO_FEET),
    ("h36m_mmpose", "h36m_mmpose", 17, 10, 0, 0, NO_HEAD, NO_FEET),
    ("mpi_inf_3dhp", "mpi_inf_3dhp_28", 28, 10, 0, 0, NO_HEAD, NO_FEET),
    ("mpi_inf_3dhp_test", "mpi_inf_3dhp_17", 17, 10, 0, 0, NO_HEAD, NO_FEET),
    ("posetrack", "posetrack18_17", 17, 15, 0, 0, "Pelvis Neck L_Eye R_Eye", NO_FEET),
    ("crowdpose", "crowdpose_14", 14, 13, 0, 1, "Pelvis L_Ear R_Ear L_Eye R_Eye Nose", NO_FEET),
    ("lsp", "lsp_14", 14, 10, 0, 0, NO_HEAD, NO_FEET),
    ("smpl", "smpl_24", 24, 14, 0, 1, "L_Ear R_Ear L_Eye R_Eye Nose", NO_FEET),
    # The reference calls SPIN's set smpl_24; ours is the skeleton, which it calls smpl.
    ("j24", "smpl_24_j24", 24, 15, 0, 2, "Pelvis L_Hip R_Hip Neck", NO_FEET),
    ("smpl_45", "smpl_45", 45, 25, 10, 3, "", 0),
    ("smpl_49", "smpl_49", 49, 15, 0, 2, "Pelvis L_Hip R_Hip Neck", NO_FEET),
    ("smpl_54", "smpl_54", 54, 25, 10, 3, "", 0),
    ("smplx", "smplx_144", 144, 25, 40, 72, "", 0),
    ("agora", "smplx_127", 127, 25, 40, 55, "", 0),
    ("openpose_25", "openpose_25", 25, 0, 0, 0, None, NO_FEET),
    (
        *("openpose_118", "openpose_118", 118, 2, 40, 51),
        "Pelvis L_Hip R_Hip L_Knee R_Knee L_Ankle R_Ankle Neck L_Shoulder R_Shoulder L_Elbow R_Elbow L_Ear "
        "R_Ear L_Eye R_Eye Nose",
        NO_FEET,
    ),
    ("openpose_135", "openpose_135", 135, 24, 40, 71, "Pelvis", 0),
    ("openpose_137", "openpose_137", 125, 25, 40, 60, "", 0),
    ("instavariety", "instavariety_25", 25, 0, 0, 0, None, NO_FEET),
    ("gta", "gta_100", 50, 17, 28, 3, "L_Ear R_Ear", NO_FEET),
    ("pw3d", "pw3d_18", 18, 15, 0, 2, "Pelvis L_Hip R_Hip Neck", NO_FEET),
    ("penn_action", "penn_action_13", 13, 12, 0, 1, "Pelvis Neck L_Ear R_Ear L_Eye R_Eye Nose", NO_FEET),
    # Both big toes survive: 16 body joints, so four of the feet are empty, not six.
    ("hybrik_29", "hybrik_29", 29, 16, 4, 2, "L_Ear R_Ear L_Eye R_Eye Nose", 4),
]


@pytest.mark.parametrize("row", SURVIVAL, ids=[row[0] for row in SURVIVAL])
def test_survival_into_the_190_and_the_137(row: tuple[str, str, int, int, int, int, str | None, int]) -> None:
    source, ours, in_190, body, hands, face, empty, empty_feet = row
    assert convention(source).name == convention(ours).name
    assert mapping(source, "human_data_190").mask.sum() == in_190
    for target in ("smplerx_137", "smplerx_137_published"):
        mask = mapping(source, target).mask
        sums = [int(mask[list(part(target, which))].sum()) for which in ("body", "hand", "face")]
        assert sums == [body, hands, face]
        # The way over the 190, as a HumanData file goes, gives the same.
        over = mapping("human_data_190", target)
        np.testing.assert_array_equal(mapping(source, "human_data_190").mask[over.src], mask)
    names = convention("smplerx_137").names
    missing = {names[i] for i in range(25) if not mapping(source, "smplerx_137").mask[i]}
    feet = set(names[14:20])
    assert missing - feet == (set(names[:25]) - feet if empty is None else set(empty.split()))
    assert len(missing & feet) == empty_feet


def test_the_137_set_is_the_body_models_and_the_published_one_the_loaders() -> None:
    right, published = convention("smplerx_137"), convention("smplerx_137_published")
    assert list(right.names) == GOLDEN["names_137"] == list(published.names)
    for source in ("smplx_144", "human_data_190"):
        assert mapping(source, "smplerx_137").src.tolist() == GOLDEN["model_gather_137"]
        assert mapping(source, "smplerx_137_published").src.tolist() == GOLDEN["humandata_gather_137"]
    assert (right.keys[67], right.keys[68]) == ("left_eye", "right_eye") == (right.keys[22], right.keys[23])
    assert (published.keys[67], published.keys[68]) == ("right_eye", "left_eye")
    # Back from the 137 the first eyes count, in both.
    assert mapping("smplerx_137", "coco_17").src[:3].tolist() == [24, 22, 23]
    assert mapping("smplerx_137_published", "coco_17").src[:3].tolist() == [24, 22, 23]


def test_osx_points_join_the_137_set_by_their_own_names() -> None:
    row = convention("osx_134")
    assert list(row.names) == GOLDEN["osx_134_names"]
    to = mapping("osx_134", "smplerx_137")
    expected = [n in row.names for n in GOLDEN["names_137"]]
    assert to.mask.tolist() == expected
    assert [row.names[i] for i in to.src] == [n for n in GOLDEN["names_137"] if n in row.names]
    assert not to.mask[65:69].any()
    assert to.mask[69:].all()
    # To any other set it goes by meaning.
    assert mapping("osx_134", "coco_wholebody_133").mask.all()
    assert mapping("osx_134", "coco_wholebody_133").src[[0, 11, 23, 91]].tolist() == [0, 11, 66, 24]


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        ("smplerx_137", "flip_pairs_137"),
        ("smplerx_137_published", "flip_pairs_137"),
        ("smplerx_53", "flip_pairs_53"),
        ("osx_134", "osx_134_flip_pairs"),
        ("agora_127", "agora_flip_pairs"),
    ],
)
def test_flip_pairs_equal_those_of_the_reference(name: str, pairs: str) -> None:
    assert [list(pair) for pair in flip_pairs(name)] == GOLDEN[pairs]


def test_more_flip_tables() -> None:
    j24 = [5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13, 14, 15, 16, 17, 18, 19, 21, 20, 23, 22]
    body = [0, 1, 5, 6, 7, 2, 3, 4, 8, 12, 13, 14, 9, 10, 11, 16, 15, 18, 17, 22, 23, 24, 19, 20, 21]
    assert flip_permutation("smpl_49").tolist() == body + [25 + i for i in j24]
    assert flip_permutation("hmr2_44").tolist() == body + [25 + i for i in j24[:19]]
    assert flip_permutation("hmr2_44").tolist() == GOLDEN["hmr2_flip_permutation"]
    assert flip_pairs("h36m_mmpose") == ((1, 4), (2, 5), (3, 6), (11, 14), (12, 15), (13, 16))
    assert flip_pairs("coco") == tuple((i, i + 1) for i in range(1, 17, 2))
    threedhp = ((2, 5), (3, 6), (4, 7), (8, 11), (9, 12), (10, 13))
    assert flip_pairs("mpi_inf_3dhp_17") == threedhp
    assert flip_pairs("muco") == (*threedhp, (17, 18), (19, 20))
    assert flip_pairs("mano_left") == ()


@any_convention
def test_every_joint_with_a_side_has_its_counterpart(name: str) -> None:
    order = flip_permutation(name)
    np.testing.assert_array_equal(order[order], np.arange(len(order)))
    keys = convention(name).keys
    moved = {keys[i] for i, j in enumerate(order) if i != j}
    sided = {key for key in keys if any(side in key for side in ("left_", "right_", "_L_", "_R_"))}
    assert moved == (set() if name.startswith("mano_21") else sided)
    with pytest.raises(ValueError, match="read-only"):
        order[0] = 1


@any_convention
def test_mapping_to_itself_changes_nothing(name: str) -> None:
    same = mapping(name, name)
    joints = convention(name).count
    assert same.mask.all()
    assert same.src.tolist() == same.dst.tolist() == list(range(joints))


def test_hips_of_one_definition_do_not_become_another_unless_allowed() -> None:
    exact, near = mapping("smplx", "coco_17"), mapping("smplx", "coco_17", approximate=True)
    assert np.flatnonzero(~exact.mask).tolist() == [11, 12]
    assert near.mask.all()
    assert near.src[11:13].tolist() == [1, 2]
    # COCO to SMPL: hips only, for neither pelvis nor neck has a stand-in there.
    names = convention("smpl_24").names
    exact, near = mapping("coco", "smpl"), mapping("coco", "smpl", approximate=True)
    assert [names[i] for i in np.flatnonzero(near.mask & ~exact.mask)] == ["left_hip", "right_hip"]


def test_approximate_takes_the_first_of_the_group_and_leaves_exact_joints_alone() -> None:
    # SPIN's gather, OpenPose joints and all, is what the rules give by themselves.
    near = mapping("smpl_54", "smpl_49", approximate=True)
    assert tuple(near.src.tolist()) == SMPL_49_FROM_SMPL_54
    assert mapping("smpl_45", "openpose_25", approximate=True).src.tolist() == list(SMPL_49_FROM_SMPL_54[:25])
    exact = mapping("smpl_54", "smpl_49")
    assert exact.dst.tolist() == list(range(25, 49))
    assert exact.src.tolist() == near.src[25:].tolist()
    # pelvis_openpose stands before pelvis_extra in the group: joint 8 of the 49, not 39.
    assert mapping("smpl_49", "smpl_24", approximate=True).src[0] == 8
    assert mapping("smpl_49", "smpl_24").mask[0] == np.False_


@settings(max_examples=300, deadline=None)
@given(one_of_all, one_of_all, one_of_all)
def test_two_maps_in_a_row_agree_with_the_direct_one(a: str, b: str, c: str) -> None:
    first, second, direct = mapping(a, b), mapping(b, c), mapping(a, c)
    start = np.full(convention(b).count, -1)
    start[first.dst] = first.src
    keys = convention(a).keys
    at = dict(zip(direct.dst.tolist(), direct.src.tolist(), strict=True))
    for j, i in zip(second.dst.tolist(), start[second.src].tolist(), strict=True):
        if i >= 0 and (direct.mask[j] or not CONVENTIONS[a].own_names or not CONVENTIONS[c].own_names):
            assert keys[i] == keys[at[j]] == convention(c).keys[j]
            assert i == at[j] or keys.count(keys[i]) == 2


@settings(max_examples=150, deadline=None)
@given(one_of_all, one_of_all, st.booleans(), st.data())
def test_apply_copies_confidence_and_leaves_the_rest_zero(
    source: str, target: str, approximate: bool, data: st.DataObject
) -> None:
    leading = data.draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=2))
    channels = data.draw(st.integers(2, 4))
    shape = (*leading, convention(source).count, channels)
    keypoints_ = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    keypoints_[..., -1] = data.draw(st.sampled_from([0.0, 0.5, 1.0, np.nan]))
    map_: KeypointMap = mapping(source, target, approximate=approximate)
    out = map_.apply(keypoints_)
    assert out.shape == (*leading, convention(target).count, channels)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out[..., map_.dst, :], keypoints_[..., map_.src, :])
    assert not out[..., ~map_.mask, :].any()
    assert map_.mask.sum() == len(map_.src) == len(map_.dst) == len(np.flatnonzero(map_.mask))
    for i, j in zip(map_.src.tolist(), map_.dst.tolist(), strict=True):
        a, b = convention(source).keys[i], convention(target).keys[j]
        assert a == b or (approximate and any({a, b} <= set(group) for group in EQUIVALENTS))


@settings(max_examples=100, deadline=None)
@given(one_with_two_hands, one_with_two_hands)
def test_mirroring_commutes_with_mapping(source: str, target: str) -> None:
    map_ = mapping(source, target)
    points = np.random.default_rng(1).normal(size=(convention(source).count, 3))
    before = map_.apply(points[flip_permutation(source)])
    after = map_.apply(points)[flip_permutation(target)]
    np.testing.assert_array_equal(before, after)


def test_unknown_names_say_what_is_near_and_what_there_is() -> None:
    with pytest.raises(
        UsageError, match=r"'coco_71'; did you mean 'coco_17'.*known: human_data_190, smplerx_137"
    ):
        convention("coco_71")
    for call in (mapping, part):
        with pytest.raises(UsageError, match="unknown keypoint convention 'nothing'"):
            call("nothing", "coco_17")
    with pytest.raises(UsageError, match="unknown keypoint convention"):
        flip_pairs("nothing")
    with pytest.raises(UsageError, match="unknown keypoint convention"):
        bones("nothing")
    with pytest.raises(
        UsageError, match=r"no joint 'left_hip' in .*'coco_17'; did you mean 'left_hip_extra'"
    ):
        convention("coco").index("left_hip")
    with pytest.raises(UsageError, match=r"unknown part 'left_hands' of 'coco_17'; did you mean 'left_hand'"):
        part("coco", "left_hands")
    with pytest.raises(UsageError, match=r"unknown part 'position_net' of 'smplx_144'.*known: body"):
        part("smplx", "position_net")
    assert "position_net" not in PARTS


@pytest.mark.parametrize("shape", [(17,), (16, 3), (3, 17), (17, 1), (17, 5), (2, 18, 3)])
def test_an_array_of_another_convention_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"'coco_17' have the shape \(\.\.\., 17, 2 to 4\), found"):
        mapping("coco", "smplx").apply(np.zeros(shape))


def test_maps_are_shared_and_cannot_be_changed() -> None:
    once = mapping("coco", "smplerx_137")
    assert mapping("coco", "smplerx_137") is once
    for array in (once.src, once.dst, once.mask):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    given_ = np.ones((17, 3), np.int32)
    assert once.apply(given_).dtype == np.int32
    assert (given_ == 1).all()


def test_the_example_in_the_docstring_runs() -> None:
    assert doctest.testmod(keypoints).failed == 0
    assert doctest.testmod(keypoints).attempted > 0
