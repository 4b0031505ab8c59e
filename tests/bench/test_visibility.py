"""The test camera and the border of the image."""

from __future__ import annotations

import pytest
import torch

from hmtools.bench.visibility import in_image
from hmtools.core.errors import UsageError

# The image is the crop twice as large, moved by (40, -20): image = 2 crop + (40, -20).
CROP = torch.tensor([[[0.5, 0.0, -20.0], [0.0, 0.5, 10.0]]])
WIDTH, HEIGHT = torch.tensor([700]), torch.tensor([900])


def point(u: float, v: float, depth: float = 24.9999) -> torch.Tensor:
    """What the test camera sees at pixel (u, v) of the image."""
    x, y = (u - 40) / 2 / 2, (v + 20) / 2 / 2  # pixels of 192 x 256
    return torch.tensor([[(x - 96) / 5000, (y - 128) / 5000, 0]]) * (depth + 1e-4) + torch.tensor(
        [0, 0, depth]
    )


@pytest.mark.parametrize(
    ("u", "v", "inside"),
    [
        *[(0.1, 5, True), (-0.1, 5, False), (699.9, 5, True), (700.1, 5, False)],
        *[(5, 0.1, True), (5, -0.1, False), (5, 899.9, True), (5, 900.1, False)],
    ],
)
def test_the_border(u: float, v: float, inside: bool) -> None:
    """Moving by a tenth of a pixel over the border changes the answer; in a turned crop, too."""
    points = torch.stack([point(u, v), point(u, v, 2.0)], 1)
    assert in_image(points, CROP, HEIGHT, WIDTH).tolist() == [[inside, inside]]


def test_crops_that_turn_and_people_of_their_own() -> None:
    turned = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 500.0]])  # crop x = image y, crop y = 500 - image x
    pixel = torch.tensor([[192.0, 256.0], [10.0, 490.0]])  # in the crop
    ray = (pixel / 2 - torch.tensor([96.0, 128.0])) / 5000 * (25 + 1e-4)
    points = torch.cat([ray, torch.full((2, 1), 25.0)], 1)[None].expand(3, 2, 3)
    # In the image: (244, 192) and (10, 10)
    affines = turned.expand(3, 2, 3)
    found = in_image(points, affines, torch.tensor([300, 150, 300]), torch.tensor([300, 300, 200]))
    assert found.tolist() == [[True, True], [False, True], [False, True]]


def test_a_border_is_outside_and_nan_too() -> None:
    """A point on the axis lies at (192, 256) of the crop, whatever its depth: exactly on two borders here."""
    axis, lost = torch.tensor([[[0.0, 0, 25]]]), torch.tensor([[[torch.nan, 0, 25]]])
    moved = torch.tensor([[[1.0, 0, 192], [0, 1, 256]]])  # crop = image + (192, 256)
    whole = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])
    assert not in_image(axis, moved, HEIGHT, WIDTH).any()
    assert not in_image(axis, whole, torch.tensor([256]), torch.tensor([192])).any()
    assert in_image(axis, whole, torch.tensor([257]), torch.tensor([193])).all()
    assert not in_image(lost, whole, HEIGHT, WIDTH).any()


def test_a_flat_crop_is_refused() -> None:
    flat = torch.cat([CROP, torch.zeros_like(CROP)])
    with pytest.raises(UsageError, match="1 of 2 cannot be undone, the first at row 1"):
        in_image(point(1, 1).expand(2, 1, 3), flat, HEIGHT.expand(2), WIDTH.expand(2))
