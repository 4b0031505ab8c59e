from __future__ import annotations

import functools
import json
import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hmtools.bodies.assets import load_model, standin_dir
from hmtools.bodies.layers import BodyLayer
from hmtools.core.errors import UsageError
from hmtools.humandata.keypoints import convention, part
from hmtools.models.sizes import SIZES
from hmtools.models.smplerx.model import TASK_TOKENS, SmplerX
from hmtools.models.smplerx.outputs import Forward, prediction
from tests.models.smplerx.networks import FIGURES, as_published, figures, inputs, network

TOTALS = {
    "s": (32_008_024, 21_675_648, 223),
    "b": (102_939_928, 85_818_624, 223),
    "l": (326_654_872, 303_328_256, 367),
    "h": (661_827_096, 630_951_680, 463),
}
SHARP = ("joint_img", "lhand", "rhand", "face_bbox", "hand_", "box_")  # sharp heat maps amplify: README


def published_names(size: str) -> dict[str, list[Any]]:
    names = json.loads((FIGURES / "keys.json").read_text())[size]
    return {name.removeprefix("module."): value for name, value in names.items()}


def compare(found: dict[str, Tensor], stored: dict[str, np.ndarray], prefix: str, *, sharp: bool) -> None:
    for name, value in found.items():
        expected = stored[prefix + name]
        assert value.shape == expected.shape, name
        what = name.removeprefix("out_").removeprefix("smplx_")
        allowed = np.full(expected.shape, 2e-3 if sharp and what.startswith(SHARP) else 1e-4)
        if sharp and what == "joint_proj" and expected.shape[1] == 137:
            allowed[:, part("smplerx_137", "hand")] = 2e-3  # they hang on the hand rotations
        if name.endswith("_stats"):
            allowed += 1e-5 * np.abs(expected)  # norms of whole maps
        error = np.abs(value.numpy() - expected)
        assert bool((error <= allowed).all()), f"{prefix}{name}: off by up to {error.max():.2g}"


class Watched:
    """What flows through a network, by hooks."""

    def __init__(self, net: SmplerX) -> None:
        self.seen: dict[str, Tensor] = {}
        self.blocks: list[Tensor] = []
        net.encoder.register_forward_pre_hook(lambda _, args: self._keep("body_img", args[0]))
        net.encoder.register_forward_hook(self._encoder)
        net.hand_roi_net.conv.register_forward_pre_hook(lambda _, args: self._keep("hand_roi", args[0]))
        for block in net.encoder.blocks:
            block.register_forward_hook(lambda _, __, out: self.blocks.append(out))
        for name, module in {
            "patch": net.encoder.patch_embed,
            "body_joint_hm": net.body_position_net,
            "box_deconv": net.box_net.deconv,
            "hand_deconv": net.hand_roi_net.deconv,
            "hand_feat": net.hand_roi_net,
            "hand_joint_hm": net.hand_position_net,
        }.items():
            module.register_forward_hook(functools.partial(self._hook, name))

    def _hook(self, name: str, _: nn.Module, __: Any, out: Any) -> None:
        self._keep(name, out[0] if isinstance(out, tuple) else out)

    def _encoder(self, _: nn.Module, __: Any, out: tuple[Tensor, Tensor]) -> None:
        self._keep("img_feat", out[0])
        self._keep("task_tokens", out[1])

    def _keep(self, name: str, value: Tensor) -> None:
        self.seen[name] = value.detach()

    def as_stored(self) -> dict[str, Tensor]:
        """Under the names of the figures; slices as their README has them."""
        seen = self.seen

        def stats(value: Tensor) -> Tensor:
            return torch.tensor(inputs.stats(value))

        out = {
            "body_img_sub": seen["body_img"][:, :, ::32, ::32],
            "patch_sub": seen["patch"][:, ::16, ::16],
            "blocks_stats": torch.stack([stats(block) for block in self.blocks]),
            "img_feat_sub": seen["img_feat"][:, ::16],
            "task_tokens": seen["task_tokens"],
            "body_joint_hm_sub": seen["body_joint_hm"][:, ::6, ::4, ::4, ::4],
            "hand_deconv_sub": seen["hand_deconv"][:, ::24, ::4, ::4],
            "hand_roi_sub": seen["hand_roi"][:, ::12, ::2, ::2],
            "hand_feat_sub": seen["hand_feat"][:, ::32, ::2, ::2],
        }
        for name in ("img_feat", "body_joint_hm", "box_deconv", "hand_deconv", "hand_roi", "hand_feat"):
            out[f"{name}_stats"] = stats(seen[name])
        out["hand_joint_hm_stats"] = stats(seen["hand_joint_hm"])
        return out


