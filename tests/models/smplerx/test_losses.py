"""Every term, its gradients and three steps of training against the published code (ViT-S, 4 samples)."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hmtools.core.errors import UsageError
from hmtools.models.sizes import SIZES
from hmtools.models.smplerx.body import project
from hmtools.models.smplerx.joint_sets import JOINT_PARTS, POSE_PARTS
from hmtools.models.smplerx.losses import LossWeights, into_hand_boxes, loss_terms, losses
from hmtools.models.smplerx.model import SmplerX
from hmtools.models.smplerx.outputs import Forward
from hmtools.models.smplerx.target_types import Masks
from tests.models.smplerx import networks
from tests.models.smplerx.training import crops, supervision

CASES = {
    "h32": LossWeights(),
    "no_boxes": LossWeights(),
    "root_not_supervised": LossWeights(supervise_root=False),
    "orient_weight": LossWeights(smplx_orient=5.0),
    "agora_only_detach": LossWeights(camera_only=True),
}
BOXES = ("lhand_bbox", "rhand_bbox", "face_bbox")
HANDS = slice(JOINT_PARTS["left_hand"].start, JOINT_PARTS["right_hand"].stop)


@cache
def figures() -> dict[str, np.ndarray]:
    return networks.figures("loss_vits")


def trained_network(golden: Path, *, bn_train: bool = False) -> SmplerX:
    net = SmplerX(SIZES["s"], networks.body_layer(golden))
    state = networks.weights.fill(net.state_dict(), seed=1)
    net.load_state_dict(networks.inputs.override(state, bn_train=bn_train))
    if not bn_train:
        return net.eval()
    for block in net.encoder.blocks:
        block.drop_path = 0.0  # type: ignore[assignment]
    return net.train()


def summed(terms: dict[str, Tensor]) -> Tensor:
    """What is trained on."""
    return torch.stack([term.mean() for term in terms.values()]).sum()


@pytest.fixture(scope="module")
def passed(golden: Path) -> tuple[SmplerX, Forward]:
    """A network and what it said to the images of the figures; to be differentiated with retain_graph."""
    net = trained_network(golden)
    return net, net(crops())


def without_boxes(masks: Masks) -> Masks:
    none = torch.zeros(len(masks.is_3d))
    return replace(masks, lhand_bbox_valid=none, rhand_bbox_valid=none, face_bbox_valid=none)


def check_terms(case: str, terms: dict[str, Tensor]) -> None:
    expected = figures()
    names = {key.split("/shape_")[1] for key in expected if key.startswith(f"{case}/shape_")}
    assert names | set(BOXES) == set(terms)
    for name, term in terms.items():
        if name not in names:  # a box term that the published code leaves out
            assert not term.detach().any()
            continue
        assert tuple(term.shape) == tuple(expected[f"{case}/shape_{name}"]), name
        rows = torch.from_numpy(expected[f"{case}/per_sample_{name}"])
        torch.testing.assert_close(term.detach().flatten(1).mean(1), rows, rtol=1e-4, atol=1e-6, msg=name)
        assert term.mean().item() == pytest.approx(float(expected[f"{case}/mean_{name}_f64"]), rel=1e-4)


def check_gradients(case: str, net: SmplerX, gradients: dict[str, Tensor | None], noise: float) -> None:
    expected = figures()
    norms = expected[f"{case}/grad_norm_f64"]
    whole = float(np.sqrt(np.nansum(norms**2)))
    assert set(expected["grad_names"]) == {name for name, _ in net.named_parameters()}
    for name, norm, first in zip(expected["grad_names"], norms, expected[f"{case}/grad_first8"], strict=True):
        found = gradients[str(name)]
        if found is None or np.isnan(norm):
            assert found is None or not found.any(), name  # zeros are as good as none
            assert np.isnan(norm), name
            continue
        assert found.isfinite().all(), name
        slack = 1e-3 * norm + noise * whole
        assert abs(found.double().norm().item() - norm) <= slack, name
        head = np.zeros(8)
        head[: min(8, found.numel())] = found.flatten()[:8].numpy()
        assert np.abs(head - np.nan_to_num(first)).max() <= slack, name


@pytest.mark.parametrize("case", CASES)
def test_terms_and_gradients_are_the_published_ones(case: str, passed: tuple[SmplerX, Forward]) -> None:
    net, forward = passed
    targets, masks = supervision()
    if case == "no_boxes":
        masks = without_boxes(masks)
    check_terms(case, loss_terms(forward, targets, masks, CASES[case]))
    total = summed(losses(forward, targets, masks, CASES[case]))
    assert total.item() == pytest.approx(float(figures()[f"{case}/total_f64"]), rel=1e-4)
    names, parameters = zip(*net.named_parameters(), strict=True)
    found = torch.autograd.grad(total, parameters, retain_graph=True, allow_unused=True)
    check_gradients(case, net, dict(zip(names, found, strict=True)), 1e-8)


def test_hands_meet_their_targets_in_the_predicted_boxes(passed: tuple[SmplerX, Forward]) -> None:
    _, forward = passed
    targets, masks = supervision()
    terms = loss_terms(forward, targets, masks)
    targets, masks, _ = into_hand_boxes(forward, targets, masks)
    for name, found in (
        ("joint_proj_term", terms["joint_proj"]),
        ("joint_img_term", terms["joint_img"]),
        ("target_joint_img_after", targets.joint_img),
    ):
        expected = torch.from_numpy(figures()[f"h32/{name}"])
        torch.testing.assert_close(found.detach(), expected, rtol=1e-4, atol=1e-4, msg=name)
    for name in ("joint_trunc", "smplx_joint_trunc"):
        assert torch.equal(getattr(masks, name), torch.from_numpy(figures()[f"h32/{name}_after"])), name


def test_training_mode_uses_and_moves_batch_statistics(golden: Path) -> None:
    net = trained_network(golden, bn_train=True)
    terms = loss_terms(net(crops()), *supervision())
    check_terms("h32_bn_train", terms)
    summed(terms).backward()  # type: ignore[no-untyped-call]
    gradients = {name: parameter.grad for name, parameter in net.named_parameters()}
    check_gradients("h32_bn_train", net, gradients, 1e-5)
    state = net.state_dict()
    for key, expected in figures().items():
        if key.startswith("h32_bn_train/after_"):
            found = state[key.removeprefix("h32_bn_train/after_")]
            torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-4, atol=1e-6, msg=key)


@pytest.mark.slow
def test_three_steps_of_adam(golden: Path) -> None:
    net = trained_network(golden)
    image, (targets, masks) = crops(), supervision()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=10, eta_min=1e-6)
    for step in range(3):
        total = summed(losses(net(image), targets, masks))
        assert total.item() == pytest.approx(figures()["h32/adam_total_f64"][step], rel=1e-4)
        assert schedule.get_last_lr()[0] == pytest.approx(figures()["h32/adam_lr_f64"][step], rel=1e-9)
        optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    state = net.state_dict()
    token, camera = state["encoder.task_tokens"][0, 0], state["body_regressor.cam_out.0.weight"][:, ::8]
    for found, name in ((token, "adam_task_token0"), (camera, "adam_cam_out")):
        torch.testing.assert_close(
            found, torch.from_numpy(figures()[f"h32/{name}"]), rtol=1e-4, atol=2e-6, msg=name
        )


# What follows needs no network: a pass of made-up numbers whose every entry takes gradients.


def made_up(batch: int = 4, *, box_side: float = 40.0) -> Forward:
    rng = torch.Generator().manual_seed(5)

    def normal(*shape: int, scale: float = 1.0, at: float = 0.0) -> Tensor:
        return (at + scale * torch.randn(batch, *shape, generator=rng)).requires_grad_()

    corner = torch.rand(batch, 3, 2, generator=rng) * 100
    joints, transl = normal(137, 3, scale=0.3), (normal(3).detach() + torch.tensor([0.0, 0, 20]))
    transl.requires_grad_()
    parts: dict[str, Any] = {"raw": None, "joints_144": None, "projected_144": None}
    return Forward(
        **parts,
        body_joints=normal(25, 3, at=7),
        left_hand_joints=normal(20, 3, at=7),
        right_hand_joints=normal(20, 3, at=7),
        box_centers=normal(3, 2, at=7),
        box_sizes=normal(3, 2),
        boxes_xyxy=torch.cat([corner, corner + box_side], -1),
        pose=normal(159),
        betas=normal(10),
        expression=normal(10),
        transl=transl,
        joints=joints,
        projected=project(joints, transl),
    )


def leaves(forward: Forward) -> dict[str, Tensor]:
    values = {item.name: getattr(forward, item.name) for item in fields(forward)}
    return {name: x for name, x in values.items() if x is not None and x.is_leaf and x.requires_grad}


def only(masks: Masks, *names: str) -> Masks:
    """Everything masked out but these."""
    return replace(
        masks,
        **{
            item.name: torch.zeros_like(getattr(masks, item.name))
            for item in fields(masks)
            if item.name not in names
        },
    )


def full() -> Masks:
    _, masks = supervision()
    return Masks(**{item.name: torch.ones_like(getattr(masks, item.name)) for item in fields(masks)})


@pytest.mark.parametrize("side", [40.0, 0.0, -30.0, 1e-4, 1e-30])
@pytest.mark.parametrize("counted", ["all", "none", "no boxes"])
def test_gradients_are_always_finite(side: float, counted: str) -> None:
    forward, (targets, _) = made_up(box_side=side), supervision()
    masks = full() if counted == "all" else only(full())
    if counted == "no boxes":
        masks = without_boxes(full())
    terms = losses(forward, targets, masks)
    total = summed(terms)
    assert total.isfinite()
    assert (total == 0) == (counted == "none")
    inputs = leaves(forward)
    for name, gradient in zip(inputs, torch.autograd.grad(total, list(inputs.values())), strict=True):
        assert gradient.isfinite().all(), name
        assert counted != "none" or not gradient.any(), name


@pytest.mark.parametrize("side", [0.0, 1e-4])
def test_boxes_without_area_hold_no_target(side: float) -> None:
    forward, (targets, _) = made_up(box_side=side), supervision()
    terms = loss_terms(forward, targets, full())
    for name in ("joint_img", "smplx_joint_img", "joint_proj"):
        assert not terms[name][:, 25:65].any()
        assert terms[name][:, :25].all()


@pytest.mark.parametrize(
    ("mask", "terms"),
    [
        ("joint_valid", set()),  # needs is_3d too, as the next one says
        ("smplx_joint_valid", {"smplx_joint_cam"}),
        ("joint_trunc", {"joint_proj", "joint_img"}),
        ("smplx_joint_trunc", {"smplx_joint_img"}),
        ("smplx_pose_valid", {"smplx_pose", "smplx_orient"}),
        ("smplx_shape_valid", {"smplx_shape"}),
        ("smplx_expr_valid", {"smplx_expr"}),
        ("is_3d", set()),
        ("lhand_bbox_valid", {"lhand_bbox"}),
        ("rhand_bbox_valid", {"rhand_bbox"}),
        ("face_bbox_valid", {"face_bbox"}),
    ],
)
def test_a_mask_is_for_its_terms(mask: str, terms: set[str]) -> None:
    targets, _ = supervision()
    found = loss_terms(made_up(), targets, only(full(), mask), LossWeights(smplx_orient=1.0))
    assert {name for name, term in found.items() if term.any()} == terms
    # One sample only: the others stay without loss.
    one = torch.tensor([0.0, 0.0, 1.0, 0.0])
    third = only(full(), mask)
    value = getattr(third, mask) * one.reshape(-1, *[1] * (getattr(third, mask).dim() - 1))
    found = loss_terms(made_up(), targets, replace(third, **{mask: value}))
    for name, term in found.items():
        assert not term[one == 0].any(), name


def test_only_sets_with_depth_supervise_depth() -> None:
    targets, _ = supervision()
    masks = only(full(), "joint_valid", "joint_trunc", "smplx_joint_trunc", "is_3d")
    found = loss_terms(made_up(), targets, replace(masks, is_3d=torch.tensor([1.0, 0, 0, 0])))
    for name, depth in (("joint_cam", False), ("joint_img", False), ("smplx_joint_img", True)):
        assert found[name][0, ..., 2].any(), name
        assert bool(found[name][1:, ..., 2].any()) is depth, name
    assert found["joint_img"][1:, :, :2].any()
    assert not found["joint_cam"][1:].any()


def test_projected_hands_and_face_are_compared_without_their_place() -> None:
    forward, (targets, _) = made_up(), supervision()
    moved = forward.projected.detach().clone()
    for part in ("left_hand", "right_hand", "face"):
        moved[:, JOINT_PARTS[part]] += torch.tensor([0.7, -0.4])
    terms = loss_terms(forward, targets, full())["joint_proj"]
    same = loss_terms(replace(forward, projected=moved), targets, full())["joint_proj"]
    torch.testing.assert_close(same, terms, atol=1e-4, rtol=0)
    # Without a box in the batch there is no such shift.
    masks = without_boxes(full())
    terms = loss_terms(forward, targets, masks)["joint_proj"]
    same = loss_terms(replace(forward, projected=moved), targets, masks)["joint_proj"]
    assert (same - terms).abs()[:, 25:].mean() > 0.3


@pytest.mark.parametrize(("valid", "shifted"), [("rhand", (True, False)), ("face", (False, True))])
def test_hand_and_face_boxes_switch_their_own_parts(valid: str, shifted: tuple[bool, bool]) -> None:
    forward, (targets, _) = made_up(box_side=400.0), supervision()
    masks = replace(without_boxes(full()), **{f"{valid}_bbox_valid": torch.tensor([0.0, 0.0, 0.0, 1.0])})
    moved = forward.projected.detach() + torch.tensor([0.7, -0.4])
    plain = loss_terms(forward, targets, masks)["joint_proj"]
    change = (loss_terms(replace(forward, projected=moved), targets, masks)["joint_proj"] - plain).abs()
    parts = (HANDS, JOINT_PARTS["face"])
    assert tuple(change[:, rows].max().item() < 1e-4 for rows in parts) == shifted


def test_one_valid_hand_box_moves_both_hands_of_all_samples() -> None:
    forward, (targets, _) = made_up(), supervision()
    masks = only(full(), "joint_trunc", "smplx_joint_trunc")
    for name in ("lhand_bbox_valid", "rhand_bbox_valid"):
        one = replace(masks, **{name: torch.tensor([0.0, 1.0, 0.0, 0.0])})
        moved, counted, projected = into_hand_boxes(forward, targets, one)
        assert (moved.joint_img != targets.joint_img)[:, HANDS, :2].all()
        assert torch.equal(moved.joint_img[..., 2], targets.joint_img[..., 2])
        assert torch.equal(moved.joint_img[:, :25], targets.joint_img[:, :25])
        assert torch.equal(projected[:, 65:], forward.projected[:, 65:])
        assert 0 < counted.joint_trunc[:, HANDS].sum() < masks.joint_trunc[:, HANDS].sum()
    still, counted, projected = into_hand_boxes(
        forward, targets, replace(masks, face_bbox_valid=torch.ones(4))
    )
    assert torch.equal(still.joint_img, targets.joint_img)
    assert torch.equal(still.smplx_joint_img, targets.smplx_joint_img)
    assert torch.equal(projected, forward.projected)
    assert torch.equal(counted.joint_trunc, masks.joint_trunc)


def test_camera_only_leaves_the_body_alone() -> None:
    targets, _ = supervision()
    for size in ((256, 192), (512, 384)):
        forward = made_up()
        forward = replace(forward, projected=project(forward.joints, forward.transl, size))
        masks, gradients = only(full(), "joint_trunc"), list[Any]()
        for camera_only in (False, True):
            weights = LossWeights(camera_only=camera_only)
            term = losses(forward, targets, masks, weights, image_size=size)["joint_proj"]
            gradients += torch.autograd.grad(
                term, [forward.joints, forward.transl], allow_unused=True, retain_graph=True
            )
        assert gradients[0].any()
        assert gradients[2] is None
        torch.testing.assert_close(gradients[3], gradients[1])


def test_root_is_supervised_or_weighed() -> None:
    forward, (targets, _) = made_up(), supervision()
    terms = loss_terms(forward, targets, full(), LossWeights(supervise_root=False, smplx_orient=3.0))
    root = (forward.pose - targets.smplx_pose).abs()[:, POSE_PARTS["root"]]
    torch.testing.assert_close(terms["smplx_orient"], 3 * root)
    assert terms["smplx_pose"].shape == (4, 156)


def test_every_weight_scales_its_terms() -> None:
    forward, (targets, _) = made_up(), supervision()
    plain = losses(forward, targets, full(), LossWeights(smplx_orient=1.0))
    for item in fields(LossWeights):
        if item.name in ("supervise_root", "camera_only"):
            continue
        doubled: Any = 2 * (getattr(LossWeights(), item.name) or 1.0)
        weights = replace(LossWeights(smplx_orient=1.0), **{item.name: doubled})
        found = losses(forward, targets, full(), weights)
        expected = set(BOXES) if item.name == "bbox" else {item.name}
        ratios = {name: (found[name] / plain[name]).item() for name in plain}
        assert ratios == pytest.approx({name: 2.0 if name in expected else 1.0 for name in plain})


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("is_3d", (4, 1)),
        ("joint_valid", (4, 137)),
        ("smplx_pose_valid", (4, 53)),
        ("joint_img", (4, 65, 3)),
        ("face_bbox_size", (2,)),
        ("joint_trunc", (3, 137, 1)),
    ],
)
def test_wrong_shapes_are_named(name: str, shape: tuple[int, ...]) -> None:
    targets, masks = supervision()
    bad: dict[str, Any] = {name: torch.ones(shape)}
    if hasattr(targets, name):
        targets = replace(targets, **bad)
    else:
        masks = replace(masks, **bad)
    with pytest.raises(UsageError, match=rf"{name}: expected shape \(4,.*got \({shape[0]}"):
        losses(made_up(), targets, masks)
