from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from hmtools.core.atomic import AtomicFile, file_sha256
from hmtools.core.errors import LayoutError, SchemaError, UnsafeFileError
from hmtools.core.image import decode_rgb
from hmtools.humandata.record import Record
from hmtools.humandata.schema import RecordSpec
from hmtools.shards.index import part_tables
from hmtools.shards.npz import npz_bytes
from hmtools.shards.rebuild import IMAGE_EXTENSIONS, iter_samples, rebuild_tables
from hmtools.shards.tar import TarWriter, iter_members

RecordMaker = Callable[..., Record]
SplitMaker = Callable[..., Path]


@pytest.fixture(scope="module")
def frames(make_record: RecordMaker) -> Sequence[Sequence[Record]]:
    """Frames of one to three people, in all ways to store them; 2 x 257 people."""
    operations = ["none", "rot90cw", "rot90ccw", "hflip"]
    return [
        [
            make_record(frame, person, image_op=operations[frame % 4], track_id=f"t{person}")
            for person in range(frame % 3 + 1)
        ]
        for frame in range(257)
    ]


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: file_sha256(path) for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("images", ["crop", "full"])
@pytest.mark.parametrize("lost", ["everything", "one part", "nothing"])
def test_the_tars_hold_everything(
    tmp_path: Path,
    make_split: SplitMaker,
    spec: RecordSpec,
    frames: Sequence[Sequence[Record]],
    images: str,
    lost: str,
) -> None:
    whole = lost == "everything" and images == "full"  # the rest of the cases need no batches
    folder = make_split(tmp_path, frames if whole else frames[:9], images=images, units=1 if whole else 3)
    before = hashes(folder)
    tables = [*part_tables(folder), folder / "index.arrow", folder / "tracks.arrow"]
    for path in {"everything": tables, "one part": tables[1:2], "nothing": []}[lost]:
        path.unlink()
    facts = rebuild_tables(folder, spec)
    assert hashes(folder) == before
    assert (facts.index_sha256, facts.tracks_sha256) == (before["index.arrow"], before["tracks.arrow"])
    assert facts.duplicates == []


def test_samples_of_a_tar(tmp_path: Path, make_split: SplitMaker, frames: Sequence[Sequence[Record]]) -> None:
    folder = make_split(tmp_path, frames[:4], images="full")
    tar = folder / "mini-val-u00000-000.tar"
    content, samples = tar.read_bytes(), list(iter_samples(tar))
    assert [sample.name for sample in samples] == [f"mini/val/seq/a/{frame:06d}" for frame in range(4)]
    assert [sample.extension for sample in samples] == ["png", "jpg", "png", "jpg"]
    for sample, people in zip(samples, frames, strict=False):
        assert content[sample.offset : sample.offset + len(sample.image)] == sample.image
        assert decode_rgb(sample.image).size == 64 * 96 * 3
        found = sample.records(tar.name)
        assert [record.key for record in found] == [record.key for record in people]
        places = {(record.shard, record.offset, record.nbytes) for record in found}
        assert places == {(tar.name, sample.offset, len(sample.image))}


def test_a_split_without_tars(
    tmp_path: Path, make_split: SplitMaker, spec: RecordSpec, make_record: RecordMaker
) -> None:
    folder = make_split(tmp_path, [[make_record(0)]], images="none")
    before = hashes(folder)
    with pytest.raises(LayoutError, match=r"no tars to rebuild from.*convert it again"):
        rebuild_tables(folder, spec)
    assert hashes(folder) == before


def test_rows_without_an_image_are_never_lost(
    tmp_path: Path, make_split: SplitMaker, spec: RecordSpec, make_record: RecordMaker
) -> None:
    """No tar holds them, so the tables that do must stay."""
    folder = make_split(tmp_path, [[make_record(frame)] for frame in range(6)], units=2, lost=[4])
    before = hashes(folder)
    rows = {f"mini-val-u0000{unit}-000.tar": 3 for unit in range(2)}
    with pytest.raises(SchemaError, match=r"u00001-000\.tar: holds 2 records, the manifest says 3"):
        rebuild_tables(folder, spec, rows)
    assert hashes(folder) == before


def rewrite(tar: Path, change: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]]) -> None:
    members = [(name, data) for name, _, data in iter_members(tar)]
    with AtomicFile(tar) as file:
        writer = TarWriter(file)
        for name, data in change(members):
            writer.add(name, data)
        writer.finish()


