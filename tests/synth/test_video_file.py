"""Videos of miniatures: the same bytes every time, and in them what was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from hmtools.core.errors import UsageError
from hmtools.synth.video_file import VIDEO_CODECS, VideoCodec, write_video
from tests.datasets.video_clips import moving, movings

CASES = [(codec, lossless) for codec in VIDEO_CODECS for lossless in (False, True)]
CASES.remove(("mpeg4", True))


def read(path: Path) -> tuple[list[tuple[float, Any]], list[float]]:
    """Time and RGB of each frame as shown, and the times of packets as they lie in the file."""
    with av.open(str(path)) as container:
        packets = [float(p.pts * p.time_base) for p in container.demux(video=0) if p.pts is not None]
    with av.open(str(path)) as container:
        shown = [(p.time or 0.0, p.to_ndarray(format="rgb24")) for p in container.decode(video=0)]
    return shown, packets


@pytest.mark.parametrize(("codec", "lossless"), CASES)
@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_same_arguments_same_bytes(tmp_path: Path, codec: VideoCodec, lossless: bool, count: int) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, movings(count), 25, codec=codec, lossless=lossless)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    shown, _ = read(tmp_path / "a.mp4")
    assert len(shown) == count
    most = 0 if lossless else 25
    assert all(np.abs(image - moving(i).astype(int)).mean() <= most for i, (_, image) in enumerate(shown))
    assert np.allclose([time for time, _ in shown], np.arange(count) / 25)


@pytest.mark.parametrize(("codec", "lossless"), [("h264", False), ("hevc", True), ("mpeg4", False)])
def test_b_frames_stand_after_what_is_shown_after_them(
    tmp_path: Path, codec: VideoCodec, lossless: bool
) -> None:
    for b_frames in (0, 3):
        write_video(tmp_path / "a.mp4", movings(20), 25, codec=codec, lossless=lossless, b_frames=b_frames)
        _, packets = read(tmp_path / "a.mp4")
        assert (packets == sorted(packets)) == (b_frames == 0)


def test_key_frames(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", movings(20), 25, lossless=True, key_every=5, b_frames=0)
    with av.open(str(tmp_path / "a.mp4")) as container:
        keys = [i for i, packet in enumerate(container.demux(video=0)) if packet.is_keyframe]
    assert keys == [0, 5, 10, 15]


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "mpeg4"])
def test_times_of_their_own(tmp_path: Path, codec: VideoCodec) -> None:
    times = [0.5, 0.52, 0.6, 0.601, 0.7, 1.9, 2.0]
    write_video(tmp_path / "a.mp4", movings(7), times, codec=codec)
    assert np.allclose([time for time, _ in read(tmp_path / "a.mp4")[0]], times, atol=1 / 60_000)


@pytest.mark.parametrize(
    ("rate", "exact"), [(29.97, (30000, 1001)), (59.94, (60000, 1001)), (25, (25, 1)), (12.5, (25, 2))]
)
def test_rates(tmp_path: Path, rate: float, exact: tuple[int, int]) -> None:
    write_video(tmp_path / "a.mp4", movings(30), rate)
    with av.open(str(tmp_path / "a.mp4")) as container:
        found = container.streams.video[0].average_rate
    assert found is not None
    assert (found.numerator, found.denominator) == exact


def two_sizes() -> Iterator[Any]:
    yield moving(0)
    yield moving(1)[:32]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.gif", {}, "a.gif: expected a name in .mp4, .avi, .webm, .mkv"),
        ("a.avi", {"times": [0.0, 1.0]}, "only at an even frame rate"),
        ("a.webm", {}, "'webm' format does not support"),
        ("a.mp4", {"codec": "mpeg4", "lossless": True}, "cannot write 'mpeg4' without loss; codecs: h264, "),
        ("a.mp4", {"codec": "theora"}, "cannot write 'theora'"),
        ("a.mp4", {"times": 0}, "expected a frame rate above 0, found 0"),
        ("a.mp4", {"times": [0.0, 0.0]}, "expected times that rise from 0 s"),
        ("a.mp4", {"times": [-1.0, 0.0]}, "expected times that rise from 0 s"),
        ("a.mp4", {"times": [0.0, 1.0, 2.0]}, "expected as many images as times, 3"),
        ("a.mp4", {"images": []}, "expected one image or more"),
        ("a.mp4", {"images": [moving(0)[:, :95]]}, "images of one even size"),
        ("a.mp4", {"images": two_sizes()}, "images of one even size"),
    ],
)
def test_refused(tmp_path: Path, name: str, options: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"images": movings(2), "times": 25} | options
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        write_video(tmp_path / name, **settings)
    assert list(tmp_path.iterdir()) == []
