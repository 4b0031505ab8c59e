"""Videos: every frame is the one that was written, whatever the codec, the container and the damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from hmtools.core import image as core_image
from hmtools.core.image import ImageError
from hmtools.datasets import video
from hmtools.datasets.video import VideoReader, nearest_frames, timestamps
from tests.datasets.video_clips import SIZE, decoded, moving, patch_matrix, places, remux, write

UNEVEN = [0.05 * i + 0.02 * np.sin(i * i) for i in range(30)]
CLIPS: dict[str, tuple[str, dict[str, Any]]] = {
    "hevc": ("a.mp4", {}),
    "hevc, uneven": ("a.mp4", {"times": UNEVEN}),
    "hevc, uneven, late": ("a.mkv", {"times": [3 + t for t in UNEVEN]}),
    "h264 with B frames": ("a.mp4", {"codec": "h264", "lossless": False}),
    "h264, uneven": ("a.mp4", {"codec": "h264", "lossless": False, "times": UNEVEN}),
    "h264 without loss": ("a.mkv", {"codec": "h264"}),
    "h264 in AVI": ("a.avi", {"codec": "h264", "lossless": False}),
    "vp9": ("a.webm", {"codec": "vp9"}),
    "mpeg4": ("a.avi", {"codec": "mpeg4", "lossless": False}),
}


@pytest.fixture(params=CLIPS)
def clip(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    name, options = CLIPS[request.param]
    return write(tmp_path / name, **options)


def shown(image: Any) -> int:
    """Which of the moving pictures a BGR image shows."""
    wrong = [np.abs(image[..., ::-1].astype(int) - moving(i)).mean() for i in range(40)]
    return int(np.argmin(wrong))


def bgr(index: int) -> Any:
    return moving(index)[..., ::-1]


class TestFrames:
    def test_in_order(self, clip: Path) -> None:
        with VideoReader(clip) as reader:
            found = [reader.frame(index) for index in range(len(reader))]
        assert [shown(image) for image in found] == list(range(30))
        assert all(np.array_equal(a, b) for a, b in zip(found, decoded(clip), strict=True))

    def test_in_any_order(self, clip: Path) -> None:
        wanted = [7, 7, 8, 29, 0, 13, 11, 12, 25, 23, 24, 1, *np.random.default_rng(0).integers(0, 30, 12)]
        with VideoReader(clip) as reader:
            assert [shown(reader.frame(int(index))) for index in wanted] == wanted

    def test_without_loss(self, tmp_path: Path) -> None:
        with VideoReader(write(tmp_path / "a.mp4", count=5)) as reader:
            assert all(np.array_equal(reader.frame(index), bgr(index)) for index in range(5))
            image = reader.frame(4)
            assert reader.frame(4) is image
            assert image.dtype == np.uint8
            assert not image.flags.writeable

    def test_one_pass_for_rising_indices_and_a_jump_for_far_ones(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        began: list[int] = []
        restart = VideoReader._restart

        def watched(self: VideoReader, key: int) -> None:
            began.append(key)
            restart(self, key)

        monkeypatch.setattr(VideoReader, "_restart", watched)
        with VideoReader(write(tmp_path / "a.mp4", count=40, key_every=10, b_frames=0)) as reader:
            for index in (0, 1, 3, 9, 10, 15):
                reader.frame(index)
            assert began == [0]
            reader.frame(38)
            assert (began, reader._read) == ([0, 20], 39), "one key frame earlier, and 16 to 19 passed over"
            reader.frame(36)
            assert began == [0, 20, 20]

    def test_the_decoder_holds_few_pictures(self, clip: Path) -> None:
        with VideoReader(clip) as reader:
            reader.frame(5)
            assert reader._read <= 5 + 12

    @pytest.mark.parametrize(
        ("matrix", "turn"),
        [
            ((1, 0, 0, 1), lambda a: a),
            ((-1, 0, 0, 1), lambda a: a[:, ::-1]),
            ((1, 0, 0, -1), lambda a: a[::-1]),
            ((-1, 0, 0, -1), lambda a: a[::-1, ::-1]),
            ((0, 1, -1, 0), lambda a: np.rot90(a, -1)),
            ((0, -1, 1, 0), lambda a: np.rot90(a)),
            ((0, 1, 1, 0), lambda a: a.transpose(1, 0, 2)),
            ((0, -1, -1, 0), lambda a: np.rot90(a, 2).transpose(1, 0, 2)),
        ],
    )
    def test_turned_as_ffmpeg_does(self, tmp_path: Path, matrix: tuple[int, ...], turn: Any) -> None:
        """All eight were compared with the images that ffmpeg 5.1 extracts, pixel by pixel."""
        path = write(tmp_path / "a.mp4", count=2)
        patch_matrix(path, *matrix)
        with VideoReader(path) as reader:
            assert np.array_equal(reader.frame(1), turn(bgr(1)))

    def test_tilted(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.mp4", count=2)
        patch_matrix(path, 1, 1, -1, 1)
        with VideoReader(path) as reader, pytest.raises(ImageError, match=r"video_broken: .*tilted"):
            reader.frame(0)


class TestTimes:
    def test_even(self, tmp_path: Path) -> None:
        times = timestamps(write(tmp_path / "a.mp4", times=29.97))
        assert np.allclose(times, np.arange(30) * 1001 / 30000)
        assert times.dtype == np.float64

    @pytest.mark.parametrize(("name", "tick"), [("a.mp4", 1 / 60000), ("a.mkv", 1 / 1000)])
    def test_uneven_and_from_the_start_of_the_file(self, tmp_path: Path, name: str, tick: float) -> None:
        times = timestamps(write(tmp_path / name, times=[3 + t for t in UNEVEN]))
        assert np.abs(times - UNEVEN).max() <= tick

    def test_a_caller_cannot_change_them(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.mp4", count=3)
        timestamps(path)[:] = -1
        assert timestamps(path)[1] == pytest.approx(0.04)

    def test_another_file_of_the_same_name(self, tmp_path: Path) -> None:
        assert len(timestamps(write(tmp_path / "a.mp4", count=3))) == 3
        assert len(timestamps(write(tmp_path / "a.mp4", count=9))) == 9

    def test_retimed(self, tmp_path: Path) -> None:
        times = timestamps(write(tmp_path / "a.mp4", times=25))
        assert nearest_frames(times, 30, np.arange(6)).tolist() == [0, 1, 2, 3, 3, 4]


class TestWhatIsNotShown:
    def test_an_edit_list_cuts_the_beginning(self, tmp_path: Path) -> None:
        whole = write(tmp_path / "whole.mp4")
        path = remux(whole, tmp_path / "cut.mp4", lambda _: True, shift=-5)
        assert len(decoded(path)) == 25, "that is what a decoder gives"
        assert np.allclose(timestamps(path), np.arange(25) / 25)
        with VideoReader(path) as reader:
            assert [shown(reader.frame(i)) for i in (20, 0, 1)] == [25, 5, 6]

    @pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
    def test_pictures_whose_reference_was_cut_away(self, tmp_path: Path, name: str) -> None:
        """Open groups: pictures that are shown before a key frame stand behind it in the file."""
        whole = write(tmp_path / "whole.mkv", codec="mpeg4", lossless=False, key_every=10)
        with av.open(str(whole)) as container:
            keys = [i for i, p in enumerate(container.demux(video=0)) if p.is_keyframe]
        path = remux(whole, tmp_path / name, lambda number: number >= keys[1])
        with VideoReader(path) as reader:
            assert len(reader) == len(decoded(path))
            assert np.array_equal(reader.frame(len(reader) - 1), decoded(path)[-1])

    def test_packets_before_the_first_key_frame(self, tmp_path: Path) -> None:
        whole = write(tmp_path / "whole.mkv", codec="h264", lossless=False, b_frames=0)
        path = remux(whole, tmp_path / "cut.mkv", lambda number: number >= 4)
        found = decoded(path)
        with VideoReader(path) as reader:
            assert len(reader) == len(found) == 18
            assert [shown(reader.frame(i)) for i in (0, 17)] == [12, 29]


class TestDamage:
    def damaged(self, path: Path, packet: int) -> None:
        begin, size = places(path)[packet]
        data = bytearray(path.read_bytes())
        data[begin : begin + size] = b"\xff" * size
        path.write_bytes(data)

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("a.mp4", {"codec": "h264", "lossless": False}),
            ("a.mp4", {}),
            ("a.mp4", {"codec": "vp9"}),
            ("a.mp4", {"codec": "mpeg4", "lossless": False}),
        ],
        ids=["h264", "hevc", "vp9", "mpeg4"],
    )
    def test_rejects_what_it_harms_and_nothing_after_it(
        self, tmp_path: Path, name: str, options: dict[str, Any]
    ) -> None:
        path = write(tmp_path / name, count=36, key_every=12, **options)
        sound = decoded(path)
        self.damaged(path, 14)
        fine, harmed = [], []
        with VideoReader(path) as reader:
            assert len(reader) == 36
            for index in range(36):
                try:
                    image = reader.frame(index)
                except ImageError as error:
                    harmed.append((index, error.reason))
                else:
                    assert np.array_equal(image, sound[index]), index
                    fine.append(index)
            assert np.array_equal(reader.frame(3), sound[3]), "back before the damage"
        assert {reason for _, reason in harmed} == {"frame_corrupt"}
        assert set(range(12)) | set(range(24, 36)) <= set(fine)

    def test_in_a_container_without_times(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.avi", count=36, codec="h264", lossless=False)
        self.damaged(path, 14)
        with VideoReader(path) as reader:
            assert [shown(reader.frame(i)) for i in range(6)] == list(range(6))
            with pytest.raises(ImageError, match="frame_corrupt"):
                reader.frame(30)

    def test_a_download_that_stopped(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.mkv", count=30)
        whole = path.read_bytes()
        begin, size = places(path)[20]
        path.write_bytes(whole[: begin + size // 2])
        with VideoReader(path) as reader:
            assert 18 <= len(reader) <= 21
            assert [shown(reader.frame(i)) for i in (16, 2)] == [16, 2]
            with pytest.raises(ImageError, match="frame_missing: there is no frame 25"):
                reader.frame(25)


class TestRefused:
    @pytest.mark.parametrize("index", [-1, 5, 10**9])
    def test_frames_that_are_not_there(self, tmp_path: Path, index: int) -> None:
        with VideoReader(write(tmp_path / "a.mp4", count=5)) as reader:
            with pytest.raises(ImageError, match=f"frame_missing: there is no frame {index}, .* 5 frames"):
                reader.frame(index)
            assert shown(reader.frame(4)) == 4

    @pytest.mark.parametrize("name", ["no.mp4", "folder", "a.txt/inside.mp4", "x" * 300])
    def test_missing(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "a.txt").touch()
        for read in (VideoReader, timestamps):
            with pytest.raises(ImageError, match="video_missing"):
                read(tmp_path / name)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"<html>404</html>" * 100,
            bytes(5000),
            b"ffconcat version 1.0\nfile 'fine.mp4'\n",
            b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nfine.mp4\n#EXT-X-ENDLIST\n",
            b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
            b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
            b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period/></MPD>',
        ],
        ids=["empty", "page", "zeros", "concat", "playlist", "playlist of addresses", "sdp", "dash"],
    )
    def test_what_is_no_video_or_names_other_files(self, tmp_path: Path, data: bytes) -> None:
        write(tmp_path / "fine.mp4", count=2)
        (tmp_path / "a.mp4").write_bytes(data)
        with pytest.raises(ImageError, match="video_broken") as caught:
            VideoReader(tmp_path / "a.mp4")
        assert str(tmp_path) not in str(caught.value), "details go into manifests"

    def test_sound_only(self, tmp_path: Path) -> None:
        with av.open(str(tmp_path / "a.mp4"), "w") as container:
            stream = container.add_stream("aac", rate=16000, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
        with pytest.raises(ImageError, match=r"video_broken: .* no video stream"):
            VideoReader(tmp_path / "a.mp4")

    def test_too_large(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write(tmp_path / "a.mp4", count=2)
        monkeypatch.setattr(video, "MAX_PIXELS", 6000)
        with pytest.raises(ImageError, match="image_too_large: 96x64"):
            VideoReader(path)
        assert core_image.MAX_PIXELS > 6000

    def test_a_name_is_never_an_address(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for name in ("http://127.0.0.1:9/a.mp4", "concat:a.mp4|b.mp4", "lavfi:testsrc"):
            with pytest.raises(ImageError, match="video_missing"):
                VideoReader(Path(name))


@pytest.mark.parametrize("settings", ["open-gop=1:bframes=3:b-adapt=0", "intra-refresh=1:bframes=0"])
def test_jumps_where_groups_are_not_closed(tmp_path: Path, settings: str) -> None:
    """Decoders complain about the first pictures after a jump there, though nothing is damaged."""
    path, options = tmp_path / "a.mp4", {"x264-params": f"{settings}:keyint=10:scenecut=0", "crf": "15"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for index in range(50):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moving(index), format="rgb24")))
        container.mux(stream.encode())
    whole = decoded(path)
    with VideoReader(path) as reader:
        for index in (40, 17, 18, 49, 31, 2, 38):
            assert np.array_equal(reader.frame(index), whole[index]), index
