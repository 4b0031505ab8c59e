"""Pictures and videos of predictions: true bodies over the very pictures that they are in."""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.core.errors import LayoutError, UsageError
from hmtools.core.image import decode_rgb, encode_jpeg, encode_png
from hmtools.datasets.video import VideoReader, timestamps
from hmtools.infer import render
from hmtools.infer.outputs.pictures import Picture
from hmtools.infer.outputs.video import VideoFile
from hmtools.infer.outputs.views import BACKGROUND, over_picture
from hmtools.infer.render import RenderOptions, render_predictions
from hmtools.synth import Truth, read_truth
from hmtools.viz.mesh import Camera, Mesh
from hmtools.viz.shade import render as drawn
from tests.bench.testset_shards import shared_test_sets
from tests.infer.outputs.predicted import WIDE, person, standin_bodies, write_table

GREY = np.full((WIDE[1], WIDE[0], 3), 90, np.uint8)
COLUMNS = (
    *("key", "dataset", "split", "image_path", "height", "width", "gender", "kid", "bbox_xywh"),
    *("focal_length", "principal_point"),
)


def frames_of(path: Path) -> list[np.ndarray]:
    with VideoReader(path) as reader:
        return [reader.frame(index)[..., ::-1] for index in range(len(reader))]


def changed(image: np.ndarray) -> np.ndarray:
    """Where a drawn picture is not grey any more."""
    return np.asarray(np.abs(image.astype(int) - 90).max(axis=-1) > 12)


def silhouettes(truth: Truth, file: str, names: Sequence[str], faces: Any) -> np.ndarray:
    """Where some bodies of an image are, by its truth alone."""
    mask = None
    for each in truth.people:
        if each.file != file or each.source_id not in names:
            continue
        image = next(image for image in truth.images if image.file == file)
        camera = Camera(
            focal_length=each.columns["focal_length"],
            principal_point=each.columns["principal_point"],
            width=image.width,
            height=image.height,
        )
        own = drawn([Mesh(vertices=np.asarray(each.vertices, np.float64), faces=faces)], camera).mask
        mask = own if mask is None else mask | own
    assert mask is not None
    return mask


