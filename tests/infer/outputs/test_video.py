from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hmtools.core.errors import UsageError
from hmtools.datasets.video import VideoReader, timestamps
from hmtools.infer.outputs.video import VideoFile


def halves(height: int, width: int) -> np.ndarray:
    image = np.empty((height, width, 3), np.uint8)
    image[:, : width // 2], image[:, width // 2 :] = (200, 30, 40), (30, 180, 60)
    return image


def test_pictures_come_back_with_their_colours_and_times(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with VideoFile(path, 30000 / 1001) as video:
        for _ in range(7):
            video.write(halves(121, 161))
        assert not path.exists()
    np.testing.assert_allclose(timestamps(path), np.arange(7) * 1001 / 30000, atol=1e-4)
    with VideoReader(path) as reader:
        frame = reader.frame(4)[..., ::-1]
    assert frame.shape == (122, 162, 3), "sides are even, the last row and column are there twice"
    np.testing.assert_allclose(frame[60, [20, 130]], [[200, 30, 40], [30, 180, 60]], atol=5)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "players can begin before they have all of it"
    assert list(tmp_path.iterdir()) == [path]


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    times = [0, 0.04, 0.1, 0.11]
    with VideoFile(tmp_path / "v.mp4", 25) as video:
        for time in times:
            video.write(halves(32, 32), time)
        with pytest.raises(UsageError, match="does not come after"):
            video.write(halves(32, 32), 0.05)
    np.testing.assert_allclose(timestamps(tmp_path / "v.mp4"), times, atol=1e-4)


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Files end at 40 kB, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_is_an_error_and_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"before")
    noise = np.random.default_rng(0).integers(0, 256, (60, 120, 160, 3), np.uint8)

    def write() -> None:
        with VideoFile(tmp_path / "v.mp4", 30) as video:
            for image in noise:
                video.write(image)

    with pytest.raises(OSError, match=r"v\.mp4") as caught:
        write()
    assert caught.value.errno == errno.EFBIG
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]
    assert (tmp_path / "v.mp4").read_bytes() == b"before"


def test_what_is_no_video(tmp_path: Path) -> None:
    for name, fps, error in (("v.avi", 30, "mp4"), ("v.mp4", 0, "frames a second"), ("v.mp4", np.inf, "fra")):
        with pytest.raises(UsageError, match=error):
            VideoFile(tmp_path / name, fps)
    with VideoFile(tmp_path / "v.mp4", 30):
        pass
    with VideoFile(tmp_path / "w.mp4", 30) as video:
        video.write(halves(32, 32))
        with pytest.raises(UsageError, match="shape"):
            video.write(halves(32, 34))
    (tmp_path / "w.mp4").unlink()
    assert list(tmp_path.iterdir()) == []
