from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from hmtools.core.errors import UsageError
from hmtools.models.sizes import SIZES, Size
from hmtools.models.vit import ViT

TINY = Size("tiny", 32, 3, 2, 0.0)


def encoder(**options: object) -> ViT:
    torch.manual_seed(0)
    net = ViT(TINY, **{"image_size": (64, 48), "task_tokens": 5, **options})  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return net.eval()


def image(batch: int = 2, height: int = 64, width: int = 48) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def definition(net: ViT, picture: torch.Tensor) -> torch.Tensor:
    """All tokens of one image, patch by patch and head by head, in float64."""
    state: dict[str, torch.Tensor] = {name: value.double() for name, value in net.state_dict().items()}
    padded = torch.nn.functional.pad(picture.double(), (2, 2, 2, 2))
    kernel = state["patch_embed.proj.weight"].flatten(1)
    rows = [*state["task_tokens"][0]]
    for y in range(4):
        for x in range(3):
            patch = padded[:, 16 * y : 16 * y + 16, 16 * x : 16 * x + 16].flatten()
            place = state["pos_embed"][0, 1 + 3 * y + x] + state["pos_embed"][0, 0]
            rows.append(kernel @ patch + state["patch_embed.proj.bias"] + place)
    tokens = torch.stack(rows)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return x * state[f"{name}.weight"] + state[f"{name}.bias"]

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    for block in (f"blocks.{i}" for i in range(TINY.depth)):
        query, key, value = linear(norm(tokens, f"{block}.norm1"), f"{block}.attn.qkv").chunk(3, dim=-1)
        heads = []
        for head in (slice(0, 16), slice(16, 32)):
            weights = (query[:, head] @ key[:, head].T / 4).softmax(-1)
            heads.append(weights @ value[:, head])
        tokens = tokens + linear(torch.cat(heads, -1), f"{block}.attn.proj")
        hidden = linear(norm(tokens, f"{block}.norm2"), f"{block}.mlp.fc1")
        hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
        tokens = tokens + linear(hidden, f"{block}.mlp.fc2")
    return norm(tokens, "last_norm")


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_encoder_is_its_definition(attention: str) -> None:
    net = encoder(attention=attention)
    with torch.no_grad():
        features, tasks = net(image())
        expected = definition(net, image()[1])
    torch.testing.assert_close(tasks[1].double(), expected[:5], atol=1e-5, rtol=0)
    torch.testing.assert_close(features[1].double(), expected[5:].T.reshape(32, 4, 3), atol=1e-5, rtol=0)


def test_image_size_sets_the_number_of_patches() -> None:
    for height, width in ((32, 32), (256, 192), (64, 128)):
        net = ViT(TINY, image_size=(height, width))
        features, tasks = net(image(1, height, width))
        assert features.shape == (1, 32, height // 16, width // 16)
        assert tasks.shape == (1, 0, 32)
        assert net.pos_embed.shape == (1, height * width // 256 + 1, 32)
    assert "task_tokens" not in net.state_dict()


def kept_numbers(net: ViT) -> int:
    """How many numbers a forward pass keeps for the backward pass."""
    seen: list[int] = []

    def pack(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        net(image())
    return sum(seen)


def test_recomputing_changes_nothing_but_memory() -> None:
    nets = [encoder(checkpoint=flag) for flag in (False, True)]
    gradients = []
    for net in nets:
        features, tasks = net(image())
        (features.square().sum() + tasks.sum()).backward()
        gradients.append([parameter.grad for parameter in net.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1], atol=0, rtol=0)
    saved = [kept_numbers(net) for net in nets]
    assert saved[1] < saved[0] / 2


def test_stochastic_depth_rises_linearly() -> None:
    with torch.device("meta"):
        rates = [block.drop_path for block in ViT(SIZES["b"]).blocks]
    assert rates == pytest.approx([0.3 * i / 11 for i in range(12)])


def test_stochastic_depth_drops_branches_of_samples() -> None:
    torch.manual_seed(3)
    net = encoder()
    block: Any = net.blocks[0]
    block.drop_path = 0.4
    torch.nn.init.zeros_(block.mlp.fc2.weight)  # leaves attention alone
    torch.nn.init.zeros_(block.mlp.fc2.bias)
    tokens = torch.randn(1, 7, 32).expand(400, -1, -1)
    with torch.no_grad():
        full = block(tokens)[0] - tokens[0]
        block.train()
        found = block(tokens) - tokens
    kept = found.abs().amax((1, 2)) > 0
    assert 0.5 < kept.float().mean() < 0.7
    torch.testing.assert_close(
        found[kept], (full / 0.6).expand(int(kept.sum()), -1, -1), atol=1e-5, rtol=1e-5
    )


def test_no_stochastic_depth_when_evaluating() -> None:
    torch.manual_seed(0)
    net = ViT(replace(TINY, drop_path=0.9), image_size=(64, 48))
    with torch.no_grad():
        first, second = net.eval()(image())[0], net(image())[0]
        third, fourth = net.train()(image())[0], net(image())[0]
    assert torch.equal(first, second)
    assert not torch.equal(third, fourth)


def test_new_weights() -> None:
    torch.manual_seed(0)
    net = ViT(SIZES["s"], image_size=(64, 48), task_tokens=31)
    state = net.state_dict()
    for name in ("pos_embed", "task_tokens", "blocks.3.attn.qkv.weight", "blocks.11.mlp.fc2.weight"):
        assert state[name].std().item() == pytest.approx(0.02, rel=0.03)
    assert not state["blocks.3.attn.qkv.bias"].any()
    assert bool((state["last_norm.weight"] == 1).all())


def test_bfloat16_stays_near() -> None:
    net = encoder()
    with torch.no_grad():
        exact, _ = net(image())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough, _ = net(image())
    assert 1e-4 < (rough - exact).abs().max() < 0.1


@pytest.mark.parametrize(
    "bad",
    [
        torch.zeros(1, 3, 48, 64),
        torch.zeros(1, 64, 48, 3),
        torch.zeros(3, 64, 48),
        torch.zeros(1, 3, 64, 48, dtype=torch.uint8),
    ],
)
def test_refused_images(bad: torch.Tensor) -> None:
    with pytest.raises(UsageError, match=r"expected floats of shape \(B, 3, 64, 48\), got"):
        encoder()(bad)


def test_refused_options() -> None:
    with pytest.raises(UsageError, match="multiples of 16"):
        ViT(TINY, image_size=(250, 192))
    with pytest.raises(UsageError, match="'sdpa' or 'eager'"):
        ViT(TINY, attention="flash")  # type: ignore[arg-type]


def test_from_scratch_grey_is_zero() -> None:
    net = ViT(SIZES["tiny"])
    grey = torch.full((1, 3, 256, 192), 0.45)
    inner = net.patch_embed(grey).reshape(16, 12, -1)[1:-1, 1:-1]
    assert inner.abs().max() < 0.25 < net.patch_embed(grey + 0.2).abs().max()
    published = ViT(Size("other", 48, 2, 4, 0.0))
    spread = [m.state_dict()["blocks.0.attn.qkv.weight"].std() for m in (net, published)]
    assert spread[0] > 4 * spread[1]
