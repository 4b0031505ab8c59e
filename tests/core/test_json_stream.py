from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hmtools.core import json_stream
from hmtools.core.errors import LayoutError
from hmtools.core.json_stream import Broken, Element, iter_elements, read_element

fast = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["]]}", "[{", 'a "quoted" }', "back\\slash\\", '\\"', "ünï", "日本", "\u2028", "\x7f", "\t\n"]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | texts
    | st.sampled_from([float("inf"), -float("inf"), 1e300, -0.0, 12.5, 1e-7])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
# "-0." ends as a number does that something else follows
CUT = (
    r"annotations\.json: not valid JSON near byte \d+ \((the file ends|expected one of . [\]}], found '[.e]')"
)
documents = st.dictionaries(texts, st.lists(values, max_size=4) | values, max_size=4)


def written(folder: Path, data: bytes | str) -> Path:
    path = folder / "annotations.json"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def rebuilt(path: Path) -> dict[str, Any]:
    """The document, put together from the byte ranges of its elements (empty arrays yield none)."""
    found: dict[str, Any] = {}
    with path.open("rb") as file:
        for element in iter_elements(path):
            value = read_element(file.fileno(), element.start, element.end)
            if element.index < 0:
                found[element.key] = value
            else:
                assert len(found.setdefault(element.key, [])) == element.index
                found[element.key].append(value)
    return found


