from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.atomic import AtomicFile
from hmtools.core.errors import SchemaError, UnsafeFileError
from hmtools.shards.tar import TarWriter, _header, iter_members

Members = Sequence[tuple[str, bytes]]

NAMES = [
    "mini/val/seq/000000.jpg",
    "x" * 100,
    "y" * 101,
    "long/" + "z" * 120 + ".npz",
    "/".join(["folder" * 8] * 8) + ".json",  # > 255
    "ünï/" + "ö" * 60 + ".jpg",  # 60 characters, 120 bytes
]
SIZES = [1000, 0, 512, 513, 1, 7]
MEMBERS: Members = [(name, bytes([size % 251]) * size) for name, size in zip(NAMES, SIZES, strict=True)]


def write(path: Path, members: Members = MEMBERS) -> list[int]:
    with AtomicFile(path) as file:
        tar = TarWriter(file)
        offsets = [tar.add(name, data) for name, data in members]
        tar.finish()
    return offsets


def foreign(path: Path, name: str, **fields: Any) -> Path:
    """A tar with a good member and one that no writer of ours makes."""
    with tarfile.open(path, "w", format=fields.pop("format", tarfile.GNU_FORMAT)) as archive:
        for member in (tarfile.TarInfo("good.jpg"), tarfile.TarInfo(name)):
            member.size = 3
            if member.name == name:
                for key, value in fields.items():
                    setattr(member, key, value)
            archive.addfile(member, io.BytesIO(b"abc"))
    return path