def test_true_bodies_cover_the_people_of_the_picture(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = shared_test_sets(tmp_path_factory)
    shards = sets["agora"]
    truth = read_truth(sets.root / "raw" / "agora")
    rows, names = [], defaultdict(list)
    for record in (shards.row(number) for number in range(len(shards))):
        body = {name: value for name, value in record.items() if name.startswith("smplx_")}
        body |= {name: body[name][:10] for name in ("smplx_betas", "smplx_expression")}
        rows.append({name: record[name] for name in COLUMNS} | body)
        names[record["image_path"]].append(record["source_id"])
    assert any(row["kid"] for row in rows), "children, too"
    assert shards.manifest.body_model is not None
    sha256 = shards.manifest.body_model["sha256"]
    path = write_table(tmp_path / "p.parquet", rows, body_sha256=sha256)
    asked = over_picture
    monkeypatch.setattr(  # on black, so that the drawn pixels are known
        render, "over_picture", lambda p, *rest: asked(Picture(p.image * 0, p.affine), *rest)
    )
    done = render_predictions(path, "overlay", tmp_path / "out", shards=shards.path)
    assert len(done.files) == len({row["image_path"] for row in rows})
    faces = standin_bodies(path).layer("neutral").model.faces
    by_label = {row["key"].rpartition("_")[0].rpartition("/")[2]: row["image_path"] for row in rows}
    for file in done.files:
        image = by_label[file.name.removesuffix("_overlay.png")]
        drawn = decode_rgb(file.read_bytes())
        shown = drawn.any(axis=-1)
        bodies = drawn[shown].astype(float)
        assert np.median(bodies.min(axis=1) / bodies.max(axis=1)) < 0.4, "vivid, as no synthetic person is"
        true = silhouettes(truth, image, names[image], faces)
        assert (shown & true).sum() / (shown | true).sum() >= 0.9
    with pytest.raises(UsageError, match="another person there"):
        render_predictions(write_table(path, rows, body_sha256="ab" * 32), "side", tmp_path / "out")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grey video of 10 frames at uneven times, and predictions of frames 2, 4 and 8 of it."""
    folder = tmp_path_factory.mktemp("clip")
    with VideoFile(folder / "clip.mp4", 10) as video:
        for index in range(10):
            video.write(GREY, index / 10 + 0.02 * (index % 2))
    rows = [person(1, frame=frame) for frame in (2, 4, 8)]
    rows.append(person(2, frame=4, track_id="2", smplx_transl=[1.8, 0.2, 5], bbox_xywh=[220, 60, 60, 120, 1]))
    write_table(folder / "p.parquet", rows)
    return folder / "p.parquet"


def test_a_video_goes_on_where_nobody_is(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "mesh.mp4"
    done = render_predictions(clip, "overlay", out, media=clip.parent)
    assert done.files == [out]
    assert (done.frames, done.skips.counts) == (4, {})
    np.testing.assert_allclose(timestamps(out), [0, 0.2, 0.4, 0.6], atol=1e-3)
    shown = [changed(image) for image in frames_of(out)]
    assert [mask.mean() > 0.02 for mask in shown] == [True, True, False, True]
    assert shown[1][:, 280:].sum() > 100, "the second person"
    alone = RenderOptions(biggest=True, fps=50, size=160)
    done = render_predictions(clip, "overlay", out, media=clip.parent / "clip.mp4", options=alone)
    np.testing.assert_allclose(timestamps(out), np.array([0, 2, 4, 6]) / 50, atol=1e-3)
    small = frames_of(out)
    assert small[0].shape == (120, 160, 3)
    assert not changed(small[1])[:, 140:].any()


def test_sides_need_no_pictures(clip: Path, tmp_path: Path) -> None:
    for view, size in (("side", 720), ("multiview", 1024)):
        done = render_predictions(clip, view, tmp_path, options=RenderOptions(fps=30))
        assert [file.name for file in done.files] == [f"clip_{view}.mp4"]
        images = frames_of(done.files[0])
        assert len(images) == 3
        assert images[0].shape == (size, size, 3)
        far = np.abs(images[0].astype(int) - BACKGROUND).max(axis=-1) > 20
        assert 0.02 < far.mean() < 0.5


def test_photographs_missing_ones_and_copies_of_other_size(tmp_path: Path) -> None:
    half = encode_jpeg(GREY[::2, ::2])
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(half)
    (folder / "b.png").write_bytes(encode_png(GREY))
    (folder / "wide.png").write_bytes(encode_png(GREY[:100]))
    (folder / "broken.jpg").write_bytes(half[:500])
    (tmp_path / "c.png").write_bytes(encode_png(GREY))  # not in the folder, so none of our business
    names = ["a.jpg", "b.png", "wide.png", "broken.jpg", "gone.jpg", "../c.png"]
    rows = [person(1, source=name, track_id=None) for name in names]
    rows += [person(1, source="b.png", track_id=None, focal_length=None)]
    rows += [person(1, source="b.png", track_id=None, smplx_body_pose=None)]
    path = write_table(tmp_path / "p.parquet", rows)
    inside = tmp_path / "out"
    done = render_predictions(path, "overlay", inside, media=folder)
    assert sorted(file.name for file in done.files) == ["a_overlay.jpg", "b_overlay.png"]
    assert done.skips.counts == {
        **{"picture_of_other_size": 1, "image_truncated": 1, "media_missing": 2, "no_camera": 1, "no_body": 1}
    }
    small, large = (changed(decode_rgb(file.read_bytes())) for file in sorted(done.files))
    assert small.shape == (120, 160)
    both = small | large[::2, ::2]
    assert (small & large[::2, ::2]).sum() / both.sum() > 0.85
    lost = write_table(tmp_path / "q.parquet", rows[4:5])
    with pytest.raises(LayoutError, match=r"nothing could be drawn: gone\.jpg frame 0: media_missing"):
        render_predictions(lost, "overlay", inside, media=folder)
    lost = write_table(tmp_path / "q.parquet", [{**rows[4], "source": f"gone{n}.jpg"} for n in range(3)])
    with pytest.raises(LayoutError, match=r"--media names its folder \(and 2 more\)$"):
        render_predictions(lost, "overlay", inside, media=folder)


def test_a_folder_of_frames_is_one_video(tmp_path: Path) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    for number in range(3):
        (folder / f"{9 + number}.png").write_bytes(encode_png(GREY + 40 * number))
    rows = [person(1, source="shots", frame=frame) for frame in (0, 2, 7)]
    path = write_table(tmp_path / "p.parquet", rows, fps={"shots": 12})
    done = render_predictions(path, "overlay", tmp_path / "o.mp4", media=tmp_path)
    assert done.skips.counts == {"frame_missing": 1}
    np.testing.assert_allclose(timestamps(done.files[0]), [0, 2 / 12], atol=1e-3)
    corner = [int(image[5, 5, 0]) for image in frames_of(done.files[0])]
    np.testing.assert_allclose(corner, [90, 170], atol=3)


def test_a_full_disk_costs_the_file_that_is_written(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clip.parent / "other.mp4").write_bytes((clip.parent / "clip.mp4").read_bytes())
    rows = [person(1, source=name, frame=frame) for name in ("clip.mp4", "other.mp4") for frame in (0, 1)]
    path = write_table(tmp_path / "p.parquet", rows)
    write, calls = VideoFile.write, iter(range(4))

    def full(self: VideoFile, *arguments: Any) -> None:
        if next(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(self.path))
        write(self, *arguments)

    monkeypatch.setattr(VideoFile, "write", full)
    with pytest.raises(OSError, match=r"No space left on device.*other_overlay\.mp4"):
        render_predictions(path, "overlay", tmp_path / "out", media=clip.parent)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["clip_overlay.mp4"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"view": "overlap"}, "did you mean 'overlay'"),
        ({"media": Path(), "shards": Path()}, "give one"),
        ({"out": Path("picture.png")}, "has 3 frames; expected .mp4"),
        ({"shards": Path("nowhere")}, "no converted split"),
        ({"media": Path("nowhere")}, "no such file or folder"),
    ],
)
def test_what_cannot_be_meant(clip: Path, tmp_path: Path, arguments: dict[str, Any], error: str) -> None:
    given = {"view": "overlay", "out": tmp_path, **arguments}
    with pytest.raises((UsageError, LayoutError), match=error):
        render_predictions(clip, **given)
    with pytest.raises(UsageError, match="--size"):
        RenderOptions(size=5)
