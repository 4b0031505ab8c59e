"""Cameras in text files: every sensible form gives the same camera, everything else an error with why."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import LayoutError
from hmtools.datasets.camera_text import TextCamera, parse_camera, read_camera
from tests.datasets.ehf_tree import rotation

VECTOR = [-2.98747896, 0.01172457, -0.05704687]
MOVE, PRINCIPAL = [-0.03609917, 0.43416458, 2.37101226], [790.263706, 578.90334]
MATRIX = rotation()
R9 = "\n".join(" ".join(map(str, row)) for row in MATRIX.tolist())
JSON = {
    "rotation": VECTOR,
    "translation": MOVE,
    "focal_length": [1498.224, 1500.0],
    "camera_center": PRINCIPAL,
}
FORMS = {
    "names": "rotation (axis-angle): -2.98747896 0.01172457 -0.05704687\n"
    "translation: -0.03609917 0.43416458 2.37101226\nfocal: 1498.224 1500\n"
    "principal point: 790.263706 578.90334",
    "other order and names": "pp = 790.263706, 578.90334; focal length (px) = (1498.224, 1500.0)\n"
    "transl = [-0.03609917, 0.43416458, 2.37101226] m\nrvec = [-2.98747896, 0.01172457, -0.05704687]",
    "comments": "# camera\n# R\n-2.98747896 0.01172457 -0.05704687\n# t\n-0.03609917 0.43416458 2.37101226\n"
    "# f\n1.498224e3 1500\n# c\n790.263706 578.90334\n",
    "matrix": f"rotation\n{R9}\ntrans\n-0.03609917 0.43416458 2.37101226\nfocal 1498.224 1500\n"
    "centre 790.263706 578.90334\nimage size 1600 1200",
    "json": json.dumps(JSON),
    "bare": "-2.98747896 0.01172457 -0.05704687\n-0.03609917 0.43416458 2.37101226\n1498.224 1500\n"
    "790.263706 578.90334",
    "bare matrix": f"{R9} -0.03609917 0.43416458 2.37101226, 1498.224, 1500, 790.263706, 578.90334",
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str) -> None:
    found = parse_camera(FORMS[form])
    assert found.world_to_cam.shape == (3, 4)
    assert np.abs(found.world_to_cam[:, :3] - MATRIX).max() < 1e-12
    assert np.array_equal(found.world_to_cam[:, 3], MOVE)
    assert np.array_equal(found.focal_length, [1498.224, 1500.0])
    assert np.array_equal(found.principal_point, PRINCIPAL)
    assert found.world_to_cam.dtype == np.float64


def test_one_focal_length_is_both() -> None:
    text = FORMS["names"].replace(" 1500", "")
    assert np.array_equal(parse_camera(text).focal_length, [1498.224, 1498.224])
    bare = parse_camera("0 0 0 1 2 3 500 80 60")
    assert np.array_equal(bare.world_to_cam, [[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3]])
    assert (bare.focal_length.tolist(), bare.principal_point.tolist()) == ([500, 500], [80, 60])


ROWS = ["r: 0 0 0", "t: 1 2 3", "f: 500", "c: 80 60"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "found 0 numbers"),
        ("nothing to see", "found 0 numbers"),
        ("1 2 3 4 5 6 7 8", "found 8 numbers"),
        ("\n".join(ROWS[1:]), "rotation: found 0 numbers"),
        ("\n".join(ROWS[:3]), "principal: found 0 numbers"),
        ("\n".join(ROWS).replace("1 2 3", "1 2"), "translation: found 2 numbers"),
        ("\n".join(ROWS).replace("500", "500 500 500"), "focal: found 3 numbers"),
        ("\n".join([*ROWS, "focal length 3"]), "focal occurs twice"),
        ("\n".join([*ROWS[:2], "focal length and principal point 500 80 60"]), "names focal and principal"),
        ("\n".join(ROWS).replace("500", "0"), "a focal length is 0"),
        ("\n".join(ROWS).replace("500", "-500"), "a focal length is -500"),
        ("\n".join(ROWS).replace("500", "1e999"), "not every number is finite"),
        ("\n".join(ROWS).replace("0 0 0", "1 0 0 0 1 0 0 0 2"), "no rotation matrix"),
        ("\n".join(ROWS).replace("0 0 0", "1 0 0 0 1 0 0 0 -1"), "no rotation matrix"),
    ],
)
def test_what_is_no_camera(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_camera(text)
    path = tmp_path / "camera.txt"
    path.write_text(text)
    with pytest.raises(LayoutError, match=rf"camera\.txt: .*{words}.*expected rotation \(3 or 9 numbers\)"):
        read_camera(path)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "camera.txt"
    path.write_text(FORMS["json"])
    assert read_camera(path).agrees(parse_camera(FORMS["json"]))
    for data in (b"\xff\xfe", b" " * 70_000):
        path.write_bytes(data)
        with pytest.raises(LayoutError):
            read_camera(path)
    with pytest.raises(FileNotFoundError):
        read_camera(tmp_path / "other.txt")


@settings(max_examples=100, deadline=None)
@given(
    st.text(max_size=80) | st.lists(st.sampled_from([*ROWS, *FORMS.values(), "7", "r", ":"])).map(" ".join)
)
def test_any_text_is_a_camera_or_a_value_error(text: str) -> None:
    try:
        found = parse_camera(text)
    except ValueError:
        return
    assert np.isfinite(found.world_to_cam).all()


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"focal": [1498.23]}, True),
        ({"focal": [1498.3]}, False),
        ({"principal": [790.27, 578.9]}, True),
        ({"principal": [790.3, 578.9]}, False),
        ({"translation": [-0.0361, 0.4342, 2.37101]}, True),
        ({"translation": [-0.0363, 0.4342, 2.37101]}, False),
        ({"rotation": [-2.98747, 0.01172, -0.05705]}, True),
        ({"rotation": [-2.98747, 0.01172, -0.057]}, True),
        ({"rotation": [-2.98747, 0.01172, -0.056]}, False),
    ],
)
def test_agreement(changes: dict[str, list[float]], same: bool) -> None:
    numbers = {"rotation": VECTOR, "translation": MOVE, "focal": [1498.224], "principal": PRINCIPAL}
    one, other = TextCamera.of(**numbers), TextCamera.of(**(numbers | changes))
    assert one.agrees(other) == other.agrees(one) == same
