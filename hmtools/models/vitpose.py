"""ViTPose: 2D keypoints of the people in given boxes, with the classic and the simple decoder.

Names of parameters are those of the official files (``backbone.*``, ``keypoint_head.*``). Weights come in
through :mod:`hmtools.models.checkpoint`, and crops and maps are the business of
:mod:`hmtools.models.vitpose_crop` and :mod:`hmtools.models.vitpose_decode`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows

from hmtools.core.errors import UsageError
from hmtools.geometry.arrays import ArrayLike
from hmtools.humandata.keypoints import convention as convention_named
from hmtools.humandata.keypoints import flip_permutation
from hmtools.models.published_weights import Decoder
from hmtools.models.sizes import Size
from hmtools.models.vit import ViT
from hmtools.models.vitpose_crop import CROP_SIZE, Image, crop_people, normalise, person_regions
from hmtools.models.vitpose_decode import decode, merge_flipped

__all__ = ["ViTPose"]

_HEAD_WIDTH = 256
_HEAD_INIT_STD = 0.001


class ViTPose(nn.Module):
    """Network from crops to heat maps, and :meth:`estimate` from images and boxes to keypoints.

    Args:
        size: of the encoder.
        decoder: ``classic``, two transposed convolutions, or ``simple``, bilinear enlargement and one
            convolution.
        convention: of the keypoints; one map for each of its joints. The published COCO models: ``coco_17``.

    Raises:
        UsageError: for an unknown decoder or convention.
    """

    def __init__(self, size: Size, *, decoder: Decoder = "classic", convention: str = "coco_17") -> None:
        super().__init__()
        heads = {"classic": _ClassicHead, "simple": _SimpleHead}
        if decoder not in heads:
            raise UsageError(f"decoder: expected 'classic' or 'simple', got {decoder!r}")
        self.size, self.decoder, self.convention = size, decoder, convention_named(convention).name
        self.backbone = ViT(size, image_size=(CROP_SIZE[1], CROP_SIZE[0]))
        self.keypoint_head = heads[decoder](size.width, convention_named(convention).count)

    def forward(self, image: Float[Tensor, "n 3 256 192"]) -> Float[Tensor, "n k 64 48"]:
        """Heat maps of crops, regressions of a Gaussian with peak 1 (values can be negative).

        Args:
            image: (N, 3, 256, 192) RGB from :func:`hmtools.models.vitpose_crop.normalise`.

        Raises:
            UsageError: for another shape, or numbers that are not floats.
        """
        features, _ = self.backbone(image)
        heatmaps: Tensor = self.keypoint_head(features)
        return heatmaps

    @torch.inference_mode()
    def estimate(
        self,
        images: Sequence[Image],
        boxes: ArrayLike,
        image_index: ArrayLike | None = None,
        *,
        flip_test: bool = True,
        batch: int = 32,
    ) -> Float[np.ndarray, "n k 3"]:
        """Keypoints of people, as the official test computes them.

        The joints are those of :attr:`convention`, in its order. The model must be in evaluation mode; it
        computes on its own device, in the type of its weights, and reads the maps in float32.

        Args:
            images: **RGB** uint8 (H, W, 3), upright, sizes may differ. OpenCV reads BGR:
                :func:`hmtools.core.image.decode_rgb` does not.
            boxes: (N, 4) ``[x, y, w, h]``, pixels of the image, one for each person.
            image_index: (N,) integers, which image a person is in. None: all are in the only image, or
                ``boxes[i]`` is in ``images[i]``.
            flip_test: run the mirrored crops too and take the mean of the maps. The published scores have it.
            batch: people per run of the network.

        Returns:
            (N, K, 3) float32: x and y in pixels of the image (they may lie outside), and a score, the largest
            value of the joint's map: about 1 where the network is sure, <= 0 where it found nothing.

        Raises:
            UsageError: for images, boxes or numbers that do not fit each other, or a model in training mode.
            GeometryError: for boxes that have no area or are not finite.
        """
        if self.training:
            raise UsageError("estimate: the model is in training mode; call model.eval() first")
        if batch < 1:
            raise UsageError(f"batch: expected at least 1 person, got {batch}")
        regions = person_regions(boxes)
        index = _people_of(len(images), len(regions)) if image_index is None else np.asarray(image_index)
        if index.shape != (len(regions),):
            raise UsageError(
                f"image_index: expected one number for each of {len(regions)} boxes, got shape {index.shape}"
            )
        found = [torch.empty(0, convention_named(self.convention).count, 3)]
        for start in range(0, len(regions), batch):
            here = slice(start, start + batch)
            found.append(self._keypoints(images, regions[here], index[here], flip_test))
        return np.asarray(torch.cat([part.cpu() for part in found]).numpy(), np.float32)

    def _keypoints(
        self, images: Sequence[Image], regions: np.ndarray, index: np.ndarray, flip_test: bool
    ) -> Tensor:
        like = self.backbone.pos_embed
        crops = torch.from_numpy(crop_people(images, regions, index)).to(like.device)
        pixels = normalise(crops).to(like.dtype)
        heatmaps = self(pixels).float()
        if flip_test:
            permutation = flip_permutation(self.convention).tolist()
            heatmaps = merge_flipped(heatmaps, self(pixels.flip(-1)).float(), permutation)
        return decode(heatmaps, torch.as_tensor(regions, dtype=torch.float32, device=like.device))


class _ClassicHead(nn.Module):
    """Maps four times as wide and high as the features, by two transposed convolutions."""

    def __init__(self, width: int, joints: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before in (width, _HEAD_WIDTH):
            layers += [
                nn.ConvTranspose2d(before, _HEAD_WIDTH, kernel_size=4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(_HEAD_WIDTH),
                nn.ReLU(inplace=True),
            ]
        self.deconv_layers = nn.Sequential(*layers)
        self.final_layer = nn.Conv2d(_HEAD_WIDTH, joints, kernel_size=1)
        _initialise(self)

    def forward(self, features: Tensor) -> Tensor:
        heatmaps: Tensor = self.final_layer(self.deconv_layers(features))
        return heatmaps


class _SimpleHead(nn.Module):
    """The same size by bilinear enlargement of what is positive, then one convolution."""

    def __init__(self, width: int, joints: int) -> None:
        super().__init__()
        self.final_layer = nn.Conv2d(width, joints, kernel_size=3, padding=1)
        _initialise(self)

    def forward(self, features: Tensor) -> Tensor:
        large = F.interpolate(features.relu(), scale_factor=4, mode="bilinear", align_corners=False)
        heatmaps: Tensor = self.final_layer(large)
        return heatmaps


def _initialise(head: nn.Module) -> None:
    """Convolutions normal with deviation 0.001 and bias 0; norms as torch makes them."""
    for module in head.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=_HEAD_INIT_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _people_of(images: int, people: int) -> np.ndarray:
    if images == 1 or people == 0:
        return np.zeros(people, np.int64)
    if images != people:
        raise UsageError(
            f"{people} boxes for {images} images: give image_index, or one box for each image, or one image"
        )
    return np.arange(people)
