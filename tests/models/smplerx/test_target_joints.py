from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.models.smplerx.body import part_aligned
from hmtools.models.smplerx.target_joints import (
    ROOT_OF,
    Augmentation,
    Shown,
    body_depth,
    image_joints,
    in_volume,
    mirror_rows,
    part_depth,
    rotation_about_z,
    to_cells,
    turn,
)
from tests.models.smplerx.target_people import arrays, augmented, by_name, person


def _augmentation(people: object) -> Augmentation:
    return Augmentation(**{name: getattr(people, name) for name in ("flip", "rotation", "crop_affine")})


def _golden(name: str, case: int) -> tuple[Shown, Augmentation, torch.Tensor, dict[str, torch.Tensor]]:
    data = {
        key[8:].split("_", 1)[1]: value
        for key, value in arrays("preprocess.npz").items()
        if f"db_coord/{name}_" in key
    }
    joints = by_name(data["names"], data["in_img"], data["in_valid"])
    camera = by_name(data["names"], data["in_cam"], data["in_valid"])
    flip, rotation = (True, 25.0) if case else (False, 0.0)
    people = augmented(person("ubody"), data[f"{case}_trans"], flip, rotation, mirrored=True)
    shown = Shown(
        pixels=torch.tensor(joints[None, :, :2]),
        depth=torch.tensor(joints[None, :, 2]),
        in_front=torch.tensor(joints[None, :, 2] > 0),
        known=torch.tensor(joints[None, :, 3] > 0),
    )
    wanted = {key[2:]: torch.tensor(value) for key, value in data.items() if key.startswith(f"{case}_")}
    return shown, _augmentation(people), torch.tensor(camera[None, :, :3]), wanted


@pytest.mark.parametrize("case", [0, 1])
@pytest.mark.parametrize("name", ["agora", "ubody", "smplx"])
def test_annotated_joints_are_the_published_ones(name: str, case: int) -> None:
    shown, augmentation, camera, wanted = _golden(name, case)
    cells, seen = image_joints(shown, augmentation, torch.tensor([True]))
    known = mirror_rows(shown.known, augmentation.flip)[0]
    turned = turn(camera, augmentation)
    assert torch.equal(seen[0].float(), wanted["joint_trunc"][:, 0])
    assert torch.equal(known.float(), wanted["joint_valid"][:, 0])
    torch.testing.assert_close(cells[0][known], wanted["joint_img"][known], rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(turned[0][known], wanted["joint_cam_wo_ra"][known], rtol=1e-5, atol=1e-6)
    rooted = torch.ones(137, dtype=torch.bool)
    if name == "ubody":
        rooted[65:] = False  # its joints have no neck: our targets never say where such a face is
    aligned = part_aligned(turned)[0]
    compared = known & rooted
    torch.testing.assert_close(aligned[compared], wanted["joint_cam_ra"][compared], rtol=1e-5, atol=2e-6)


def test_depths_cover_their_extents() -> None:
    z = torch.tensor([-1.0, 0.0, 0.5, 1.0])
    assert body_depth(z).tolist() == [0.0, 8.0, 12.0, 16.0]
    depth = part_depth(torch.full((1, 137), 0.075))[0]
    assert depth[24].item() == pytest.approx(8.6)
    assert depth[25:].tolist() == pytest.approx([12.0] * 112)


def test_each_part_has_its_root() -> None:
    assert [ROOT_OF[i] for i in (0, 24, 25, 44, 45, 64, 65, 136)] == [0, 0, 12, 12, 13, 13, 7, 7]


def test_the_volume_ends_before_its_size() -> None:
    inside = [[0.0, 0, 0], [11.99, 15.99, 15.99]]
    outside = [
        [-0.01, 0, 0],
        [12, 0, 0],
        [0, 16, 0],
        [0, 0, 16],
        [0, -0.01, 0],
        [0, 0, -0.01],
        [math.nan, 1, 1],
    ]
    assert in_volume(torch.tensor([inside])).all()
    assert not in_volume(torch.tensor([outside])).any()


def test_the_crop_is_twelve_by_sixteen_cells() -> None:
    corners = torch.tensor([[[0.0, 0.0], [384.0, 512.0]]])
    assert to_cells(corners, torch.eye(2, 3)[None]).tolist() == [[[0.0, 0.0], [12.0, 16.0]]]


def test_turning_is_clockwise_in_the_image() -> None:
    turned = rotation_about_z(torch.tensor([90.0]))[0] @ torch.tensor([1.0, 0.0, 5.0])
    assert turned.tolist() == pytest.approx([0.0, 1.0, 5.0], abs=1e-6)


def test_a_turned_joint_stays_on_its_pixel() -> None:
    """Turning a joint in space and the picture by the same augmentation is the same, in a camera's middle."""
    generator = torch.Generator().manual_seed(0)
    joints = torch.rand((1, 137, 3), generator=generator) - 0.5
    affine = [[math.cos(0.3), math.sin(0.3), 0.0], [-math.sin(0.3), math.cos(0.3), 0.0]]
    for flip in (False, True):
        matrix = torch.tensor([affine]) * torch.tensor([-1.0 if flip else 1.0, 1.0, 1.0])
        own = Augmentation(
            flip=torch.tensor([flip]), rotation=torch.tensor([math.degrees(0.3)]), crop_affine=matrix
        )
        turned = turn(joints, own)
        seen = mirror_rows(to_cells(joints[..., :2], matrix), own.flip) * 32
        torch.testing.assert_close(turned[..., :2], seen, rtol=1e-5, atol=1e-6)
        assert torch.equal(turned[..., 2], mirror_rows(joints[..., 2], own.flip))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.lists(st.booleans(), min_size=1, max_size=4))
def test_mirroring_twice_is_the_identity(seed: int, flips: list[bool]) -> None:
    flip = torch.tensor(flips)
    joints = torch.randn((len(flips), 137, 3), generator=torch.Generator().manual_seed(seed))
    own = Augmentation(flip=flip, rotation=torch.zeros(len(flips)), crop_affine=torch.zeros(len(flips), 2, 3))
    assert torch.equal(mirror_rows(mirror_rows(joints, flip), flip), joints)
    assert torch.equal(turn(turn(joints, own), own), joints)
    pose = joints[:, :53]
    assert torch.equal(mirror_rows(mirror_rows(pose, flip, "smplerx_53"), flip, "smplerx_53"), pose)


def test_a_mirrored_joint_is_asked_for_itself_unless_the_fault_is_wanted() -> None:
    pixels = torch.full((1, 137, 2), 100.0)
    left, right = 12, 13  # wrists
    pixels[0, left, 0] = -5.0  # left of the image: not seen
    shown = Shown(
        pixels=pixels,
        depth=torch.full((1, 137), 8.0),
        in_front=torch.ones(1, 137, dtype=torch.bool),
        known=torch.ones(1, 137, dtype=torch.bool),
    )
    affine = torch.tensor([[[-1.0, 0.0, 200.0], [0.0, 1.0, 0.0]]])
    own = Augmentation(flip=torch.tensor([True]), rotation=torch.zeros(1), crop_affine=affine)
    found = [image_joints(shown, own, torch.tensor([fault]))[1][0] for fault in (False, True)]
    assert [bool(seen[right]) for seen in found] == [False, True]
    assert [bool(seen[left]) for seen in found] == [True, False]
