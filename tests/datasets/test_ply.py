"""PLY meshes: every layout that the format allows comes back exactly, everything damaged is refused."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import HmtoolsError
from hmtools.datasets import ply
from hmtools.datasets.ply import PlyError, parse_ply, read_ply
from tests.datasets.ply_bytes import FORMATS, Element, ply_bytes

XYZ = ("float x", "float y", "float z")
POINTS = [(0.5, -1.25, 3.0), (0.5, -1.25, 3.0), (7.0, 0.0, -2.0), (1.0, 2.0, 4.0)]  # two of them are equal
TRIANGLES = [((0, 1, 2),), ((2, 3, 0),)]


def mesh(kind: str = "ascii", *, points: Sequence[Any] = POINTS, faces: Sequence[Any] = TRIANGLES) -> bytes:
    return ply_bytes([("vertex", XYZ, points), ("face", ["list uchar int vertex_indices"], faces)], kind)


def reason(data: bytes) -> str:
    with pytest.raises(PlyError) as caught:
        parse_ply(data)
    assert caught.value.detail
    assert str(caught.value) == f"{caught.value.reason}: {caught.value.detail}"
    return caught.value.reason


@pytest.mark.parametrize("kind", FORMATS)
def test_order_is_kept_and_equal_vertices_stay_two(kind: str) -> None:
    found = parse_ply(mesh(kind))
    assert found.vertices.dtype == np.float64
    assert np.array_equal(found.vertices, POINTS)
    assert found.faces is not None
    assert np.array_equal(found.faces, [[0, 1, 2], [2, 3, 0]])


finite = {32: st.floats(width=32, allow_nan=False, allow_infinity=False), 64: st.floats(allow_nan=False)}
extras = st.lists(
    st.tuples(st.sampled_from(["uchar red", "int16 flag", "float64 w", "float nx"]), st.integers(0, 3)),
    max_size=3,
    unique_by=lambda pair: pair[0],
)
VALUES = {"uchar red": 200, "int16 flag": -3, "float64 w": 0.1, "float nx": 0.25}


@st.composite
def files(draw: st.DrawFn) -> tuple[list[Element], str, str, np.ndarray, list[tuple[int, ...]]]:
    """Elements in any order, properties between and beside x, y, z, polygons of any size."""
    bits = draw(st.sampled_from([32, 64]))
    kind = draw(st.sampled_from(list(FORMATS)))
    numbers = finite[bits] if kind != "ascii" else finite[bits].filter(lambda v: abs(v) < 1e300)
    points = draw(st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=9))
    properties = [f"float{bits} {axis}" for axis in draw(st.permutations("xyz"))]
    cells = [tuple(p["xyz".index(line[-1])] for line in properties) for p in points]
    for line, place in draw(extras):
        properties.insert(place, line)
        cells = [(*row[:place], VALUES[line], *row[place:]) for row in cells]
    size = st.just(3) if draw(st.booleans()) else st.integers(0, 5)
    index = st.integers(0, len(points) - 1)
    faces = draw(
        st.lists(size.flatmap(lambda n: st.lists(index, min_size=n, max_size=n).map(tuple)), max_size=6)
    )
    counted = draw(st.sampled_from(["uchar int", "uint8 uint32", "int32 short", "char uchar"]))
    named = draw(st.sampled_from(["vertex_indices", "vertex_index"]))
    elements: list[Element] = [
        ("vertex", properties, cells),
        ("face", [f"list {counted} {named}"], [(face,) for face in faces]),
        ("edge", ["int vertex1", "list uchar float weights"], [(4, (0.5,) * n) for n in range(3)]),
    ]
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    return draw(st.permutations(elements)), kind, newline, np.array(points), faces


@settings(max_examples=150, deadline=None)
@given(files())
def test_round_trip(file: tuple[list[Element], str, str, np.ndarray, list[tuple[int, ...]]]) -> None:
    elements, kind, newline, points, faces = file
    found = parse_ply(ply_bytes(elements, kind, newline))
    assert np.array_equal(found.vertices, points)
    if {len(face) for face in faces} - {3}:
        assert found.faces is None
    else:
        assert found.faces is not None
        assert np.array_equal(found.faces, np.array(faces, int).reshape(-1, 3))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(list(FORMATS)), st.data())
def test_no_damage_gets_through_as_another_error(kind: str, data: st.DataObject) -> None:
    whole = bytearray(mesh(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    for damaged in (bytes(whole), bytes(whole[:cut])):
        try:
            found = parse_ply(damaged)
        except PlyError:
            continue
        assert found.vertices.shape[1:] == (3,)  # a changed number is still a number


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_ends_early_is_never_read(kind: str) -> None:
    whole = mesh(kind).rstrip(b"\n") if kind == "ascii" else mesh(kind)
    for end in range(1, len(whole)):
        try:
            found = parse_ply(whole[:end])
        except PlyError:
            continue
        assert kind == "ascii", end
        assert whole[end:].isdigit(), "only the last digits of the last number can be lost unseen"
        assert np.array_equal(found.vertices, POINTS)
    assert reason(whole[: len(whole) // 2]) in ("mesh_truncated", "mesh_unreadable")


@pytest.mark.parametrize("kind", FORMATS)
def test_what_follows_the_last_row_is_refused(kind: str) -> None:
    assert reason(mesh(kind) + b"7") == "mesh_unreadable"
    assert "follow the last row" in _detail(mesh(kind) + b"7")


def test_blank_lines_at_the_end_do_not_matter() -> None:
    assert np.array_equal(parse_ply(mesh() + b" \r\n\n").vertices, POINTS)


def _detail(data: bytes) -> str:
    with pytest.raises(PlyError) as caught:
        parse_ply(data)
    return caught.value.detail


HEAD = b"ply\nformat ascii 1.0\n"
BODY = b"element vertex 1\nproperty float x\nproperty float y\nproperty float z\n"
END = b"end_header\n1 2 3\n"


@pytest.mark.parametrize(
    ("data", "wanted", "words"),
    [
        (b"", "mesh_empty", "no bytes"),
        (b"solid stl\n", "mesh_unreadable", "line `ply`"),
        (b"ply\n", "mesh_truncated", "end_header"),
        (HEAD + BODY + b"comment " + b"x" * 70_000 + b"\n" + END, "mesh_truncated", "end_header"),
        (b"ply\nformat ascii 2.0\n" + BODY + END, "mesh_unreadable", "'format ascii 2.0'"),
        (b"ply\n" + BODY + END, "mesh_unreadable", "makes no sense there"),
        (b"ply\nend_header\n", "mesh_unreadable", "no format"),
        (HEAD + HEAD[4:] + BODY + END, "mesh_unreadable", "makes no sense there"),
        (HEAD + END, "mesh_unreadable", "lines follow"),
        (HEAD + b"end_header\n", "mesh_unreadable", "element vertex"),
        (HEAD + BODY + BODY + END, "mesh_unreadable", "makes no sense there"),
        (HEAD + b"property float x\n" + END, "mesh_unreadable", "makes no sense there"),
        (HEAD + BODY + b"property float x\n" + END, "mesh_unreadable", "occurs twice"),
        (HEAD + BODY + b"property half w\n" + END, "mesh_unreadable", "'half w'"),
        (HEAD + BODY + b"property list float int w\n" + END, "mesh_unreadable", "list float"),
        (HEAD + BODY + b"property list uchar int w\n" + END, "mesh_unreadable", "too short"),
        (HEAD + BODY.replace(b"float z", b"int z") + END, "mesh_unreadable", "float properties x, y, z"),
        (HEAD + BODY.replace(b"float z", b"float w") + END, "mesh_unreadable", "float properties x, y, z"),
        (HEAD + BODY.replace(b"vertex 1", b"vertex -1") + END, "mesh_unreadable", "no number of rows"),
        (HEAD + BODY.replace(b"vertex 1", b"vertex 9e3") + END, "mesh_unreadable", "no number of rows"),
        (HEAD + BODY.replace(b"vertex 1", b"vertex 0") + b"end_header\n", "mesh_empty", "0 vertices"),
        (HEAD + BODY.replace(b"vertex 1", b"vertex 2") + END, "mesh_truncated", "2 rows of vertex, found 1"),
        (HEAD + BODY.replace(b"vertex 1", b"vertex 5000001") + END, "mesh_too_large", "at most 5000000"),
        (HEAD + BODY + b"end_header\n1 2\n", "mesh_unreadable", "too short"),
        (HEAD + BODY + b"end_header\n1 2 3 4\n", "mesh_unreadable", "1 numbers too many"),
        (HEAD + BODY + b"end_header\n1 2 nan\n", "mesh_unreadable", "among the numbers"),
        (HEAD + BODY + b"end_header\n1 2 1_0\n", "mesh_unreadable", "among the numbers"),
        (HEAD + BODY + b"end_header\n1 2 1-0\n", "mesh_unreadable", "could not convert"),
        (HEAD + BODY + b"element edge 3\n" + END, "mesh_unreadable", "no properties"),
        (mesh(faces=[((0, 1, 4),)]), "mesh_unreadable", "outside 0 to 3"),
        (mesh(faces=[((0, 1, -1),)]), "mesh_unreadable", "outside 0 to 3"),
        (mesh(faces=[((0, 1, 10**30),)]), "mesh_unreadable", "face: "),
        (mesh().replace(b"int vertex_i", b"float vertex_i"), "mesh_unreadable", "list of vertex indices"),
        (mesh().replace(b"vertex_indices", b"texcoord"), "mesh_unreadable", "list of vertex indices"),
        (mesh().replace(b"\n3 0 1", b"\n-3 0 1"), "mesh_unreadable", "negative list"),
        (mesh().replace(b"\n3 0 1", b"\n3.0 0 1"), "mesh_unreadable", "invalid literal"),
    ],
)
def test_damage(data: bytes, wanted: str, words: str) -> None:
    assert reason(data) == wanted
    assert words in _detail(data)


def test_lists_longer_than_the_file_cost_nothing() -> None:
    head = b"ply\nformat binary_little_endian 1.0\nelement face 1\nproperty list uint double vertex_indices\n"
    assert reason(head + b"end_header\n" + b"\xff" * 4) == "mesh_truncated"
    signed = head.replace(b"list uint", b"list int")
    assert reason(signed + b"end_header\n" + b"\xff" * 4) == "mesh_unreadable"


def test_vertices_with_lists_are_refused() -> None:
    data = ply_bytes([("vertex", [*XYZ, "list uchar int bones"], [(1.0, 2.0, 3.0, (1,))])])
    assert reason(data) == "mesh_unreadable"


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ply, "MAX_BYTES", 100)
    path = tmp_path / "a.ply"
    path.write_bytes(mesh())
    with pytest.raises(PlyError, match="more than 100 bytes"):
        read_ply(path)


def test_reading_files(tmp_path: Path) -> None:
    path = tmp_path / "01_align.ply"
    path.write_bytes(mesh("binary_big_endian"))
    assert np.array_equal(read_ply(path).vertices, POINTS)
    path.write_bytes(mesh("binary_big_endian")[:-1])
    with pytest.raises(PlyError, match=r"^mesh_truncated: 01_align\.ply: ") as caught:
        read_ply(path)
    assert isinstance(caught.value, HmtoolsError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.reason, again.detail) == (caught.value.reason, caught.value.detail)
    with pytest.raises(FileNotFoundError):
        read_ply(tmp_path / "02_align.ply")
