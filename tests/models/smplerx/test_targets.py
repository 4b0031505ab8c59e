from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hmtools.bodies.mixed import BodyLayers
from hmtools.core.errors import UsageError
from hmtools.humandata.keypoints import flip_permutation
from hmtools.models.smplerx.target_body import mean_hands
from hmtools.models.smplerx.target_input import TargetInput
from hmtools.models.smplerx.target_rules import REFERENCE_FAULTS, RULES, ReferenceFault
from hmtools.models.smplerx.targets import TargetMaker
from tests.models.smplerx import published_sets as sets
from tests.models.smplerx.target_people import arrays, augmented, joined, person, row

Make = Callable[..., TargetMaker]


@pytest.fixture
def smplx(golden: Path) -> BodyLayers:
    return BodyLayers("smplx", roots=[golden], surface=False)


@pytest.fixture
def make(golden: Path, smplx: BodyLayers) -> Make:
    """Makes the maker of some faults."""
    return lambda *faults, **options: TargetMaker(
        smplx, smpl=BodyLayers("smpl", roots=[golden]), reference_faults=faults, **options
    )


def _anybody(make_input: Callable[..., TargetInput], rule: str, seed: int, smplx: BodyLayers) -> TargetInput:
    generator = np.random.default_rng(seed)
    joints = np.concatenate([generator.uniform(20, 220, (137, 2)), np.ones((137, 1))], axis=1)
    solid = np.concatenate(
        [generator.uniform([-0.5, -0.5, 3.5], [0.5, 0.5, 4.5], (137, 3)), np.ones((137, 1))], axis=1
    )
    hands = {f"smplx_{side}_hand_pose": generator.normal(0, 0.3, 45) for side in ("left", "right")}
    return make_input(
        rule,
        keypoints2d_137=joints,
        keypoints3d_137=solid,
        smplx_global_orient=generator.normal(0, 1, 3),
        smplx_body_pose=generator.normal(0, 0.3, 63),
        smplx_jaw_pose=generator.normal(0, 0.1, 3),
        smplx_betas=generator.uniform(-2, 2, 10),
        smplx_expression=generator.normal(0, 1, 10),
        smplx_transl=[0.0, 0.0, 4.0],
        focal_length=[400.0, 400.0],
        principal_point=[160.0, 120.0],
        lhand_bbox_xywh=[60.0, 60, 20, 30, 1],
        face_bbox_xywh=[160.0, 60, 20, 30, 1],
        **hands,
    )


CROP = np.array([[1.2, 0, 0], [0, 1.6, 60.0]])


def test_hands_lose_the_mean_hand_and_nothing_else(make: Make, smplx: BodyLayers) -> None:
    people = augmented(_anybody(person, "ubody", 0, smplx), CROP, False, 0, mirrored=False)
    pose = make()(people)[0].smplx_pose[0]
    hands = torch.cat([people.smplx_left_hand_pose[0], people.smplx_right_hand_pose[0]])
    torch.testing.assert_close(pose[66:156], hands - mean_hands(smplx).float().flatten())
    assert torch.equal(pose[3:66], people.smplx_body_pose[0])
    assert torch.equal(pose[156:], people.smplx_jaw_pose[0])


