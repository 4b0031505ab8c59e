"""PLY files: the header, and the same float32 numbers from every format."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as some
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hmtools.core.errors import UsageError
from hmtools.synth.ply_file import PLY_FORMATS, PlyFormat, write_ply

TRIANGLE = np.array([[0.5, -1.25, 3.0], [1e-30, 7.0, -0.1], [2.0, 4.0, 8.0]])
FACES = np.array([[0, 1, 2], [2, 1, 0]])


def parts(path: Path) -> tuple[list[str], bytes]:
    header, body = path.read_bytes().split(b"end_header\n")
    return header.decode("ascii").splitlines(), body


@pytest.mark.parametrize("form", PLY_FORMATS)
def test_header(tmp_path: Path, form: PlyFormat) -> None:
    write_ply(tmp_path / "a.ply", TRIANGLE, FACES, form)
    header, _ = parts(tmp_path / "a.ply")
    assert header[:2] == ["ply", f"format {form} 1.0"]
    assert [line for line in header if not line.startswith("comment")][2:] == [
        "element vertex 3",
        *(f"property float {axis}" for axis in "xyz"),
        "element face 2",
        "property list uchar int vertex_indices",
    ]


@pytest.mark.parametrize(("form", "order"), [("binary_little_endian", "<"), ("binary_big_endian", ">")])
def test_binary(tmp_path: Path, form: PlyFormat, order: str) -> None:
    write_ply(tmp_path / "a.ply", TRIANGLE, FACES, form)
    _, body = parts(tmp_path / "a.ply")
    numbers = struct.unpack(f"{order}9fB3iB3i", body)
    np.testing.assert_array_equal(numbers[:9], TRIANGLE.astype(np.float32).ravel())
    assert numbers[9:] == (3, 0, 1, 2, 3, 2, 1, 0)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(points=some.arrays(np.float32, (4, 3), elements=st.floats(-1e6, 1e6, width=32)))
def test_text_loses_nothing(tmp_path: Path, points: Any) -> None:
    write_ply(tmp_path / "a.ply", points, FACES, "ascii")
    _, body = parts(tmp_path / "a.ply")
    rows = body.decode("ascii").splitlines()
    np.testing.assert_array_equal(np.loadtxt(rows[:4], dtype=np.float32), points)
    assert rows[4:] == ["3 0 1 2", "3 2 1 0"]


def test_little_endian_is_usual(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", TRIANGLE, FACES)
    assert parts(tmp_path / "a.ply")[0][1] == "format binary_little_endian 1.0"


def test_points_alone(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", TRIANGLE, np.zeros((0, 3), np.int64))
    assert len(parts(tmp_path / "a.ply")[1]) == 36


def test_wrong_use(tmp_path: Path) -> None:
    path = tmp_path / "a.ply"
    with pytest.raises(UsageError, match="expected one of ascii, binary_little_endian"):
        write_ply(path, TRIANGLE, FACES, "utf8")  # type: ignore[arg-type]
    for faces in ([[0, 1, 3]], [[-1, 0, 1]]):
        with pytest.raises(UsageError, match=r"a\.ply: expected faces of 3 vertices"):
            write_ply(path, TRIANGLE, np.array(faces))
    assert not path.exists()
