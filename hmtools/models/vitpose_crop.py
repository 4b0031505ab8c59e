"""From people's boxes to the input of ViTPose: regions, crops, normalisation.

A **region** is what the crop of a person shows: ``[x, y, w, h]`` in pixels of the image, where (x, y) is the
centre of the crop's first pixel and (x + w, y + h) the centre of its last. So a crop of 192 pixels spans 191
steps ("unbiased data processing"), and the same region carries cells of a heat map back to the image: see
:func:`hmtools.models.vitpose_decode.cells_to_image`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from hmtools.core.errors import UsageError
from hmtools.core.image import opencv
from hmtools.geometry.arrays import ArrayLike, refuse
from hmtools.geometry.box import grow_to_aspect, scale_xywh
from hmtools.geometry.crop import crop_affine

__all__ = ["CROP_SIZE", "crop_people", "normalise", "person_regions"]

CROP_SIZE = (192, 256)
"""Width and height of the network's input, pixels."""

_PADDING = 1.25  # of the box, once it has the aspect of the crop

_MEAN = (0.485, 0.456, 0.406)  # of ImageNet, RGB in [0, 1]
_STD = (0.229, 0.224, 0.225)

Image = npt.NDArray[np.uint8]


def person_regions(boxes: ArrayLike) -> Float[np.ndarray, "n 4"]:
    """The regions that ViTPose looks at: boxes grown to 3:4 and by a quarter, about their centres.

    Nothing is clipped, as in the official test on detections. The official centre is that of the region, the
    official scale its size divided by 200, and the official area, which OKS divides by, that of the region.

    Args:
        boxes: (N, 4) ``[x, y, w, h]``, pixels of the image. For corners that belong to the box themselves
            (WHAM's convention for detections) give ``w = x2 - x1 + 1`` and ``h = y2 - y1 + 1``.

    Returns:
        (N, 4) float64 ``[x, y, w, h]``, pixels.

    Raises:
        UsageError: for another shape.
        GeometryError: for boxes that have no area or are not finite.
    """
    found = np.asarray(boxes, np.float64)
    if found.size == 0:
        found = found.reshape(0, 4)
    if found.ndim != 2 or found.shape[1] != 4:
        raise UsageError(f"boxes: expected shape (N, 4) as x, y, w, h, got {found.shape}")
    usable = np.isfinite(found).all(axis=1) & (found[:, 2:] > 0).all(axis=1)
    refuse(~usable, "boxes have no area or are not finite: drop them")
    return scale_xywh(grow_to_aspect(found, CROP_SIZE[0] / CROP_SIZE[1]), _PADDING)


def crop_people(
    images: Sequence[Image], regions: ArrayLike, image_index: ArrayLike
) -> UInt8[np.ndarray, "n 256 192 3"]:
    """Cut regions out of images, bilinearly; what lies outside of an image is black.

    Args:
        images: RGB uint8 (H, W, 3), sizes may differ.
        regions: (N, 4) from :func:`person_regions`, pixels.
        image_index: (N,) integers, which image a region lies in.

    Returns:
        (N, 256, 192, 3) RGB uint8.

    Raises:
        UsageError: for images of another kind, and an index without an image.
    """
    boxes, index = np.asarray(regions, np.float64).reshape(-1, 4), _image_index(image_index, len(images))
    if len(index) != len(boxes):
        raise UsageError(f"image_index: expected one number for each of {len(boxes)} boxes, got {len(index)}")
    pixels = {i: _checked(images[i], i) for i in set(index.tolist())}
    cv2 = opencv()
    crops = np.empty((len(boxes), CROP_SIZE[1], CROP_SIZE[0], 3), np.uint8)
    # Image by image: warping is all the work here, and OpenCV warps one image per call.
    for crop, (x, y, w, h), i in zip(crops, boxes.tolist(), index.tolist(), strict=True):
        steps = (CROP_SIZE[0] - 1, CROP_SIZE[1] - 1)
        affine = crop_affine((x + w / 2, y + h / 2), (w, h), steps, convention="corners")
        cv2.warpAffine(pixels[i], affine, CROP_SIZE, dst=crop, flags=cv2.INTER_LINEAR)
    return crops


def _checked(image: Image, number: int) -> Image:
    """The image, contiguous: OpenCV would copy a view for each of its people."""
    shape, dtype = getattr(image, "shape", None), getattr(image, "dtype", None)
    if shape is None or len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype != np.uint8:
        raise UsageError(
            f"images: expected a sequence of RGB uint8 arrays (H, W, 3), got {dtype} {shape} at {number}"
        )
    return np.ascontiguousarray(image)


def _image_index(image_index: ArrayLike, count: int) -> npt.NDArray[np.int64]:
    found = np.asarray(image_index)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise UsageError(f"image_index: expected integers of shape (N,), got {found.dtype} {found.shape}")
    if found.size and not (found.min() >= 0 and found.max() < count):
        raise UsageError(
            f"image_index: {count} images are numbered from 0, got {found.min()} to {found.max()}"
        )
    return found.astype(np.int64)


def normalise(crops: UInt8[Tensor, "n h w 3"]) -> Float[Tensor, "n 3 h w"]:
    """Crops as the network takes them: (N, 3, H, W) float32, ImageNet's mean 0 and deviation 1 per channel.

    Args:
        crops: (N, H, W, 3) RGB uint8, on any device.

    Raises:
        UsageError: for another shape or type.
    """
    if crops.dim() != 4 or crops.shape[-1] != 3 or crops.dtype != torch.uint8:
        raise UsageError(
            f"crops: expected uint8 of shape (N, H, W, 3), got {crops.dtype} {tuple(crops.shape)}"
        )
    mean, std = (torch.tensor(values, device=crops.device).view(3, 1, 1) for values in (_MEAN, _STD))
    return (crops.permute(0, 3, 1, 2).float() / 255 - mean) / std