def test_a_mirrored_person_is_the_mirrored_person(make: Make, smplx: BodyLayers) -> None:
    """A flip of the augmentation gives what the records of the mirrored image would give."""
    order = flip_permutation("smplerx_137").tolist()
    for rule in ("agora", "humandata", "mscoco"):
        people = _anybody(person, rule, 1, smplx)
        plain, flipped = (make()(augmented(people, CROP, flip, 0, mirrored=True)) for flip in (False, True))
        for name in ("joint_cam", "smplx_joint_cam"):
            own, other = getattr(plain[0], name)[0], getattr(flipped[0], name)[0]
            torch.testing.assert_close(other, own[order] * torch.tensor([-1.0, 1, 1]))
        own, other = plain[0].joint_img[0], flipped[0].joint_img[0]
        torch.testing.assert_close(other[:, 1:], own[order, 1:])
        torch.testing.assert_close(other[:, 0], (319 * 1.2) / 32 - own[order, 0], rtol=1e-5, atol=1e-5)
        assert torch.equal(flipped[1].lhand_bbox_valid, plain[1].rhand_bbox_valid)
        assert torch.equal(flipped[1].rhand_bbox_valid, plain[1].lhand_bbox_valid)
        torch.testing.assert_close(
            flipped[0].smplx_pose[0, 3:66].reshape(21, 3)[0],
            plain[0].smplx_pose[0, 6:9] * torch.tensor([1.0, -1, -1]),
        )


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**16), rotation=st.floats(-60, 60), flip=st.booleans())
def test_every_target_is_finite_and_every_mask_0_or_1(
    make: Make, smplx: BodyLayers, seed: int, rotation: float, flip: bool
) -> None:
    people = [_anybody(person, rule, seed + i, smplx) for i, rule in enumerate(RULES)]
    people += [person(rule) for rule in RULES]  # and people of whom nothing is known
    batch = joined([augmented(p, CROP, flip, rotation, mirrored=True) for p in people])
    targets, masks = make()(batch)
    for values in (targets, masks):
        for item in fields(values):
            assert torch.isfinite(getattr(values, item.name)).all(), item.name
    for item in fields(masks):
        assert set(getattr(masks, item.name).unique().tolist()) <= {0.0, 1.0}
        nobody = getattr(masks, item.name)[len(RULES) :]
        assert not nobody.any(), item.name


def test_types_and_shapes_follow_the_input(golden: Path, smplx: BodyLayers) -> None:
    people = augmented(_anybody(person, "ubody", 0, smplx), CROP, True, 9, mirrored=True)
    double = people.to(dtype=torch.float64)
    precise = TargetMaker(BodyLayers("smplx", roots=[golden], dtype=torch.float64, surface=False))
    single = TargetMaker(smplx)(people)
    for own, other in zip(single, precise(double), strict=True):
        for name, value in row(other).items():
            assert value.dtype == torch.float64
            assert row(own)[name].dtype == torch.float32
            torch.testing.assert_close(row(own)[name].double(), value, rtol=1e-4, atol=1e-4, msg=name)
    assert single[0].joint_img.shape == (1, 137, 3)
    assert single[1].joint_trunc.shape == (1, 137, 1)
    assert single[1].smplx_pose_valid.shape == (1, 159)
    assert single[1].is_3d.shape == single[1].smplx_shape_valid.shape == (1,)


def test_targets_do_not_depend_on_autocast(make: Make, smplx: BodyLayers) -> None:
    people = augmented(_anybody(person, "agora", 0, smplx), CROP, True, 9, mirrored=True)
    plain = make()(people)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = make()(people)
    for one, other in zip(plain, mixed, strict=True):
        for name, value in row(one).items():
            assert torch.equal(value, row(other)[name]), name


@pytest.mark.parametrize(("beta", "kept"), [(2.99, True), (-2.99, True), (3.01, False), (-3.01, False)])
def test_large_betas_become_the_mean_shape(make: Make, smplx: BodyLayers, beta: float, kept: bool) -> None:
    betas = np.full(10, 0.5)
    betas[4] = beta
    for rule, supervises in (("humandata", kept), ("ubody", True), ("pw3d", False)):
        people = replace(
            augmented(_anybody(person, rule, 0, smplx), CROP, False, 0, mirrored=False),
            smplx_betas=torch.tensor(betas, dtype=torch.float32)[None],
        )
        targets, masks = make()(people)
        assert masks.smplx_shape_valid.item() == supervises
        assert targets.smplx_shape.any().item() == (kept and supervises)
        targets, _ = make(max_beta=4.0)(people)
        assert targets.smplx_shape.any().item() == (rule != "pw3d")


def test_zero_betas_are_no_shape_in_humandata(make: Make, smplx: BodyLayers) -> None:
    for rule, supervises in (("humandata", 0), ("ubody", 1)):
        people = replace(
            augmented(_anybody(person, rule, 0, smplx), CROP, False, 0, mirrored=False),
            smplx_betas=torch.zeros(1, 10),
        )
        assert make()(people)[1].smplx_shape_valid.item() == supervises


