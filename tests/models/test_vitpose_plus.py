from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hmtools.core.errors import CheckpointError, UsageError
from hmtools.models.published_weights import Decoder
from hmtools.models.sizes import SIZES
from hmtools.models.vitpose import ViTPose
from hmtools.models.vitpose_plus import TASKS, plain_state

WIDTH, OWN = 48, 12  # of the tiny size, and how many of its channels an expert makes
DECODERS: list[Decoder] = ["classic", "simple"]


def mixture(decoder: Decoder = "classic") -> dict[str, Tensor]:
    """What a ViTPose++ file holds, tiny: six experts, six heads with 133 maps each."""
    torch.manual_seed(0)
    wide = ViTPose(SIZES["tiny"], decoder=decoder, convention="coco_wholebody_133").state_dict()
    state = {}
    for name, value in wide.items():
        if name.startswith("keypoint_head."):
            for head in ("keypoint_head.", *(f"associate_keypoint_heads.{i}." for i in range(5))):
                state[name.replace("keypoint_head.", head)] = new(value)
        elif ".mlp.fc2." in name:
            state[name] = new(value[: WIDTH - OWN])
            for i in range(6):
                state[name.replace("fc2", f"experts.{i}")] = new(value[:OWN])
        else:
            state[name] = new(value)
    return state


def new(like: Tensor) -> Tensor:
    return torch.randn(like.shape) if like.is_floating_point() else like.clone()


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_common_rows_then_its_expert_and_its_head(task: str, decoder: Decoder) -> None:
    state = mixture(decoder)
    expert = list(TASKS).index(task)
    joints = {"coco": 17, "aic": 14, "mpii": 16, "ap10k": 17, "apt36k": 17, "wholebody": 133}[task]
    head = "keypoint_head." if expert == 0 else f"associate_keypoint_heads.{expert - 1}."
    plain = plain_state(state, task)
    for kind in ("weight", "bias"):
        for block in range(2):
            mlp = f"backbone.blocks.{block}.mlp."
            merged = plain[f"{mlp}fc2.{kind}"]
            assert torch.equal(merged[: WIDTH - OWN], state[f"{mlp}fc2.{kind}"])
            assert torch.equal(merged[WIDTH - OWN :], state[f"{mlp}experts.{expert}.{kind}"])
        final = plain[f"keypoint_head.final_layer.{kind}"]
        assert torch.equal(final, state[f"{head}final_layer.{kind}"][:joints])
    if decoder == "classic":
        name = "deconv_layers.0.weight"
        assert torch.equal(plain[f"keypoint_head.{name}"], state[head + name])


def test_the_plain_weights_are_those_of_a_network() -> None:
    net = ViTPose(SIZES["tiny"])
    net.load_state_dict(plain_state(mixture()))
    whole = ViTPose(SIZES["tiny"], convention="coco_wholebody_133")
    whole.load_state_dict(plain_state(mixture(), "wholebody"))


def test_the_merged_layer_is_the_mixture() -> None:
    """Common channels, then the expert's, from the same hidden layer."""
    state, mlp = mixture(), "backbone.blocks.1.mlp."
    net = ViTPose(SIZES["tiny"])
    net.load_state_dict(plain_state(state))
    hidden = torch.randn(5, 4 * WIDTH)
    parts = [
        torch.nn.functional.linear(hidden, state[f"{mlp}{part}.weight"], state[f"{mlp}{part}.bias"])
        for part in ("fc2", "experts.0")
    ]
    found = net.get_submodule("backbone.blocks.1.mlp.fc2")(hidden)
    torch.testing.assert_close(found, torch.cat(parts, -1))


def test_what_is_left_out_does_not_matter() -> None:
    state = mixture()
    for name in [n for n in state if ".experts.3." in n or n.startswith("associate_keypoint_heads.2.")]:
        del state[name]
    state["neck.conv.weight"] = torch.zeros(1)
    assert plain_state(state, "mpii").keys() == plain_state(mixture(), "mpii").keys()
    with pytest.raises(CheckpointError, match=r"associate_keypoint_heads\.2"):
        plain_state(state, "ap10k")


def without(*parts: str) -> dict[str, Tensor]:
    return {name: value for name, value in mixture().items() if not any(part in name for part in parts)}


def test_missing_parts_are_named() -> None:
    with pytest.raises(CheckpointError, match=r"blocks\.1\.mlp\.fc2\.bias.*\(36,\), expected \(48,\)"):
        plain_state(without("blocks.1.mlp.experts.0.bias"))
    with pytest.raises(CheckpointError, match=r"missing:\n.*backbone\.last_norm\.weight"):
        plain_state(without("last_norm.weight"))
    with pytest.raises(CheckpointError, match=r"missing:\n.*final_layer\.bias"):
        plain_state(without("keypoint_head.final_layer.bias", "heads.1.final_layer.bias"))
    short = mixture()
    short["associate_keypoint_heads.1.final_layer.bias"] = torch.zeros(11)
    with pytest.raises(CheckpointError, match=r"final_layer\.bias: \(11,\), expected \(16,\)"):
        plain_state(short, "mpii")
    odd = mixture()
    odd["backbone.blocks.0.mlp.experts.0.weight"] = torch.zeros(8, 7)
    with pytest.raises(CheckpointError, match=r"fc2\.weight"):
        plain_state(odd)


def test_wrong_use_is_named() -> None:
    with pytest.raises(UsageError, match="did you mean 'wholebody'"):
        plain_state(mixture(), "whole_body")
    with pytest.raises(CheckpointError, match="found none of them"):
        plain_state(ViTPose(SIZES["tiny"]).state_dict())
