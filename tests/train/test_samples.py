from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hmtools.core.errors import SchemaError
from hmtools.core.image import ImageError
from hmtools.geometry.crop import apply_affine, image_op_affine, undo_image_op
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec
from hmtools.models.smplerx.target_input import TargetInput
from hmtools.train.batches import Batch
from hmtools.train.loader import TrainData, TrainSource
from hmtools.train.recipe import AugmentSpec
from hmtools.train.sets import TRAIN_SETS
from tests.train.written_splits import HEIGHT, WIDTH, boxed, coded, png, write_boxes, write_split

STILL = AugmentSpec(scale=0, rotation=0, colour=0, flip_probability=0)
FULL_SPEC = RecordSpec("bedlam", "train", "coco_17", "smplx_144", bodies=("smplx", "smpl"))


def batch_of(folder: Path, augment: AugmentSpec | None = None, count: int = 8, **options: Any) -> Batch:
    data = TrainData(
        [TrainSource(path=folder)], strategy="concat", augment=augment or AugmentSpec(), **options
    )
    return data.maker().make(0, np.arange(min(count, data.epoch_size)))


def where_pixels_are_from(batch: Batch, row: int) -> Any:
    """(rows, columns, 2) upright original pixels that a crop says it shows, and those it should show."""
    image = batch.images[row].numpy().transpose(1, 2, 0) * 255
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] * batch.step
    inverse = np.linalg.inv(np.vstack([batch.inputs.crop_affine[row].numpy(), [0, 0, 1]]))[:2]
    places = apply_affine(inverse, np.stack([x, y], -1))
    inside = ((places >= 1) & (places <= (WIDTH - 2, HEIGHT - 2))).all(-1)
    assert inside.mean() > 0.2
    return image[inside][:, :2], places[inside]


@pytest.mark.parametrize("operation", ["none", "rot90cw", "rot90ccw", "hflip"])
def test_pixels_come_from_where_the_affine_says(tmp_path: Path, operation: str) -> None:
    """However the image is stored, mirrored and turned: what the labels are moved by is what moved it."""
    inverse = {"rot90cw": "rot90ccw", "rot90ccw": "rot90cw"}.get(operation, operation)
    stored = png(undo_image_op(coded(), inverse))
    affine = None if operation == "none" else image_op_affine(operation, WIDTH, HEIGHT)
    people = [boxed(image_op=operation, image_affine=affine) for _ in range(8)]
    folder = write_split(tmp_path / "train", RecordSpec("bedlam", "train"), people, [stored] * 8)
    batch = batch_of(folder, AugmentSpec(colour=0))
    assert set(batch.inputs.flip.tolist()) == {True, False}
    assert len(set(batch.inputs.rotation.tolist())) > 3
    for row in range(8):
        found, expected = where_pixels_are_from(batch, row)
        assert abs(found - expected).max() < 0.05


def test_pixels_of_stored_crops(tmp_path: Path) -> None:
    """Window and reduction of the converter, and the augmentation, in one warp."""
    window = coded()[10:110, 20:150]
    small = window[::2, ::2]  # pixel i of it is pixel 2i of the window
    affine = np.array([[0.5, 0, -10], [0, 0.5, -5]])
    folder = write_split(
        tmp_path / "train",
        RecordSpec("bedlam", "train"),
        [boxed((60, 40, 30, 40, 1), image_affine=affine)] * 4,
        [png(small)] * 4,
        images="crop",
    )
    batch = batch_of(folder, AugmentSpec(colour=0))
    for row in range(4):
        found, expected = where_pixels_are_from(batch, row)
        inside = ((expected > (22, 12)) & (expected < (146, 106))).all(-1)
        assert abs(found - expected)[inside].max() < 0.05


def test_colours(tmp_path: Path) -> None:
    grey = png(np.full((HEIGHT, WIDTH, 3), 230, np.uint8))
    folder = write_split(tmp_path / "train", RecordSpec("bedlam", "train"), [boxed()] * 8, [grey] * 8)
    batch = batch_of(folder)
    middle = batch.images[:, :, 128, 96]
    assert 0.7 < middle.min() < 0.9
    assert middle.max() == 1
    assert len(set(middle.flatten().tolist())) > 15
    still = batch_of(folder, STILL).images[:, :, 128, 96]
    torch.testing.assert_close(still, torch.full((8, 3), 230 / 255))


def person(**columns: Any) -> Record:
    rng = np.random.default_rng(0)
    sizes: dict[str, Any] = {
        **{"smplx_global_orient": 3, "smplx_body_pose": 63, "smplx_betas": 10, "smplx_transl": 3},
        **{"smplx_left_hand_pose": 45, "smpl_body_pose": 69, "smpl_betas": 10, "lhand_bbox_xywh": 5},
        **{"keypoints2d_original": (17, 3), "keypoints3d_original": (144, 4), "keypoints2d_smplx": (144, 3)},
        **{"keypoints2d_smpl": (45, 3), "focal_length": 2, "principal_point": 2},
    }
    values: dict[str, Any] = {name: rng.normal(size=size) for name, size in sizes.items()}
    return boxed(**{**values, "gender": "female", **columns})


