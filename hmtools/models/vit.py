"""The ViT encoder that ViTPose, SMPLer-X and HMR2 share, with names of parameters as in their files.

Patches of 16 x 16 pixels with a padding of 2; pre-norm blocks; LayerNorm with epsilon 1e-6. The table of
position embeddings still has the entry of a class token in front, which no patch owns and all of them add.
Task tokens, where a network has them, stand in front of the patches and get no position.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows
from torch.utils.checkpoint import checkpoint as recompute

from hmtools.core.errors import UsageError
from hmtools.models.sizes import Size

__all__ = ["PATCH", "Attention", "ViT"]

PATCH = 16
"""Side of a patch, pixels; also the stride of the feature map."""

_PADDING = 2
_NORM_EPS = 1e-6
_INIT_STD = 0.02
_SCRATCH_STD = 0.1
_GREY, _CONTRAST = 0.45, 0.2  # what pixels of photographs are around, and how far from it, in [0, 1]

Attention = Literal["sdpa", "eager"]
"""``sdpa``: torch's fused one. ``eager``: written out; slower, there to measure the fused one against."""


class ViT(nn.Module):
    """Encoder of images of one size.

    Args:
        size: width, depth, heads and stochastic depth.
        image_size: height and width of the images, pixels, multiples of 16.
        task_tokens: T, learned tokens in front of the patches.
        checkpoint: recompute the blocks in the backward pass instead of keeping what they hold: less memory
            for about a third more time. The numbers are the same.
        attention: how attention is computed, see :data:`Attention`.

    Raises:
        UsageError: for an image size that is no multiple of 16.
    """

    def __init__(
        self,
        size: Size,
        *,
        image_size: tuple[int, int] = (256, 192),
        task_tokens: int = 0,
        checkpoint: bool = False,
        attention: Attention = "sdpa",
    ) -> None:
        super().__init__()
        if any(side <= 0 or side % PATCH for side in image_size):
            raise UsageError(
                f"image_size: expected height and width as multiples of {PATCH} pixels, got {image_size}"
            )
        if attention not in ("sdpa", "eager"):
            raise UsageError(f"attention: expected 'sdpa' or 'eager', got {attention!r}")
        self.size, self.image_size, self.checkpoint = size, image_size, checkpoint
        self.grid = (image_size[0] // PATCH, image_size[1] // PATCH)
        if task_tokens:
            self.task_tokens = nn.Parameter(torch.empty(1, task_tokens, size.width))
        self.pos_embed = nn.Parameter(torch.empty(1, self.grid[0] * self.grid[1] + 1, size.width))
        self.num_task_tokens = task_tokens
        self.patch_embed = _PatchEmbed(size.width)
        last = max(1, size.depth - 1)
        self.blocks = nn.ModuleList(
            _Block(size, size.drop_path * i / last, attention) for i in range(size.depth)
        )
        self.last_norm = nn.LayerNorm(size.width, eps=_NORM_EPS)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights: truncated normal (0.02) for linear layers, positions and task tokens, biases 0.

        The patch embedding keeps torch's own initialisation of a convolution.

        In a size that is trained from scratch a standard deviation of 0.02 would leave the blocks near zero
        for most of a short training. Its linear layers are drawn uniformly (Glorot and Bengio 2010), its
        positions and task tokens with 0.1, and its patch embedding takes images in [0, 1] for what they
        differ from grey.
        """
        scratch = self.size.from_scratch
        for name, parameter in self.named_parameters():
            if name in ("task_tokens", "pos_embed"):
                nn.init.trunc_normal_(parameter, std=_SCRATCH_STD if scratch else _INIT_STD)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                if scratch:
                    nn.init.xavier_uniform_(module.weight)
                else:
                    nn.init.trunc_normal_(module.weight, std=_INIT_STD)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d | nn.LayerNorm):
                module.reset_parameters()
        if scratch:
            _take_grey_for_zero(self.patch_embed.proj)

    def forward(
        self, image: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b c gh gw"], Float[Tensor, "b t c"]]:
        """Encode images.

        Args:
            image: (B, 3, H, W) RGB in whatever range and normalisation the network was trained with.

        Returns:
            Features (B, C, H / 16, W / 16), and the task tokens (B, T, C), where T may be 0.

        Raises:
            UsageError: for another shape, or numbers that are not floats.
        """
        if image.dim() != 4 or image.shape[1:] != (3, *self.image_size) or not image.is_floating_point():
            height, width = self.image_size
            raise UsageError(
                f"image: expected floats of shape (B, 3, {height}, {width}), got {image.dtype} "
                f"{tuple(image.shape)}"
            )
        tokens = self.patch_embed(image) + self.pos_embed[:, 1:] + self.pos_embed[:, :1]
        if self.num_task_tokens:
            tokens = torch.cat([self.task_tokens.expand(image.shape[0], -1, -1), tokens], dim=1)
        for block in self.blocks:
            if self.checkpoint and torch.is_grad_enabled():
                tokens = recompute(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
        tokens = self.last_norm(tokens)
        tasks, patches = tokens[:, : self.num_task_tokens], tokens[:, self.num_task_tokens :]
        return patches.transpose(1, 2).reshape(image.shape[0], -1, *self.grid), tasks


class _PatchEmbed(nn.Module):
    """(B, 3, H, W) to (B, H / 16 * W / 16, C), row by row."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, stride=PATCH, padding=_PADDING)

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.proj(image)
        return features.flatten(2).transpose(1, 2)


def _take_grey_for_zero(embedding: nn.Conv2d) -> None:
    """Make a drawn embedding of patches the one of (image - grey) / contrast."""
    with torch.no_grad():
        embedding.weight /= _CONTRAST
        if embedding.bias is not None:
            embedding.bias -= _GREY * embedding.weight.sum((1, 2, 3))


class _Attention(nn.Module):
    """Self-attention of all tokens; one linear layer makes queries, keys and values of all heads."""

    def __init__(self, size: Size, attention: Attention) -> None:
        super().__init__()
        self.heads, self.fused = size.heads, attention == "sdpa"
        self.qkv = nn.Linear(size.width, 3 * size.width)
        self.proj = nn.Linear(size.width, size.width)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            mixed = F.scaled_dot_product_attention(query, key, value)
        else:
            query = query * (width // self.heads) ** -0.5
            mixed = (query @ key.transpose(-2, -1)).softmax(-1) @ value
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, count, width))
        return out


class _MLP(nn.Module):
    """Two linear layers with the exact GELU between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return out


class _Block(nn.Module):
    """Attention and MLP, each added to what came in, or in training left out for some samples."""

    def __init__(self, size: Size, drop_path: float, attention: Attention) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(size.width, eps=_NORM_EPS)
        self.attn = _Attention(size, attention)
        self.norm2 = nn.LayerNorm(size.width, eps=_NORM_EPS)
        self.mlp = _MLP(size.width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self._drop(self.attn(self.norm1(tokens)))
        return tokens + self._drop(self.mlp(self.norm2(tokens)))

    def _drop(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return branch
        keep = 1 - self.drop_path
        kept = torch.rand(branch.shape[0], 1, 1, device=branch.device) < keep
        return branch * (kept / keep).to(branch.dtype)