def renamed(members: list[tuple[str, bytes]], number: int, name: str) -> list[tuple[str, bytes]]:
    return [(name if i == number else old, data) for i, (old, data) in enumerate(members)]


def refilled(members: list[tuple[str, bytes]], number: int, data: bytes) -> list[tuple[str, bytes]]:
    return [(name, data if i == number else old) for i, (name, old) in enumerate(members)]


BAD_BOX = npz_bytes({"bbox_xywh": np.zeros(4, np.float32)})
DAMAGES: dict[str, tuple[Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]], str]] = {
    "no json": (lambda m: [*m[:2], *m[3:]], r"unexpected member 'mini/val/seq/a/000001_0\.jpg'"),
    "no npz": (lambda m: [m[0], *m[2:]], r"unexpected member 'mini/val/seq/a/000000_0\.json'"),
    "no image": (lambda m: m[1:], r"unexpected member 'mini/val/seq/a/000000_0\.npz'"),
    "ends early": (lambda m: m[:-1], r"ends inside sample 'mini/val/seq/a/000001_0'"),
    "only an image": (lambda m: m[:-2], r"ends inside sample 'mini/val/seq/a/000001_0'"),
    "another order": (lambda m: [m[0], m[2], m[1], *m[3:]], r"unexpected member '.*\.json'"),
    "twice": (lambda m: [*m[:2], *m[1:]], r"unexpected member '.*\.npz'"),
    "a mixed sample": (lambda m: renamed(m, 2, "x.json"), r"unexpected member 'x\.json'"),
    "a foreign file": (lambda m: [*m, ("README", b"")], "unexpected member 'README'"),
    "a foreign image": (lambda m: renamed(m, 0, "x.gif"), r"unexpected member 'x\.gif'"),
    "broken json": (lambda m: refilled(m, 2, b"{"), r"u00000-000\.tar.*mini/val/seq/a/000000_0"),
    "a wrong shape": (
        lambda m: refilled(m, 4, BAD_BOX),
        r"u00000-000\.tar.*mini/val/seq/a/000001_0.*bbox_xywh",
    ),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_tars_that_are_not_ours(
    tmp_path: Path, make_split: SplitMaker, spec: RecordSpec, make_record: RecordMaker, what: str
) -> None:
    folder = make_split(tmp_path, [[make_record(0)], [make_record(1)]])
    tar = folder / "mini-val-u00000-000.tar"
    change, message = DAMAGES[what]
    rewrite(tar, change)
    before = hashes(folder)
    with pytest.raises(SchemaError, match=message) as caught:
        rebuild_tables(folder, spec)
    assert str(tar) in str(caught.value)
    assert hashes(folder) == before  # tables are replaced by whole ones or not at all


def test_a_truncated_tar_changes_no_table(
    tmp_path: Path, make_split: SplitMaker, spec: RecordSpec, make_record: RecordMaker
) -> None:
    """Also when it ends between two samples."""
    folder = make_split(tmp_path, [[make_record(0)], [make_record(1)]])
    tar = folder / "mini-val-u00000-000.tar"
    content = tar.read_bytes()
    second = list(iter_samples(tar))[1].offset - 512
    for size in (second, second + 700, len(content) - 1024, len(content) - 1):
        tar.write_bytes(content[:size])
        before = hashes(folder)
        with pytest.raises(SchemaError, match=r"u00000-000\.tar"):
            rebuild_tables(folder, spec)
        assert hashes(folder) == before


def test_a_hostile_tar_changes_nothing(
    tmp_path: Path, make_split: SplitMaker, spec: RecordSpec, make_record: RecordMaker
) -> None:
    folder = make_split(tmp_path, [[make_record(0)]])
    with tarfile.open(folder / "mini-val-u00000-000.tar", "w") as archive:
        member = tarfile.TarInfo("../../outside.jpg")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    before = hashes(folder)
    with pytest.raises(UnsafeFileError, match=r"outside\.jpg"):
        rebuild_tables(folder, spec)
    assert hashes(folder) == before
    assert not (tmp_path / "outside.jpg").exists()


def test_images_are_of_two_kinds() -> None:
    assert IMAGE_EXTENSIONS == ("jpg", "png")