@given(
    document=documents,
    chunk=st.integers(1, 40),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 0, 2]),
    bom=st.booleans(),
)
@fast
def test_equal_to_the_json_module(
    document: dict[str, Any],
    chunk: int,
    ascii_only: bool,
    indent: int | None,
    bom: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    path = written(tmp_path, b"\xef\xbb\xbf" * bom + text.encode() + b"\n")
    assert rebuilt(path) == {key: value for key, value in json.loads(text).items() if value != []}


@given(document=documents, chunk=st.integers(1, 40), data=st.data())
@fast
def test_cut_anywhere_is_a_layout_error(
    document: dict[str, Any],
    chunk: int,
    data: st.DataObject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    text = json.dumps(document).encode()
    length = data.draw(st.integers(0, len(text) - 1))
    path = written(tmp_path, text[:length])
    with pytest.raises(LayoutError, match=CUT):
        list(iter_elements(path))


def test_ranges_are_those_of_the_file(tmp_path: Path) -> None:
    text = '{ "info": {"year": 2017},\n "images": [ {"id": 1} , [2] ,3.5],"none": [ ], "n": 7 }'
    found = list(iter_elements(written(tmp_path, text)))
    assert [(e.key, e.index, text[e.start : e.end]) for e in found] == [
        ("info", -1, '{"year": 2017}'),
        ("images", 0, '{"id": 1}'),
        ("images", 1, "[2]"),
        ("images", 2, "3.5"),
        ("n", -1, "7"),
    ]
    assert [e.value for e in found] == [{"year": 2017}, {"id": 1}, [2], None, 7]  # a scan makes no floats


def test_ranges_count_bytes_not_characters(tmp_path: Path) -> None:
    path = written(tmp_path, '\ufeff{"ключ": [{"name": "façade"}, {"name": "日本"}]}')
    first, second = iter_elements(path)
    assert first.key == second.key == "ключ", "keys are decoded"
    assert first.value == {"name": "faÃ§ade"}, "values are Latin-1: only numbers of them may be used"
    with path.open("rb") as file:
        assert read_element(file.fileno(), first.start, first.end) == {"name": "façade"}
        assert read_element(file.fileno(), second.start, second.end) == {"name": "日本"}


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 8 << 20])
@pytest.mark.parametrize(
    "row",
    [
        '{"id": 2,}',
        '{"id": nul}',
        "{'id': 2}",
        '{"id": 2 "x": 3}',
        '{"box": [1, 2,, 3]}',
        '{"a": "\x01"}',
        r'"bad \escape"',
        "[1 2]",
        '{"a": ' + "9" * 5000 + "}",
        "[" * 100_000 + "]" * 100_000,
    ],
    ids=lambda row: row[:12],
)
def test_a_broken_row_is_one_bad_row(
    row: str, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    path = written(tmp_path, f'{{"rows": [{{"id": 1}}, {row}, {{"id": "]}}"}}], "more": [4]}}')
    one, bad, three, four = iter_elements(path)
    assert (one.value, three.value, four.value) == ({"id": 1}, {"id": "]}"}, 4)
    assert isinstance(bad.value, Broken)
    assert bad.value.problem
    assert path.read_bytes()[bad.start : bad.end] == row.encode()
    assert (bad.index, three.index) == (1, 2)
    if "[[" not in row:
        with path.open("rb") as file, pytest.raises(ValueError, match=r"."):
            read_element(file.fileno(), bad.start, bad.end)


@pytest.mark.parametrize("chunk", [1, 5, 8 << 20])
@pytest.mark.parametrize(
    ("text", "byte", "problem"),
    [
        ("", 0, "the file ends"),
        ("[1, 2]", 0, "expected one of {"),
        ("version https://git-lfs.github.com/spec/v1", 0, "expected one of {"),
        ('{"a": [1, 2', 11, "the file ends)"),
        ('{"a": [1, 2]', 12, "the file ends"),
        ('{"a": [{"b": 1}, {"c": 2', 17, "the file ends inside"),
        ('{"a": [1 2]}', 9, "expected one of , ]"),
        ('{"a": [1, 2]} {"a": 3}', 14, "something follows the object"),
        ("{} x", 3, "something follows the object"),
        ('{"a": [nothing at all here]}', 7, "Expecting value"),
        ('{"a": [nul, [1], 3, 4, 5, 6, 7]}', 7, "Expecting value"),
        ('{"a": [1,], "b": [2]     }  ', 9, "Expecting value"),
        ('{"a": 1.5.2}', 9, "expected one of , }"),
        ("{1: 2}", 2, "a key must be a string"),
        ('{["a"]: 2}', 6, "a key must be a string"),
        ('{"\\q": 2}', 5, "a key must be a string"),
        ('{"a" 2}', 5, "expected one of :"),
    ],
)
def test_what_is_no_json_object_is_named_with_its_byte(
    text: str, byte: int, problem: str, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    path = written(tmp_path, text)
    with pytest.raises(LayoutError) as error:
        list(iter_elements(path))
    message = str(error.value)
    assert message.startswith(f"{path}: not valid JSON near byte {byte} ({problem}"), message
    assert message.endswith("fetch it again")


def test_a_key_that_is_no_utf8(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="a key must be a string"):
        list(iter_elements(written(tmp_path, b'{"\xff": 2}')))


def test_elements_before_the_damage_come_out(tmp_path: Path) -> None:
    elements: Iterator[Element] = iter_elements(written(tmp_path, '{"a": [{"x": 1}, {"x": 2'))
    assert next(elements).value == {"x": 1}
    with pytest.raises(LayoutError, match="near byte 17"):
        next(elements)


def test_an_endless_element_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", 64)
    monkeypatch.setattr(json_stream, "_LONGEST", 1000)
    path = written(tmp_path, '{"a": [{"text": "never closed, ' + "x" * 100_000)
    with pytest.raises(LayoutError, match=r"near byte 7 \(Unterminated string"):
        list(iter_elements(path))


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path, '{"a": [{"x": 1}]}')
    (element,) = iter_elements(path)
    path.write_text('{"a":   [{"x": 1}]}')
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(ValueError, match=r"."):
            read_element(descriptor, element.start, element.end)
    finally:
        os.close(descriptor)


def test_memory_is_bounded_by_the_longest_element(tmp_path: Path) -> None:
    """A 60 MB file of COCO-like rows; loading it whole takes more than twice that."""
    row = json.dumps({"id": 1, "keypoints": list(range(17)), "counts": "aZ]}" * 400}) + ","
    path = tmp_path / "large.json"
    rows = 60_000_000 // len(row)
    with path.open("w") as file:
        file.write('{"annotations": [')
        for _ in range(0, rows, 1000):
            file.write(row * 1000)
        file.write("{}]}")
    code = """
import re, sys
from pathlib import Path
from hmtools.core.json_stream import iter_elements
def resident():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
before = peak = resident()
for element in iter_elements(Path(sys.argv[1])):
    if element.index % 500 == 0:
        peak = max(peak, resident())
print(element.index, peak - before)
"""
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    last, growth = done.stdout.split()
    assert path.stat().st_size > 60e6
    assert int(last) >= rows
    assert float(growth) < 60, f"{growth} MB"