def numbers(forward: Forward) -> dict[str, Tensor]:
    raw = forward.raw
    out = {
        "body_joint_img": forward.body_joints,
        "root_6d": raw.root_6d,
        "body_6d": raw.body_6d,
        "shape_raw": forward.betas,
        "cam_param": raw.camera,
        "hand_joint_img_raw": raw.hand_joints,
        "hand_6d": raw.hand_6d,
        "expr_raw": forward.expression,
        "jaw_6d": raw.jaw_6d,
    }
    for row, name in enumerate(("lhand", "rhand", "face")):
        out[f"box_{name}_center"] = forward.box_centers[:, row]
        out[f"box_{name}_size"] = forward.box_sizes[:, row]
    return out


@pytest.mark.parametrize(("case", "seed"), [("plain", 0), ("posed", 1)])
def test_published_forward_of_s(case: str, seed: int, body: BodyLayer) -> None:
    stored, posed = figures("forward_vits"), case == "posed"
    net = network("s", body, seed, posed=posed)
    watched = Watched(net)
    with torch.no_grad():
        forward = net(inputs.image(seed, 0, 2), vertices=True)
    compare(watched.as_stored(), stored, f"{case}/", sharp=posed)
    compare(numbers(forward), stored, f"{case}/", sharp=posed)
    found = prediction(forward)
    assert found.vertices is not None
    compare(as_published(found), stored, f"{case}/out_", sharp=posed)
    compare({"smplx_mesh_cam_sub": found.vertices[:, ::25]}, stored, f"{case}/out_", sharp=False)
    if posed:
        compare({"smplx_joint_proj": found.projected_144}, stored, "posed/agora_", sharp=False)
        five = as_published(net.predict(inputs.image(1, 2, 5), vertices=False))
        some = ("smplx_root_pose", "smplx_jaw_pose", "cam_trans", "lhand_bbox", "smplx_lhand_pose")
        compare({name: five[name] for name in some}, stored, "posed/b5_out_", sharp=True)


@pytest.mark.parametrize(
    "size", ["b", pytest.param("l", marks=pytest.mark.slow), pytest.param("h", marks=pytest.mark.slow)]
)
def test_published_forward_of_other_sizes(size: str, body: BodyLayer) -> None:
    stored = figures("forward_sizes")
    net = network(size, body, 2, posed=True)
    watched = Watched(net)
    result = net.predict(inputs.image(2, 0, 1))
    assert result.vertices is not None
    found = {f"out_{name}": value for name, value in as_published(result).items()}
    found["out_smplx_mesh_cam"] = result.vertices[:, ::100]
    found["task_tokens_sub"] = watched.seen["task_tokens"][..., ::16]
    for name in ("img_feat", "hand_feat"):
        found[f"{name}_stats"] = torch.tensor(inputs.stats(watched.seen[name]))
    compare(found, stored, f"{size}/", sharp=True)


@pytest.mark.parametrize("size", TOTALS)
def test_names_and_shapes_are_the_published_ones(size: str, body: BodyLayer) -> None:
    with torch.device("meta"):
        net = SmplerX(SIZES[size], body)
    found = {
        name: [list(value.shape), str(value.dtype).removeprefix("torch.")]
        for name, value in net.state_dict().items()
    }
    assert found == published_names(size)
    total, encoder, entries = TOTALS[size]
    assert len(found) == entries
    assert sum(parameter.numel() for parameter in net.parameters()) == total
    assert sum(parameter.numel() for parameter in net.encoder.parameters()) == encoder
    for names in (found, {name for name, _ in net.named_parameters()}):
        assert not any("body." in name.split("_")[0] for name in names)


