"""Every form of model file becomes the same BodyModel; every wrong one is named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from hmtools.bodies.model import BodyModel, Family
from hmtools.bodies.read_model import KEYS, model_from_raw, read_model, shape_and_expression
from hmtools.core.atomic import file_sha256
from hmtools.core.errors import AssetError, HmtoolsError, LayoutError, UnsafeFileError

from .attacks import ATTACKS, Call, attack
from .model_files import model_content, save
from .python2 import Old, python2_pickle

FAMILIES: tuple[Family, ...] = ("smpl", "smplh", "smplx")


@pytest.fixture(scope="module")
def contents() -> dict[str, dict[str, Any]]:
    return {family: model_content(family, betas=20 if family == "smplx" else 10) for family in FAMILIES}


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., BodyModel]:
    """Check content without writing it: the file that it is said to be from only gives the name and hash."""
    path = tmp_path / "model.npz"
    path.write_bytes(b"x")

    def from_content(content: Any, family: Family = "smpl") -> BodyModel:
        return model_from_raw(content, path, family, "female")

    return from_content


# --- what is read --------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_npz_and_pickle_hold_the_same(tmp_path: Path, contents: dict[str, Any], family: Family) -> None:
    content = contents[family]
    for name in ("m.npz", "m.pkl"):
        path = save(tmp_path / name, content)
        model = read_model(path, family, "male")
        assert (model.family, model.gender, model.path) == (family, "male", path)
        assert model.sha256 == file_sha256(path)
        assert not model.standin
        assert model.parents.tolist() == list(range(-1, len(model.parents) - 1))
        for key, found in (
            ("v_template", model.v_template),
            ("posedirs", model.posedirs),
            ("f", model.faces),
        ):
            np.testing.assert_array_equal(found, content[key])
        np.testing.assert_array_equal(model.joint_regressor.toarray(), content["J_regressor"])
        assert model.v_template.dtype == np.float32
        assert model.faces.dtype == np.int64
        assert (model.hand_mean is None, model.landmark_faces is None) == (
            family == "smpl",
            family != "smplx",
        )


def test_a_python_2_chumpy_model(tmp_path: Path, contents: dict[str, Any]) -> None:
    """basicModel_f_lbs_10_207_0_v1.0.0.pkl: chumpy, an old SciPy, 8-bit text, float64."""
    content = dict(contents["smpl"])
    matrix = sparse.csc_matrix(content["J_regressor"])
    state = {
        "_shape": matrix.shape, "maxprint": 50, "indices": matrix.indices.astype("i4"),
        "indptr": matrix.indptr.astype("i4"), "data": matrix.data, "format": "csc",
    }  # fmt: skip
    old = {
        **{key: content[key] for key in ("weights", "f")},
        "v_template": Old("chumpy.ch", "Ch", {"x": content["v_template"].astype("f8")}),
        "shapedirs": Old("chumpy.ch", "Ch", {"x": content["shapedirs"].astype(">f8")}),
        "posedirs": Old("chumpy.ch", "Ch", {"x": content["posedirs"]}),
        "J_regressor": Old("scipy.sparse.csc", "csc_matrix", state),
        "kintree_table": content["kintree_table"].astype(np.int64),
        "J": Old("chumpy.ch", "MatVecMult", {"mtx": None}),
        "bs_type": "lrotmin",
    }
    path = tmp_path / "basicModel_f_lbs_10_207_0_v1.0.0.pkl"
    path.write_bytes(python2_pickle(old))
    model = read_model(path, "smpl", "female")
    assert model.v_template.dtype == np.dtype("=f8")
    assert model.shapedirs.dtype == np.dtype("=f8")
    np.testing.assert_array_equal(model.shapedirs, content["shapedirs"])
    np.testing.assert_array_equal(model.joint_regressor.toarray(), content["J_regressor"])
    assert model.parents[0] == -1


@pytest.mark.parametrize(("columns", "shape", "expression"), [(400, 300, 100), (20, 10, 10)])
def test_shape_and_expression_of_smplx(columns: int, shape: int, expression: int) -> None:
    dirs = np.arange(2 * 3 * columns, dtype="f4").reshape(2, 3, columns)
    found = shape_and_expression(dirs, "smplx", Path("m.npz"))
    assert [part.shape[2] for part in found] == [shape, expression]
    np.testing.assert_array_equal(np.concatenate(found, axis=2), dirs)


@pytest.mark.parametrize("columns", [10, 16, 300])
def test_shape_of_smpl(columns: int) -> None:
    shape, expression = shape_and_expression(np.zeros((2, 3, columns)), "smpl", Path("m.npz"))
    assert (shape.shape[2], expression.shape[2]) == (columns, 0)


@pytest.mark.parametrize(("family", "columns"), [("smplx", 10), ("smplx", 300), ("smplx", 110), ("smpl", 9)])
def test_columns_that_cannot_be_told_apart(family: Family, columns: int) -> None:
    with pytest.raises(AssetError, match=rf"m\.npz: shapedirs: expected .* found {columns}"):
        shape_and_expression(np.zeros((2, 3, columns)), family, Path("m.npz"))


@pytest.mark.parametrize("root", [-1, 2**32 - 1, 2**64 - 1])
def test_the_root_however_it_is_stored(contents: dict[str, Any], read: Any, root: int) -> None:
    dtype = np.int64 if root == -1 else np.uint64
    table = contents["smpl"]["kintree_table"].astype(dtype)
    table[0, 0] = np.array(root, dtype)
    assert read(contents["smpl"] | {"kintree_table": table}).parents.tolist() == list(range(-1, 23))


def test_a_body_with_hands_of_amass_has_no_hand_pca(read: Any) -> None:
    content = model_content("smplh", betas=16, hands=False)
    model = read(content, "smplh")
    assert model.hand_mean is None
    assert model.shapedirs.shape == (6890, 3, 16)
    with pytest.raises(AssetError, match="lacks hands_meanr, hands_componentsl, hands_componentsr"):
        read(content | {"hands_meanl": np.zeros(45)}, "smplh")


def test_the_mark_of_the_stand_in_is_kept(contents: dict[str, Any], read: Any) -> None:
    assert read(contents["smpl"] | {"standin": np.array("hmtools stand-in 1")}).standin


def test_a_model_is_read_only(contents: dict[str, Any], read: Any) -> None:
    model = read(contents["smplx"], "smplx")
    for name in ("v_template", "expression_dirs", "parents", "hand_mean", "contour_bary"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(model, name)[...] = 0
    with pytest.raises(ValueError, match="read-only"):
        model.joint_regressor.data[:] = 0


# --- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize("given_", FAMILIES)
@pytest.mark.parametrize("wanted", FAMILIES)
def test_another_family_is_named(contents: dict[str, Any], read: Any, given_: Family, wanted: Family) -> None:
    if given_ == wanted:
        return
    titles = {"smpl": "SMPL", "smplh": "SMPL-H", "smplx": "SMPL-X"}
    with pytest.raises(AssetError, match=f"holds a model of {titles[given_]} .*expected {titles[wanted]} "):
        read(contents[given_], wanted)


def test_a_hand_given_for_a_body_is_named(read: Any) -> None:
    with pytest.raises(AssetError, match=r"holds a model of MANO \(a hand\) \(778 vertices, 16 joints\)"):
        read({"v_template": np.zeros((778, 3)), "weights": np.zeros((778, 16))})


@pytest.mark.parametrize("content", [np.zeros(3), [1], "text", None, 3])
def test_what_is_no_dict_is_named(read: Any, content: Any) -> None:
    with pytest.raises(AssetError, match=r"expected a SMPL model \(a dict of arrays\), found"):
        read(content)


@pytest.mark.parametrize("key", KEYS)
def test_every_missing_key_is_named(contents: dict[str, Any], read: Any, key: str) -> None:
    content = {name: value for name, value in contents["smplx"].items() if name != key}
    with pytest.raises(
        AssetError, match=rf"model\.npz: lacks {key}, which a SMPL-X model has; its keys are "
    ):
        read(content, "smplx")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("change", ["shape", "text", "axes"])
def test_every_wrong_array_is_named(contents: dict[str, Any], read: Any, key: str, change: str) -> None:
    right = contents["smplx"][key]
    wrong = {"shape": right[..., :-1], "text": "a note", "axes": right[None]}[change]
    if change == "shape" and key == "shapedirs":
        wrong = right[:-1]
    with pytest.raises(AssetError, match=rf"{key}: expected"):
        read(contents["smplx"] | {key: wrong}, "smplx")


def _changed(key: str, place: Any, value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(content: dict[str, Any]) -> dict[str, Any]:
        array = content[key].copy()
        array[place] = value
        return {key: array}

    return change


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "nan vertex": (_changed("v_template", (5, 1), np.nan), r"v_template: 1 of 31425 numbers are not finite"),
    "inf shape": (_changed("shapedirs", (0, 0, 3), np.inf), "shapedirs: 1 of"),
    "nan expression": (_changed("shapedirs", (0, 0, 15), np.nan), r"shapedirs \(expression\): 1 of"),
    "nan corrective": (_changed("posedirs", (0, 0, 0), np.nan), "posedirs: 1 of"),
    "nan hand": (_changed("hands_meanl", 3, np.nan), "hands_mean: 1 of"),
    "nan basis": (_changed("hands_componentsr", (3, 3), np.inf), "hands_components: 1 of"),
    "centimetres": (
        lambda c: {"v_template": c["v_template"] * 100},
        "v_template: is 180 in its largest extent",
    ),
    "a point": (lambda c: {"v_template": c["v_template"] * 0}, "v_template: is 0 in its largest extent"),
    "weights": (_changed("weights", (7, 0), 0.5), r"weights: rows must .*; 1 of 10475 do not \(row 7: 1.5\)"),
    "nan weights": (_changed("weights", (7, 0), np.nan), "weights: 1 of"),
    "negative": (
        _changed("weights", (0, slice(0, 3)), [2, -1, 0]),
        "weights: expected numbers from 0 on, found -1",
    ),
    "regressor": (_changed("J_regressor", 3, 0), r"J_regressor: rows .* 1 of 55 do not \(row 3: 0\)"),
    "no root": (_changed("kintree_table", (0, 0), 0), "expected the root first"),
    "two roots": (_changed("kintree_table", (0, 9), 2**32 - 1), "parent must be .* found parent -1 of 9"),
    "loop": (_changed("kintree_table", (0, 9), 12), "found parent 12 of 9"),
    "own parent": (_changed("kintree_table", (0, 9), 9), "found parent 9 of 9"),
    "ids": (_changed("kintree_table", (1, 9), 8), "expected joints 0 to 54 in row 1"),
    "face": (_changed("f", (3, 1), 10475), "f: expected indices of 10475 vertices, found 0 to 10475"),
    "negative face": (
        lambda c: {"f": np.where(c["f"] == 7, -1, c["f"].astype("i8"))},
        "f: expected .* found -1 to",
    ),
    "huge face": (lambda c: {"f": c["f"].astype("u8") * 2**50 + 2**63}, "f: expected indices"),
    "half a face": (lambda c: {"f": c["f"] + 0.5}, "f: expected whole numbers, found float64"),
    "few faces": (lambda c: {"f": c["f"][:100]}, "f: expected 20908 faces, found 100"),
    "landmark": (_changed("lmk_faces_idx", 0, 20908), "lmk_faces_idx: expected indices of 20908 faces"),
    "contour": (_changed("dynamic_lmk_faces_idx", (0, 0), -1), "dynamic_lmk_faces_idx: expected indices"),
    "place": (_changed("lmk_bary_coords", 0, 0), "lmk_bary_coords: rows must sum to 1; 1 of 51"),
    "contour place": (
        _changed("dynamic_lmk_bary_coords", (5, 2), 0),
        r"dynamic_lmk_bary_coords: .* 1 of 1343 do not \(row 5, 2",
    ),
    "integers": (
        lambda c: {"v_template": c["v_template"].astype(int)},
        "v_template: expected float32 or float64",
    ),
    "half floats": (lambda c: {"weights": c["weights"].astype("f2")}, "weights: expected float32 or float64"),
    "hands of unequal size": (
        lambda c: {"hands_componentsr": c["hands_componentsr"][:6]},
        r"shape \(45, 45\)",
    ),
    "few correctives": (
        lambda c: {"posedirs": c["posedirs"][:, :, :207]},
        "posedirs: expected 486 columns, found 207",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_insides_are_named(contents: dict[str, Any], read: Any, name: str) -> None:
    change, expected = BROKEN[name]
    with pytest.raises(AssetError, match=expected) as caught:
        read(contents["smplx"] | change(contents["smplx"]), "smplx")
    assert "model.npz" in str(caught.value)


def test_all_problems_are_told_at_once(contents: dict[str, Any], read: Any) -> None:
    wrong = {"f": contents["smpl"]["f"][:9], "weights": contents["smpl"]["weights"] * 2}
    with pytest.raises(AssetError, match=r"f: expected 13776 faces(.|\n)*weights: rows must sum to 1"):
        read(contents["smpl"] | wrong)


# --- files that lie or are cut -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.npz", "m.pkl"])
@settings(max_examples=6, deadline=None)
@given(places=st.lists(st.floats(0, 1, exclude_max=True), min_size=8, max_size=8))
def test_a_file_cut_anywhere_is_named(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, Any], name: str, places: list[float]
) -> None:
    path = save(tmp_path_factory.mktemp("cut") / name, contents["smpl"])
    size = path.stat().st_size
    for end in sorted({int(place * size) for place in places}, reverse=True):
        with path.open("r+b") as file:
            file.truncate(end)
        with pytest.raises(AssetError, match=rf"{name}.*cannot be read as"):
            read_model(path, "smpl", "male")
    path.unlink()


@pytest.mark.parametrize("name", ATTACKS)
def test_a_pickle_that_wants_to_run_something_is_refused(tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    path = tmp_path / "SMPL_MALE.pkl"
    path.write_bytes(attack(name, canary))
    with pytest.raises(UnsafeFileError, match=r"SMPL_MALE\.pkl"):
        read_model(path, "smpl", "male")
    assert not canary.exists()


def test_an_attack_inside_an_npz_is_refused(tmp_path: Path, contents: dict[str, Any]) -> None:
    canary = tmp_path / "canary"
    evil = np.array(Call(os.system, f"touch {canary}"), dtype=object)
    path = save(tmp_path / "SMPL_MALE.npz", contents["smpl"] | {"joint2num": evil})
    with pytest.raises(UnsafeFileError, match=r"SMPL_MALE\.npz\[joint2num\.npy\].*system"):
        read_model(path, "smpl", "male")
    assert not canary.exists()


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=60), ending=st.sampled_from(["npz", "pkl"]))
def test_garbage_is_one_of_our_errors(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, ending: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"garbage.{ending}"
    path.write_bytes(data)
    with pytest.raises(HmtoolsError, match="garbage"):
        read_model(path, "smpl", "male")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="cannot be opened"):
        read_model(tmp_path / "none.pkl", "smpl", "male")