def test_members_come_back_with_their_offsets(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    offsets = write(path)
    found = list(iter_members(path))
    assert [(name, data) for name, _, data in found] == list(MEMBERS)
    assert [offset for _, offset, _ in found] == offsets
    content = path.read_bytes()
    for offset, (_, data) in zip(offsets, MEMBERS, strict=True):
        assert content[offset : offset + len(data)] == data
    assert len(content) % 512 == 0


def test_bytes_depend_on_the_members_alone(tmp_path: Path) -> None:
    write(tmp_path / "a.tar")
    (tmp_path / "other").mkdir()
    write(tmp_path / "other" / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "other" / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as archive:
        facts = {(m.mode, m.uid, m.gid, m.uname, m.gname, m.mtime) for m in archive}
    assert facts == {(0o644, 0, 0, "", "", 0)}


@settings(deadline=None)
@given(
    name=st.text(st.characters(exclude_characters="\0", exclude_categories=()), min_size=1, max_size=60)
    | st.sampled_from([*NAMES, "é" * 50, "é" * 50 + "x"]),
    size=st.sampled_from([0, 1, 8**11 - 1, 8**11]) | st.integers(0, 8**12),
)
def test_headers_are_those_of_tarfile(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    try:
        expected = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character
        with pytest.raises(UnicodeEncodeError):
            _header(name, size)
        return
    assert _header(name, size) == expected


def test_tarfile_reads_it(tmp_path: Path) -> None:
    write(tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as archive:
        for member, (name, data) in zip(archive, MEMBERS, strict=True):
            stream = archive.extractfile(member)
            assert stream is not None
            assert (member.name, stream.read()) == (name, data)


@pytest.mark.skipif(shutil.which("tar") is None, reason="no tar command here")
def test_the_tar_command_reads_it(tmp_path: Path) -> None:
    write(tmp_path / "a.tar")
    listed = subprocess.run(["tar", "tf", "a.tar"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert listed.stderr == ""
    assert len(listed.stdout.splitlines()) == len(MEMBERS)
    subprocess.run(["tar", "xf", "a.tar", NAMES[2]], cwd=tmp_path, check=True)
    assert (tmp_path / NAMES[2]).read_bytes() == MEMBERS[2][1]


def test_an_archive_without_members(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", [])
    assert list(iter_members(tmp_path / "a.tar")) == []


def test_padding_of_other_writers_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:  # pads to 10240 bytes
        archive.addfile(tarfile.TarInfo("a.jpg"))
    assert path.stat().st_size == 10240
    assert [name for name, _, _ in iter_members(path)] == ["a.jpg"]


def test_the_announced_size_is_never_too_small(tmp_path: Path) -> None:
    for count in range(len(MEMBERS) + 1):
        with AtomicFile(tmp_path / "a.tar") as file:
            tar = TarWriter(file)
            tar.add("first.jpg", b"x")
            announced = tar.size_with(MEMBERS[:count])
            for name, data in MEMBERS[:count]:
                tar.add(name, data)
            tar.finish()
        assert file.size <= announced <= file.size + 4096 * count


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("../x.jpg", {}),
        ("a/../../x.jpg", {}),
        ("/etc/x.jpg", {}),
        ("a\\..\\x.jpg", {}),
        ("x.jpg", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
        ("x.jpg", {"type": tarfile.LNKTYPE, "linkname": "../x"}),
        ("x.jpg", {"type": tarfile.CHRTYPE}),
        ("x.jpg", {"type": tarfile.BLKTYPE}),
        ("x.jpg", {"type": tarfile.FIFOTYPE}),
        ("x", {"type": tarfile.DIRTYPE}),
        ("x.jpg", {"type": tarfile.CONTTYPE}),
        ("../" + "x" * 300, {}),
        ("../ü.jpg", {"format": tarfile.PAX_FORMAT}),
    ],
)
def test_hostile_members_are_refused_by_name(tmp_path: Path, name: str, fields: dict[str, Any]) -> None:
    members = iter_members(foreign(tmp_path / "evil.tar", name, **fields))
    assert next(members)[0] == "good.jpg"
    with pytest.raises(UnsafeFileError) as caught:
        next(members)
    assert repr(name) in str(caught.value)
    assert "evil.tar" in str(caught.value)


@pytest.mark.skipif(shutil.which("tar") is None, reason="no tar command here")
@pytest.mark.parametrize("style", ["gnu", "posix"])
def test_sparse_members_are_refused(tmp_path: Path, style: str) -> None:
    """Their bytes do not lie at the offset, and a few of them can claim terabytes."""
    with (tmp_path / "x.jpg").open("wb") as file:
        file.truncate(1 << 30)
    subprocess.run(["tar", "cSf", "a.tar", f"--format={style}", "x.jpg"], cwd=tmp_path, check=True)
    with pytest.raises(UnsafeFileError, match=r"x\.jpg"):
        list(iter_members(tmp_path / "a.tar"))


def test_no_archive_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    for data in (b"", b"no tar", b"x" * 4096, bytes(512)):
        path.write_bytes(data)
        with pytest.raises(SchemaError, match=r"a\.tar"):
            list(iter_members(path))


def test_truncated_anywhere_is_never_silent(tmp_path: Path) -> None:
    """Cuts at a member's border too, where a tar reader sees an ordinary end."""
    path = tmp_path / "a.tar"
    write(path, [("a.jpg", b"a" * 700), ("b" * 120, b"b" * 512), ("c.json", b"")])
    whole = path.read_bytes()
    for size in {*range(0, len(whole), 37), *range(0, len(whole), 256), *range(511, len(whole), 512)}:
        path.write_bytes(whole[:size])
        with pytest.raises(SchemaError, match=r"a\.tar.*(copy|convert) it again"):
            list(iter_members(path))


@pytest.mark.parametrize("hole", [bytes(512), bytes(1024), b"\xff" * 512])
def test_damage_inside_is_not_taken_for_the_end(tmp_path: Path, hole: bytes) -> None:
    """Zeros where a header was (what a crash leaves in a file) look like the end of an archive."""
    path = tmp_path / "a.tar"
    offsets = write(path, [(f"{n}.jpg", b"x" * 1000) for n in range(4)])
    content = bytearray(path.read_bytes())
    content[offsets[2] - 512 : offsets[2] - 512 + len(hole)] = hole
    path.write_bytes(content)
    with pytest.raises(SchemaError, match=r"a\.tar"):
        list(iter_members(path))


def extended(kind: bytes, size: bytes) -> bytes:
    """A header of some kind whose size field is ``size`` (12 bytes)."""
    header = bytearray(512)
    header[:5], header[124:136], header[156:157], header[257:265] = b"x.jpg", size, kind, b"ustar  \0"
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * 32)
    return bytes(header)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "a size beyond the file": lambda: extended(b"0", b"77777777777\0") + bytes(2048),
    "a size of an exabyte": lambda: extended(b"0", b"\x80" + bytes(3) + b"\x10" + bytes(7)) + bytes(2048),
    "a negative size": lambda: extended(b"0", b"\xff" * 10 + b"\xfc\x00") + bytes(2048),
    "a negative long name": lambda: extended(b"L", b"\xff" * 10 + b"\xfc\x00") + bytes(2048),
    "long names without end": lambda: extended(b"L", b"00000000000\0") * 5000 + bytes(1024),
    "a pax header that is no text": lambda: extended(b"x", b"00000000010\0") + b"\xff" * 512 + bytes(1024),
    "a sparse map of rubbish": lambda: extended(b"S", b"00000000000\0") + b"\xff" * 512 + bytes(1024),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_headers(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(HOSTILE[what]())
    with pytest.raises((SchemaError, UnsafeFileError), match=r"a\.tar"):
        list(iter_members(path))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_is_never_a_silent_loss(tmp_path_factory: Any, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.tar"
    write(path, [("a.jpg", b"a"), ("b" * 120, b"b")])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        found = list(iter_members(path))
    except (SchemaError, UnsafeFileError):
        return
    assert len(found) == 2  # checksums let only data (and the long name) change unseen