def test_face_eyes(make: Make, smplx: BodyLayers) -> None:
    people = joined(
        [
            augmented(_anybody(person, r, 0, smplx), CROP, False, 0, mirrored=False)
            for r in ("humandata", "agora")
        ]
    )
    right, published = make()(people)[0], make("face_eyes")(people)[0]
    swapped = [*range(67), 68, 67, *range(69, 137)]
    for name in ("joint_img", "joint_cam", "smplx_joint_img", "smplx_joint_cam"):
        own, other = getattr(right, name), getattr(published, name)
        assert torch.equal(own[0, swapped], other[0]), name
        assert not torch.equal(own[0], other[0])
        assert torch.equal(own[1], other[1])  # AGORA's joints go by their own names
    # Row 67 is the left eye of the body model, and of the labels only without the fault.
    assert torch.equal(
        right.joint_img[0, 67, :2] * 32,
        people.keypoints2d_137[0, 67, :2] * torch.tensor([1.2, 1.6]) + torch.tensor([0, 60.0]),
    )


def test_depthless_2d_masked(make: Make, smplx: BodyLayers) -> None:
    for rule in ("mscoco", "humandata", "mpii"):
        people = replace(_anybody(person, rule, 0, smplx), valid_keypoints3d=torch.tensor([False]))
        people = augmented(people, CROP, False, 0, mirrored=False)
        right, published = make()(people), make("depthless_2d_masked")(people)
        assert right[1].joint_trunc.sum() > 50
        assert published[1].joint_trunc.sum() == 0
        assert right[1].is_3d == published[1].is_3d == 0  # so the depth of joint_img supervises nothing
        if rule == "humandata":
            assert published[1].smplx_joint_trunc.sum() == 0
            seen = right[1].smplx_joint_trunc[0, :, 0] > 0
            assert seen.sum() > 20
            labels, fit = right[0].joint_img[0], right[0].smplx_joint_img[0]
            assert torch.equal(fit[seen, :2], labels[seen, :2])
            assert (fit[seen, 2] > 0).all()  # the depth of the fit, since nothing masks it
    with_depth = augmented(_anybody(person, "humandata", 0, smplx), CROP, False, 0, mirrored=False)
    for name, value in row(make()(with_depth)[1]).items():
        assert torch.equal(value, row(make("depthless_2d_masked")(with_depth)[1])[name])


def test_pw3d_slots(golden: Path, make: Make, smplx: BodyLayers) -> None:
    people = replace(sets.pw3d(0), gender=("neutral",))
    right, published = make()(people), make("pw3d_slots")(people)
    assert torch.equal(right[0].joint_img, right[0].smplx_joint_img)
    named = torch.tensor([*range(14), 66])  # what SMPL has by name
    assert set(right[1].joint_trunc[0, :, 0].nonzero()[:, 0].tolist()) <= set(named.tolist())
    # Slot 3 of the fault is SMPL's Spine_1; row 3 is the left knee, SMPL's 4.
    assert (published[0].joint_img[0, 4] - right[0].joint_img[0, 3]).abs().max() < 0.5
    assert (published[0].joint_img[0, 3] - right[0].joint_img[0, 3]).abs().max() > 1
    assert not published[0].joint_img[0, 22:].any()
    assert torch.equal(right[0].joint_cam, published[0].joint_cam)
    jointly = BodyLayers("smpl", roots=[golden], surface=False)
    with pytest.raises(UsageError, match="surface=False"):
        TargetMaker(smplx, smpl=jointly, reference_faults=["pw3d_slots"])(people)


def test_talkshow_hands(make: Make, smplx: BodyLayers) -> None:
    people = joined(
        [
            augmented(_anybody(person, r, 3, smplx), CROP, False, 0, mirrored=False)
            for r in ("talkshow", "humandata")
        ]
    )
    people = replace(people, valid_rhand=torch.tensor([False, False]))
    right, published = make()(people), make("talkshow_hands")(people)
    left, hand = slice(66, 111), slice(111, 156)
    assert torch.equal(published[0].smplx_pose[0, hand], published[0].smplx_pose[0, left])
    assert published[1].smplx_pose_valid[0, hand].all()
    assert not right[1].smplx_pose_valid[:, hand].any()
    assert not published[1].smplx_pose_valid[1, hand].any()
    # The figures' loader does so to the poses it reads.
    loaded = arrays("humandata.npz")
    assert np.array_equal(loaded["Talkshow/param0_rhand_pose"], loaded["Talkshow/param0_lhand_pose"])


