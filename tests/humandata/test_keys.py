from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import webdataset as wds
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import UsageError
from hmtools.humandata.keys import Key, image_key, key_decode, key_encode

anything = st.characters(exclude_categories=["Cs"])
awkward = st.sampled_from(
    [*"/%.\\ \t\n\r\0_-\u00a0\u2028\u202e\ufeff\x7f\x85é日🙂*?\"'<>|{}[]$`~", "%2F", "__"]
)
names = st.text(anything, min_size=1) | st.lists(awkward, min_size=1, max_size=6).map("".join)
numbers = st.integers(0, 2**31 - 1)
keys = st.builds(Key, names, names, names, numbers, numbers)
thorough = settings(max_examples=200, deadline=None)


def encoded(key: Key) -> str:
    return key_encode(key.dataset, key.split, key.sequence, key.frame, key.person)


@given(keys)
@thorough
def test_decoding_is_the_inverse(key: Key) -> None:
    assert key_decode(encoded(key)) == key


@given(keys, keys)
@thorough
def test_different_people_have_different_keys(one: Key, other: Key) -> None:
    assert (encoded(one) == encoded(other)) == (one == other)


@given(names, names)
@thorough
def test_names_never_run_into_each_other(one: str, other: str) -> None:
    """The slash that parts two names is never one of theirs."""
    found = {key_encode(*parts, 0, 0) for parts in ((one, other, "s"), (f"{one}/{other}", "x", "s"))}
    assert len(found) == 2
    assert key_encode("d", "s", f"{one}/{other}", 0, 0) != key_encode("d", f"s/{one}", other, 0, 0)


@given(keys)
@thorough
def test_keys_are_safe_names(key: Key) -> None:
    text = encoded(key)
    parts = text.split("/")
    assert len(parts) >= 4
    assert all(parts), "no empty path component, no leading or trailing slash"
    assert "." not in text
    assert "\\" not in text
    assert text.isprintable()
    assert not re.search(r"\s", text)
    assert PurePosixPath(text).parts == tuple(parts)
    assert text == image_key(key.dataset, key.split, key.sequence, key.frame) + f"_{key.person}"


@given(st.lists(keys, min_size=1, max_size=4, unique=True))
@settings(max_examples=40, deadline=None)
def test_webdataset_finds_each_sample_under_its_key(found: list[Key]) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for key in found:
            for extension in ("jpg", "npz"):
                member = tarfile.TarInfo(f"{encoded(key)}.{extension}")
                member.size = 1
                archive.addfile(member, io.BytesIO(b"x"))
    buffer.seek(0)
    files = wds.tariterators.tar_file_expander([{"url": "a.tar", "stream": buffer}])
    samples: list[dict[str, Any]] = list(wds.tariterators.group_by_keys(files))
    assert [sample["__key__"] for sample in samples] == [encoded(key) for key in found]
    assert all({"jpg", "npz"} <= set(sample) for sample in samples)


def test_keys_work_as_files(tmp_path: Path) -> None:
    for sequence in ("../../escape", "/absolute", "a//b", "..", ".", "dots.and blanks", "日本/🙂", "ends/"):
        path = tmp_path / f"{key_encode('..', '.', sequence, 3, 0)}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        assert path.resolve().is_relative_to(tmp_path)
        assert key_decode(path.relative_to(tmp_path).with_suffix("").as_posix()).sequence == sequence


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("mscoco", "val2017", "val2017", 12, 0), "mscoco/val2017/val2017/000012_0"),
        (("a", "b", "x/y", 1_000_000, 13), "a/b/x/y/1000000_13"),
        (("a", "b", "courtyard_0.avi", 1, 1), "a/b/courtyard_0%2Eavi/000001_1"),
        (("a/b", "c/d", "e", 0, 0), "a%2Fb/c%2Fd/e/000000_0"),
        (("a", "b", "/x//y/", 0, 0), "a/b/%2Fx/%2Fy%2F/000000_0"),
        (("a", "b", "..", 0, 0), "a/b/%2E%2E/000000_0"),
        (("a", "b", "100% sure", 0, 0), "a/b/100%25%20sure/000000_0"),
        (("a", "b", "tab\tnul\0", 0, 0), "a/b/tab%09nul%00/000000_0"),
        (("a", "b", "naïve 日本", 0, 0), "a/b/naïve%20日本/000000_0"),
        (("__mine__", "b", "__c__", 0, 0), "%5F_mine__/b/__c__/000000_0"),
    ],
)
def test_keys_in_figures(parts: tuple[str, str, str, int, int], expected: str) -> None:
    assert key_encode(*parts) == expected
    assert key_decode(expected) == Key(*parts)


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        (("", "b", "c", 0, 0), "dataset of a key is empty"),
        (("a", "", "c", 0, 0), "split of a key is empty"),
        (("a", "b", "", 0, 0), "sequence of a key is empty"),
        (("a", "b", "c", -1, 0), "frame of a key counts from 0, found -1"),
        (("a", "b", "c", 0, -2), "person of a key counts from 0, found -2"),
        (("a", "b", "half \ud800 pair", 0, 0), "not valid Unicode"),
        (("\udfff", "b", "c", 0, 0), "not valid Unicode"),
    ],
)
def test_what_has_no_key(parts: tuple[str, str, str, int, int], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        key_encode(*parts)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a/b/000001_0",
        "a/b/c/1_0",
        "a/b/c/000001",
        "a/b/c/000001_",
        "a/b/c/000001_0\n",
        "a/b/c/000001_-1",
        "a/b/c/0000001_0",  # seven digits only where six do not do
        "a/b/c/000001_00",
        "a/b/c/\u0661" + 5 * "0" + "_0",
        "a/b/c/" + "9" * 5000 + "_0",
        "a/b/c/000001_" + "9" * 5000,
        "/b/c/d/000001_0",
        "a//c/000001_0",
        "a/b//000001_0",
        "a/b/c//d/000001_0",
        "a/b/../000001_0",
        "a/b/c d/000001_0",
        "a/b/c.d/000001_0",
        "a/b/%61/000001_0",  # encoded without need
        "a/b/%2e/000001_0",  # lower case
        "a/b/c%2Fd/000001_0",  # a slash that need not be encoded
        "a/b/%/000001_0",
        "a/b/%zz/000001_0",
        "a/b/%FF/000001_0",
        "a/b/%ED%A0%80/000001_0",
        "a/b/\ud800/000001_0",
        "__a__/b/c/000001_0",
    ],
)
def test_only_canonical_keys_are_decoded(text: str) -> None:
    with pytest.raises(UsageError):
        key_decode(text)


@given(st.text() | st.lists(awkward, max_size=12).map(lambda parts: "".join(parts) + "/000001_2"))
@thorough
def test_any_text_is_a_key_or_a_usage_error(text: str) -> None:
    try:
        found = key_decode(text)
    except UsageError:
        return
    assert encoded(found) == text