@pytest.fixture
def tiny(body: BodyLayer) -> SmplerX:
    """A small network with weights that give boxes within the picture."""
    return network("tiny", body, 5, posed=True)


def test_tiny_trains(tiny: SmplerX) -> None:
    tiny.train()
    forward = tiny(inputs.image(3, 0, 2))
    total = torch.zeros(())
    for item in fields(Forward):
        value = getattr(forward, item.name)
        if isinstance(value, Tensor) and value.requires_grad:
            total = total + value.square().mean()
    total.backward()  # type: ignore[no-untyped-call]
    without = [name for name, parameter in tiny.named_parameters() if parameter.grad is None]
    assert without == []
    assert all(bool(parameter.grad.isfinite().all()) for parameter in tiny.parameters())  # type: ignore[union-attr]
    assert not list(tiny.body.parameters() if tiny.body else ())
    tiny(1.5 * inputs.image(3, 0, 2))  # no look at the numbers in training: it would stall a GPU


def reached(net: SmplerX, value: Tensor) -> set[str]:
    """Modules whose parameters a gradient of ``value`` reaches, encoder aside."""
    named = [(name, p) for name, p in net.named_parameters() if not name.startswith("encoder.")]
    grads = torch.autograd.grad(value.sum(), [p for _, p in named], allow_unused=True, retain_graph=True)
    return {".".join(name.split(".")[:2]) for (name, _), g in zip(named, grads, strict=True) if g is not None}


def test_what_is_detached(tiny: SmplerX) -> None:
    forward = tiny(inputs.image(3, 0, 2))
    assert not forward.boxes_xyxy.requires_grad
    assert reached(tiny, forward.body_joints) == {"body_position_net.conv"}
    assert reached(tiny, forward.box_centers) == {"box_net.deconv", "box_net.bbox_center"}
    sizes = {f"box_net.{name}_size" for name in ("lhand", "rhand", "face")}
    assert reached(tiny, forward.box_sizes) == {"box_net.deconv", *sizes}
    roi = {"hand_roi_net.deconv", "hand_roi_net.conv"}
    assert reached(tiny, forward.left_hand_joints) == {*roi, "hand_position_net.conv"}
    assert reached(tiny, forward.right_hand_joints) == {*roi, "hand_position_net.conv"}
    pose = {f"body_regressor.{name}" for name in ("body_conv", "root_pose_out", "body_pose_out")}
    hands = {*roi, "hand_regressor.hand_conv", "hand_regressor.hand_pose_out"}
    assert reached(tiny, forward.pose) == {*pose, *hands, "face_regressor.jaw_pose_out"}
    assert reached(tiny, forward.transl) == {"body_regressor.cam_out"}
    assert reached(tiny, forward.projected) == reached(tiny, forward.joints) | reached(tiny, forward.transl)


def test_other_image_sizes(body: BodyLayer) -> None:
    for image_size in ((128, 96), (64, 64)):
        net = network("tiny", body, 5, posed=True, image_size=image_size)
        crop = torch.rand(1, 3, 2 * image_size[0], 2 * image_size[1])
        with torch.no_grad():
            forward = net(crop)
        depth = 12500 / math.sqrt(math.prod(image_size)) * forward.raw.camera[:, 2].sigmoid()
        torch.testing.assert_close(forward.transl[:, 2], depth)
        result = prediction(forward)
        assert result.joints_position_net.shape == (1, 65, 3)
        cells = torch.tensor([image_size[1] / 16, image_size[0] / 16])
        assert bool((result.joints_position_net[:, :25, :2] <= cells - 1).all())
        # The camera's middle is the middle of the image, whatever its size.
        middle = result.projected_144 - cells / 2
        expected = result.joints_144[..., :2] / result.joints_144[..., 2:] * 5000 / 16
        torch.testing.assert_close(middle, expected, atol=1e-3, rtol=1e-4)


