"""Images, folders and videos as upright frames, and what is skipped of them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.core.errors import LayoutError, UsageError
from hmtools.core.image import encode_png
from hmtools.infer.media import Frame, Media, Skips, Span, find_media, frames_of
from tests.datasets.video_clips import moving, patch_matrix, places, write
from tests.infer.free_media import colours, exif_jpeg

Array = np.ndarray[Any, Any]


def read(path: Path, span: Span | None = None, **options: Any) -> tuple[list[Frame], Skips]:
    skips = Skips()
    media = find_media([path], **options).media
    return list(frames_of(media, span or Span(), skips)), skips


def quarters(image: Array) -> str:
    """Colours of the four corners, row by row."""
    named = {(1, 0, 0): "r", (0, 1, 0): "g", (0, 0, 1): "b", (1, 1, 1): "w"}
    height, width = image.shape[:2]
    points = [(y, x) for y in (height // 8, -height // 8) for x in (width // 8, -width // 8)]
    return "".join(named[tuple((image[point] > 127).astype(int).tolist())] for point in points)


class TestFind:
    def names(self, media: Media) -> list[str]:
        return [medium.source for medium in media.media]

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        for name in ("b/10.jpg", "b/2.JPG", "b/notes.txt", "b/.hidden.jpg", ".cache/x.jpg", "a.mp4", "c.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    def test_a_folder_with_all_below_it(self, tree: Path) -> None:
        media = find_media([tree])
        assert media.root == tree
        assert self.names(media) == ["a.mp4", "b/2.JPG", "b/10.jpg", "c.png"]
        assert [medium.kind for medium in media.media] == ["video", "image", "image", "image"]

    def test_names_are_below_what_all_share_and_each_file_comes_once(self, tree: Path) -> None:
        media = find_media([tree / "b" / "10.jpg", tree / "b", tree / "c.png"])
        assert media.root == tree
        assert self.names(media) == ["b/10.jpg", "b/2.JPG", "c.png"]

    def test_a_folder_as_a_sequence(self, tree: Path) -> None:
        media = find_media([tree / "b"], sequences=True)
        assert [file.name for file in media.media[0].files] == ["2.JPG", "10.jpg"]
        assert (media.media[0].source, media.media[0].kind) == (".", "sequence")

    def test_a_named_file_is_taken_whatever_its_suffix(self, tmp_path: Path) -> None:
        (tmp_path / "photo").write_bytes(encode_png(colours()))
        frames, _ = read(tmp_path / "photo")
        assert quarters(frames[0].image) == "rgbw"
        write(tmp_path / "a.mp4", count=2).rename(tmp_path / "clip")
        frames, _ = read(tmp_path / "clip")
        assert len(frames) == 2

    def test_all_that_is_missing_is_named(self, tree: Path) -> None:
        (tree / "empty").mkdir()
        with pytest.raises(LayoutError, match=r"nowhere: no such.*empty: no image"):
            find_media([tree / "nowhere", tree / "empty", tree / "a.mp4"])
        with pytest.raises(UsageError, match="got none"):
            find_media([])


class TestImages:
    @pytest.mark.parametrize(
        ("orientation", "seen"),
        [
            (1, "rgbw"),
            (2, "grwb"),
            (3, "wbgr"),
            (4, "bwrg"),
            (5, "rbgw"),
            (6, "brwg"),
            (7, "wgbr"),
            (8, "gwrb"),
        ],
    )
    def test_exif_orientation_is_applied(self, tmp_path: Path, orientation: int, seen: str) -> None:
        (tmp_path / "a.jpg").write_bytes(exif_jpeg(colours(), orientation))
        frames, _ = read(tmp_path / "a.jpg")
        assert quarters(frames[0].image) == seen
        assert frames[0].size == ((64, 48) if orientation < 5 else (48, 64))

    @pytest.mark.parametrize(("colour", "bits"), [(2, 8), (2, 16), (6, 8), (6, 16), (0, 8), (0, 16), (4, 8)])
    def test_depth_alpha_and_grey(self, tmp_path: Path, colour: int, bits: int) -> None:
        picture = colours() if colour in (2, 6) else np.full((48, 64, 1), 200, np.uint8)
        if colour in (4, 6):
            picture = np.concatenate([picture, np.full((48, 64, 1), 60, np.uint8)], axis=-1)
        whole = picture.astype(np.uint8 if bits == 8 else ">u2") * (1 if bits == 8 else 257)
        (tmp_path / "a.png").write_bytes(png(whole, colour, bits))
        (found,), skips = read(tmp_path / "a.png")
        assert not skips.counts
        assert found.image.dtype == np.uint8
        if colour in (2, 6):
            np.testing.assert_array_equal(found.image, colours())
        else:
            assert (found.image == 200).all()

    def test_cmyk(self, tmp_path: Path) -> None:
        pil = pytest.importorskip("PIL.Image")
        pil.fromarray(colours()).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
        (found,), _ = read(tmp_path / "a.jpg")
        assert quarters(found.image) == "rgbw"

    def test_bad_files_cost_themselves_only(self, tmp_path: Path) -> None:
        whole = encode_png(colours())
        files = {"0.png": b"", "1.png": whole[: len(whole) // 2], "2.jpg": b"no image", "3.png": whole}
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        frames, skips = read(tmp_path)
        assert [frame.medium.source for frame in frames] == ["3.png"]
        assert skips.counts == {"image_empty": 1, "image_truncated": 1, "image_unreadable": 1}
        assert [line.partition(":")[0] for line in skips.examples] == ["0.png", "1.png", "2.jpg"]

    def test_a_file_that_vanishes(self, tmp_path: Path) -> None:
        for name in ("a.png", "b.png"):
            (tmp_path / name).write_bytes(encode_png(colours()))
        media, skips = find_media([tmp_path]), Skips()
        (tmp_path / "a.png").unlink()
        assert [frame.file.name for frame in frames_of(media.media, Span(), skips)] == ["b.png"]
        assert skips.counts == {"file_unreadable": 1}


def png(array: Array, colour: int, bits: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], bits, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in array)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


class TestMoving:
    def test_a_span_of_a_video(self, tmp_path: Path) -> None:
        write(tmp_path / "a.mp4", count=30)
        frames, _ = read(tmp_path / "a.mp4", Span(start=4, end=20, stride=5))
        assert [frame.index for frame in frames] == [4, 9, 14, 19]
        assert [frame.time for frame in frames] == pytest.approx([0.16, 0.36, 0.56, 0.76])
        for frame in frames:
            np.testing.assert_allclose(frame.image, moving(frame.index), atol=3)

    def test_uneven_times_and_rotation(self, tmp_path: Path) -> None:
        times = [0.0, 0.1, 0.5, 0.6]
        path = write(tmp_path / "a.mp4", count=4, times=times)
        patch_matrix(path, 0, 1, -1, 0)
        frames, _ = read(path)
        assert [frame.time for frame in frames] == pytest.approx(times, abs=1e-3)
        np.testing.assert_allclose(frames[2].image, np.rot90(moving(2), -1), atol=3)

    def test_a_sequence_of_images(self, tmp_path: Path) -> None:
        for number in (1, 2, 9, 10):
            (tmp_path / f"{number}.png").write_bytes(encode_png(moving(number)))
        (tmp_path / "9.png").write_bytes(b"")
        frames, skips = read(tmp_path, Span(start=1), sequences=True)
        assert [(frame.index, frame.file.name) for frame in frames] == [(1, "2.png"), (3, "10.png")]
        assert skips.examples == [". frame 2: image_empty: the file has no bytes"]

    def test_stills_have_no_span(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(encode_png(colours()))
        assert len(read(tmp_path, Span(start=5))[0]) == 1

    def test_a_span_behind_the_end(self, tmp_path: Path) -> None:
        frames, skips = read(write(tmp_path / "a.mp4", count=3), Span(start=3))
        assert (frames, skips.counts) == ([], {"span_empty": 1})

    @pytest.mark.parametrize("span", [{"start": -1}, {"start": 3, "end": 3}, {"stride": 0}])
    def test_spans_that_hold_nothing(self, span: dict[str, int]) -> None:
        with pytest.raises(UsageError, match="start < end"):
            Span(**span)

    def test_damage_in_the_middle(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.mp4", count=36, key_every=12, codec="h264", lossless=False)
        begin, size = places(path)[14]
        data = bytearray(path.read_bytes())
        data[begin : begin + size] = b"\xff" * size
        path.write_bytes(data)
        (tmp_path / "b.mp4").write_bytes(b"no video at all")
        frames, skips = read(tmp_path)
        assert {*range(12), *range(24, 36)} <= {frame.index for frame in frames}
        assert skips.counts == {"frame_corrupt": 36 - len(frames), "video_broken": 1}