def test_labels_of_unrooted_parts_do_not_supervise(make: Make, smplx: BodyLayers) -> None:
    people = augmented(_anybody(person, "agora", 0, smplx), CROP, False, 0, mirrored=False)
    wrist, hand = 12, slice(25, 45)
    people.keypoints3d_137[0, wrist, 3] = 0
    masks = make()(people)[1]
    assert not masks.smplx_joint_valid[0, hand].any()
    assert not masks.joint_trunc[0, hand].any()  # no depth in the hand either
    assert masks.joint_valid[0, hand].all()  # from the pelvis it is known
    people.keypoints3d_137[0, 0, :3] = torch.nan  # no pelvis, nothing
    targets, masks = make()(people)
    assert torch.isfinite(targets.joint_cam).all()  # no mask hides NaN from a sum
    assert masks.is_3d.item() == 0
    assert torch.equal(masks.smplx_joint_valid, torch.ones(1, 137, 1))  # the fit's instead


@pytest.mark.parametrize(
    ("flag", "name", "columns"),
    [
        ("valid_lhand", "smplx_pose_valid", slice(66, 111)),
        ("valid_rhand", "smplx_pose_valid", slice(111, 156)),
        ("valid_face", "smplx_pose_valid", slice(156, 159)),
        ("valid_global_orient", "smplx_pose_valid", slice(0, 3)),
        ("valid_smplx", "smplx_pose_valid", slice(0, 159)),
        ("valid_lhand", "smplx_joint_valid", slice(25, 45)),
        ("valid_rhand", "smplx_joint_valid", slice(45, 65)),
        ("valid_face", "smplx_joint_valid", slice(65, 137)),
        ("valid_smplx", "smplx_joint_valid", slice(0, 137)),
        ("valid_transl", "smplx_joint_trunc", slice(0, 137)),
        ("valid_betas", "smplx_shape_valid", ...),
        ("valid_face", "smplx_expr_valid", ...),
        ("valid_smplx", "is_3d", ...),
    ],
)
def test_what_a_record_calls_invalid_does_not_supervise(
    make: Make, smplx: BodyLayers, flag: str, name: str, columns: Any
) -> None:
    people = augmented(_anybody(person, "ubody", 0, smplx), CROP, False, 0, mirrored=False)
    people = replace(people, keypoints2d_137=torch.full((1, 137, 3), torch.nan))
    before = getattr(make()(people)[1], name)[0]
    hidden: dict[str, Any] = {flag: torch.tensor([False])}
    after = getattr(make()(replace(people, **hidden))[1], name)[0]
    assert before[columns].any()
    assert not after[columns].any()
    rest = torch.ones_like(before)
    rest[columns] = 0
    assert torch.equal(before * rest, after * rest)


def test_pose_valid_goes_by_joint(make: Make, smplx: BodyLayers) -> None:
    flags = torch.ones(1, 55, dtype=torch.bool)
    flags[0, [1, 22, 23, 25, 40]] = False  # left hip, jaw, left eye, first joints of both hands
    people = replace(_anybody(person, "ubody", 0, smplx), pose_valid=flags)
    masks = make()(augmented(people, CROP, False, 0, mirrored=False))[1]
    invalid = (masks.smplx_pose_valid.reshape(53, 3)[:, 0] == 0).nonzero()[:, 0].tolist()
    assert invalid == [1, 22, 37, 52]


def test_children_keep_their_own_betas(golden: Path, make: Make, smplx: BodyLayers) -> None:
    people = augmented(_anybody(person, "agora", 0, smplx), CROP, False, 0, mirrored=False)
    boy = replace(people, gender=("male",), smplx_gender=("male",), kid=torch.tensor([0.5]))
    targets, masks = make()(boy)
    assert masks.smplx_shape_valid.item() == 1
    assert torch.equal(targets.smplx_shape, people.smplx_betas)
    man = replace(boy, kid=torch.tensor([torch.nan]))
    assert make()(man)[1].smplx_shape_valid.item() == 0


