"""3DPW is cut by its images; their size is that of the first sound one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmtools.datasets.pw3d_frames import FRAMES_PER_UNIT, Frames, image_size, plan_frames
from hmtools.datasets.pw3d_published import Published
from hmtools.datasets.pw3d_sequences import read_recording
from tests.datasets.coco_tree import picture, write_picture
from tests.datasets.pw3d_tree import recording, write_images, write_recording


def folder_of(root: Path, name: str, frames: int) -> None:
    (root / name).mkdir(parents=True)
    for frame in range(frames):
        (root / name / f"image_{frame:05d}.jpg").touch()
    (root / name / "Thumbs.db").touch()


def test_sequences_are_cut_and_the_last_piece_is_open(tmp_path: Path) -> None:
    folder_of(tmp_path, "b_00", FRAMES_PER_UNIT + 1)
    folder_of(tmp_path, "c_00", FRAMES_PER_UNIT)
    units = plan_frames("test", ["a_00", "b_00", "c_00"], tmp_path, None)
    assert [unit.index for unit in units] == [0, 1, 2, 3]
    assert [unit.payload for unit in units] == [
        Frames("test", "a_00", 0, None, None),  # no images: the sequence file says how many there are
        Frames("test", "b_00", 0, 512, None),
        Frames("test", "b_00", 512, None, None),
        Frames("test", "c_00", 0, None, None),
    ]
    assert [(unit.expected, unit.images) for unit in units] == [(0, 0), (512, 512), (1, 1), (512, 512)]
    assert [unit.sequences for unit in units] == [("a_00",), ("b_00",), ("b_00",), ("c_00",)]
    assert units[1].name == "b_00 0-511"


def test_each_unit_has_its_own_rows(tmp_path: Path) -> None:
    folder_of(tmp_path, "b_00", FRAMES_PER_UNIT + 1)
    frames = np.array([0, 511, 511, 512, 9000])
    rows = np.zeros((5, 5), np.int64)
    rows[:, 0], rows[:, 1] = frames, range(5)
    published = Published({"b_00": rows, "c_00": rows[:0]}, ((7, "broken_row", "why"),))
    first, second, third = plan_frames("test", ["b_00", "c_00"], tmp_path, published)
    assert first.payload.rows[:, 1].tolist() == [0, 1, 2]
    assert second.payload.rows[:, 1].tolist() == [3, 4], "also those beyond the last image"
    assert third.payload.rows.shape == (0, 5)
    assert [unit.expected for unit in (first, second, third)] == [3, 2, 0]
    assert [unit.payload.strays for unit in (first, second, third)] == [published.strays, (), ()]


class TestSize:
    """Portrait and landscape sequences."""

    @pytest.mark.parametrize("size", [(54, 96), (96, 54)])
    def test_of_the_first_image(self, tmp_path: Path, size: tuple[int, int]) -> None:
        found = read_recording(write_recording(tmp_path, recording("walk_00")))
        assert image_size(write_images(tmp_path, "walk_00", size=size), found) == size

    def test_of_the_first_that_is_sound(self, tmp_path: Path) -> None:
        found = read_recording(write_recording(tmp_path, recording("walk_00")))
        folder = write_images(tmp_path, "walk_00")
        (folder / "image_00000.jpg").unlink()
        (folder / "image_00001.jpg").write_bytes(b"\xff\xd8noise")
        write_picture(folder / "image_00002.jpg", picture(30, 20))
        assert image_size(folder, found) == (30, 20)

    def test_of_none(self, tmp_path: Path) -> None:
        """As the release has them: the principal point is in the middle."""
        for number, (size, wanted) in enumerate([((1080, 1920), (1080, 1920)), ((1920, 1080), (1920, 1080))]):
            data = recording(f"walk_{number:02d}", size=size)
            found = read_recording(write_recording(tmp_path, data))
            assert image_size(tmp_path / "none", found) == wanted