def test_rows_do_not_depend_on_each_other(tiny: SmplerX) -> None:
    crops = inputs.image(3, 0, 3)  # three: where the published rotations are wrong
    together = tiny.predict(crops)
    for row in range(3):
        alone = tiny.predict(crops[row : row + 1])
        for item in fields(alone):
            one, all_ = getattr(alone, item.name), getattr(together, item.name)
            torch.testing.assert_close(one[0], all_[row], atol=1e-3, rtol=1e-4, msg=item.name)


def test_bfloat16_keeps_coordinates_and_body_exact(tiny: SmplerX) -> None:
    crops = inputs.image(3, 0, 2)
    exact = tiny.predict(crops)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = tiny.predict(crops)
    for item in fields(rough):
        assert getattr(rough, item.name).dtype == torch.float32, item.name
    assert 1e-5 < (rough.root_pose - exact.root_pose).abs().max() < 0.05
    assert (rough.projected - exact.projected)[:, :25].abs().max() < 0.2  # the jaw contour moves in steps


def test_float64(body: BodyLayer) -> None:
    net = network("tiny", body, 5, posed=True)
    crops = inputs.image(3, 0, 2)
    single = net.predict(crops)
    double = net.double().predict(crops.double())
    assert double.vertices is not None
    assert double.vertices.dtype == torch.float64
    torch.testing.assert_close(single.body_pose.double(), double.body_pose, atol=1e-5, rtol=0)


def test_without_body_model_it_holds_weights() -> None:
    net = SmplerX(SIZES["tiny"], None)
    assert "encoder.task_tokens" in net.state_dict()
    assert net.encoder.num_task_tokens == TASK_TOKENS == 31
    with pytest.raises(UsageError, match="without a body model"):
        net(torch.zeros(1, 3, 512, 384))


@pytest.mark.parametrize(
    ("crop", "found"),
    [
        (torch.zeros(1, 3, 256, 192), r"\(1, 3, 256, 192\)"),
        (torch.zeros(1, 512, 384, 3), r"\(1, 512, 384, 3\)"),
        (torch.zeros(3, 512, 384), r"\(3, 512, 384\)"),
        (torch.zeros(0, 3, 512, 384), r"\(0, 3, 512, 384\)"),
        (torch.zeros(1, 3, 512, 384, dtype=torch.uint8), "torch.uint8"),
        (torch.zeros(1, 3, 512, 384, dtype=torch.bfloat16), "torch.bfloat16"),
        (torch.full((1, 3, 512, 384), 255.0), "from 255 to 255: divide 0..255 by 255"),
        (torch.full((1, 3, 512, 384), -2.1), "from -2.1 to -2.1.*take off no mean"),
        (torch.full((1, 3, 512, 384), torch.nan), "from nan to nan"),
    ],
)
def test_refused_crops(tiny: SmplerX, crop: Tensor, found: str) -> None:
    with pytest.raises(UsageError, match=rf"expected float32 of shape \(B, 3, 512, 384\).*got.*{found}"):
        tiny(crop)


def test_refused_states(tiny: SmplerX) -> None:
    with pytest.raises(UsageError, match="call eval"):
        tiny.train().predict(torch.zeros(1, 3, 512, 384))
    with pytest.raises(UsageError, match=r"run under torch\.autocast"):
        tiny.bfloat16()(torch.zeros(1, 3, 512, 384))


def test_people_begin_upright_from_scratch() -> None:
    torch.manual_seed(0)
    body = BodyLayer(load_model("smplx", "neutral", roots=[standin_dir()]))
    net = SmplerX(SIZES["tiny"], body).train()
    assert net.hand_roi_net.get_parameter("conv.0.weight").std() > 0.05  # 0.001 as published
    with torch.no_grad():
        begun = net(torch.rand(2, 3, 512, 384))
    assert begun.pose[:, 3:66].abs().max() < 0.4  # of rest
    names = convention("smplerx_137").names
    pelvis, neck, toe = (begun.joints[:, names.index(name)] for name in ("Pelvis", "Neck", "L_Big_toe"))
    assert bool((neck[:, 1] < pelvis[:, 1] - 0.3).all())  # y points down
    assert bool((pelvis[:, 1] < toe[:, 1] - 0.5).all())
    assert bool((toe[:, 2] < pelvis[:, 2] - 0.1).all())  # and faces the camera