def test_smplh_poses_the_body_and_its_hands(make: Make, smplx: BodyLayers) -> None:
    whole = _anybody(person, "humandata", 0, smplx)
    parts = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "transl")
    moved: dict[str, Any] = {f"smplh_{part}": getattr(whole, f"smplx_{part}") for part in parts}
    people = augmented(
        replace(whole, valid_smplx=torch.tensor([False]), **moved), CROP, False, 0, mirrored=False
    )
    targets, masks = make()(people)
    expected = make()(augmented(whole, CROP, False, 0, mirrored=False))[0]
    assert torch.equal(targets.smplx_pose[:, :156], expected.smplx_pose[:, :156])
    assert masks.smplx_pose_valid[0, :156].all()
    assert not masks.smplx_pose_valid[0, 156:].any()
    assert masks.smplx_shape_valid.item() == masks.smplx_expr_valid.item() == 0


def test_smplx_comes_before_smpl(make: Make, smplx: BodyLayers) -> None:
    whole = _anybody(person, "humandata", 0, smplx)
    other = {"smpl_global_orient": torch.ones(1, 3), "smpl_body_pose": torch.ones(1, 69)}
    both: dict[str, Any] = {**other, "smpl_transl": torch.ones(1, 3), "smpl_betas": torch.ones(1, 10)}
    people = augmented(replace(whole, **both), CROP, False, 0, mirrored=False)
    assert torch.equal(make()(people)[0].smplx_pose[:, 3:66], whole.smplx_body_pose)
    hidden = replace(people, valid_smplx=torch.tensor([False]))
    targets, masks = make()(hidden)
    assert (targets.smplx_pose[:, 3:66] == 1).all()
    assert masks.smplx_pose_valid[0, :66].all()
    assert not masks.smplx_pose_valid[0, 66:].any()  # SMPL has no hands and no face


def test_a_fit_that_cannot_be_projected_takes_the_labels_place(make: Make, smplx: BodyLayers) -> None:
    people = augmented(_anybody(person, "ubody", 0, smplx), CROP, False, 0, mirrored=False)
    labels = people.keypoints2d_137[0, :, :2] * torch.tensor([1.2, 1.6]) + torch.tensor([0, 60.0])
    lost: list[dict[str, Any]] = [
        {"valid_transl": torch.tensor([False])},
        {"focal_length": torch.full((1, 2), torch.nan)},
    ]
    for hidden in lost:
        targets, masks = make()(replace(people, **hidden))
        assert masks.smplx_joint_trunc.sum() > 20
        torch.testing.assert_close(targets.smplx_joint_img[0, :, :2] * 32, labels)


def test_a_wrong_fault_or_batch_is_refused(make: Make, smplx: BodyLayers) -> None:
    wrong: Any = "face_eye"
    with pytest.raises(UsageError, match="face_eyes"):
        make(wrong)
    people = augmented(person("ubody"), CROP, False, 0, mirrored=False)
    with pytest.raises(UsageError, match="one of each"):
        make()(replace(people, rules=()))


def test_every_fault_belongs_to_a_rule() -> None:
    shown: set[ReferenceFault] = set().union(*(rule.faults for rule in RULES.values()))
    assert shown == set(REFERENCE_FAULTS)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same(golden: Path, make: Make, smplx: BodyLayers) -> None:
    people = joined(
        [
            augmented(_anybody(person, r, i, smplx), CROP, bool(i % 2), 9, mirrored=True)
            for i, r in enumerate(RULES)
        ]
    )
    there = people.to("cuda")
    layers = {
        family: BodyLayers(family, roots=[golden], device="cuda", surface=False)
        for family in ("smplx", "smpl")
    }
    maker = TargetMaker(layers["smplx"], smpl=layers["smpl"])
    found = maker(there)
    for one, other in zip(make()(people), found, strict=True):
        for i in range(len(RULES)):
            for name, value in row(other, i).items():
                torch.testing.assert_close(value.cpu(), row(one, i)[name], rtol=1e-4, atol=1e-4, msg=name)