def test_columns_arrive_as_they_are(tmp_path: Path) -> None:
    record = person(valid_face=False, valid_transl=False, pose_valid=np.arange(55) % 2 > 0)
    bare = boxed()
    folder = write_split(tmp_path / "train", FULL_SPEC, [record, bare], [png(coded())] * 2)
    batch = batch_of(folder)
    order = [int(key[-8:-2]) for key in batch.keys]
    full, empty = order.index(0), order.index(1)
    found = batch.inputs
    assert found.rules == (TRAIN_SETS["bedlam"].rule,) * 2
    assert (found.gender[full], found.gender[empty]) == ("female", "neutral")
    assert found.smplx_gender == found.gender
    for name in ("smplx_body_pose", "smplx_left_hand_pose", "smpl_body_pose", "lhand_bbox_xywh"):
        wanted = np.asarray(getattr(record, name), np.float32)
        np.testing.assert_array_equal(getattr(found, name)[full].numpy(), wanted)
    joints = np.asarray(record.keypoints2d_smplx, np.float32)
    np.testing.assert_array_equal(found.keypoints2d_137[full, :3].numpy(), joints[:3])  # not the annotated
    solid = np.asarray(record.keypoints3d_original, np.float32)
    np.testing.assert_array_equal(found.keypoints3d_137[full, 7].numpy(), solid[12])  # neck
    assert not found.valid_face[full]
    assert not found.valid_transl[full]
    assert found.pose_valid is not None
    assert found.pose_valid[full].tolist() == [i % 2 > 0 for i in range(55)]
    assert (found.width.tolist(), found.height.tolist()) == ([WIDTH] * 2, [HEIGHT] * 2)
    for item in fields(TargetInput):
        value = getattr(found, item.name)
        if not isinstance(value, torch.Tensor) or item.name in ("rotation", "crop_affine", "flip"):
            continue
        if value.dtype == torch.bool:
            assert value[empty].all(), item.name
        elif value.is_floating_point():
            assert value[empty].isnan().all(), item.name
    assert found.smplh_body_pose is None
    assert found.kid is None


@pytest.mark.parametrize(
    ("columns", "projects", "may_use"),
    [
        ({"camera_model": "pinhole"}, True, False),
        ({"camera_kind": "virtual"}, True, True),  # depth made up together with the camera
        ({"camera_model": "opencv5", "distortion": np.ones(5)}, False, False),
    ],
)
def test_cameras(tmp_path: Path, columns: dict[str, Any], projects: bool, may_use: bool) -> None:
    record = person(valid_transl=False, **columns)
    folder = write_split(tmp_path / "train", FULL_SPEC, [record], [png(coded())])
    found = batch_of(folder).inputs
    assert bool(found.focal_length.isfinite().all()) == projects
    assert bool(found.valid_transl[0]) == may_use


def test_rows_that_cannot_be_used_are_replaced_and_named(tmp_path: Path) -> None:
    people = [boxed() for _ in range(12)]
    people[3] = boxed((500, 500, 20, 20, 1))
    people[5] = Record(width=WIDTH, height=HEIGHT)
    images: list[bytes | None] = [png(coded(i)) for i in range(12)]
    images[8] = None
    folder = write_split(tmp_path / "train", RecordSpec("bedlam", "train"), people, images)
    batch = batch_of(folder, STILL, count=12)
    assert {text.partition(": ")[2] for text in batch.substituted} >= {
        "it has no image",
        "it has no box",
        "its box lies outside of its image",
    }
    bad = {f"bedlam/train/all/{i:06d}_0" for i in (3, 5, 8)}
    assert {text.partition(": ")[0] for text in batch.substituted} == bad
    assert len(batch) == len(batch.keys) == 12
    assert not bad & set(batch.keys)
    again = batch_of(folder, STILL, count=12)
    assert (again.keys, again.substituted) == (batch.keys, batch.substituted)


def test_a_set_without_usable_rows_is_an_error(tmp_path: Path) -> None:
    folder = write_split(
        tmp_path / "train", RecordSpec("bedlam", "train"), [boxed((500, 500, 9, 9, 1))], [png(coded())]
    )
    with pytest.raises(SchemaError, match=r"cannot be trained on.*outside of its image.*hmtools validate"):
        batch_of(folder)


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    folder = write_boxes(tmp_path / "train", "bedlam", 1)
    tar = next(folder.glob("*.tar"))
    data = bytearray(tar.read_bytes())
    data[2048:2600] = bytes(552)
    tar.write_bytes(data)
    with pytest.raises(ImageError, match=r"bedlam/train/all/000000_0 at byte \d+ of .*hmtools validate"):
        batch_of(folder)


def test_batches_move_in_four_tensors(tmp_path: Path) -> None:
    batch = batch_of(write_boxes(tmp_path / "train", "bedlam", 2))
    moved = batch.to("meta")
    assert moved.images.device.type == "meta"
    assert moved.inputs.keypoints2d_137.device.type == "meta"
    assert moved.inputs.flip.dtype == torch.bool
    assert moved.inputs.rules == batch.inputs.rules
    assert batch.inputs.smplx_body_pose.data_ptr() != batch.inputs.smplx_global_orient.data_ptr()
    assert batch.inputs.crop_affine.untyped_storage().data_ptr() == batch.numbers.untyped_storage().data_ptr()
