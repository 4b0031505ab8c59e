"""Clean copies: the same bits, nothing but arrays, read by us, by NumPy alone and by the smplx package."""

from __future__ import annotations

import pickle
import pickletools
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from hmtools.bodies.assets import body_hash, find, find_all, load_array, load_model, read_model
from hmtools.bodies.catalogue import CATALOGUE
from hmtools.bodies.clean import Form, clean_file, clean_name, plan_clean
from hmtools.core.errors import AssetError, LayoutError, UnsafeFileError

from .attacks import attack
from .model_files import array_content, model_content, official_path, save, write_asset
from .python2 import Old, python2_pickle

ARRAYS = [key for key, row in CATALOGUE.items() if row.kind != "model"]


def clean(source: Path, out: Path, form: Form = "npz") -> list[Path]:
    return [clean_file(found, target).target for found, target in plan_clean(source, out, form)]


def old_model() -> dict[str, Any]:
    """SMPL as chumpy and Python 2 left it, with notes of its authors."""
    content = model_content("smpl")
    matrix = sparse.csc_matrix(content["J_regressor"])
    state = {
        "_shape": matrix.shape, "maxprint": 50, "indices": matrix.indices.astype("i4"),
        "indptr": matrix.indptr.astype("i4"), "data": matrix.data, "format": "csc",
    }  # fmt: skip
    return content | {
        "shapedirs": Old("chumpy.ch", "Ch", {"x": content["shapedirs"].astype("f8")}),
        "J_regressor": Old("scipy.sparse.csc", "csc_matrix", state),
        "J": Old("chumpy.ch", "MatVecMult", {"mtx": None}),
        "pose_training_info": {"gender": "f"},
        "bs_type": "lrotmin",
    }


def test_a_chumpy_pickle_becomes_a_clean_npz(tmp_path: Path) -> None:
    path = tmp_path / "in" / "basicModel_f_lbs_10_207_0_v1.0.0.pkl"
    path.parent.mkdir()
    path.write_bytes(python2_pickle(old_model()))
    ((found, target),) = plan_clean(path, tmp_path / "out")
    made = clean_file(found, target)
    assert made.target == tmp_path / "out/smpl/SMPL_FEMALE.npz"
    assert made.dropped == ("J", "pose_training_info")
    expected = model_content("smpl")
    with np.load(made.target, allow_pickle=False) as data:
        assert set(data.files) == {*expected, "bs_type"}
        assert data["bs_type"].item() == "lrotmin"
        assert data["shapedirs"].dtype == np.float64
        for key, value in expected.items():
            np.testing.assert_array_equal(data[key], value)
    before, after = (read_model(p, "smpl", "female") for p in (path, made.target))
    assert body_hash(before) == body_hash(after)
    found_again = find("smpl_female", [tmp_path / "out"])
    assert found_again is not None


def test_a_clean_pickle_is_plain_and_loads_with_numpy_alone(tmp_path: Path) -> None:
    path = tmp_path / "SMPL_FEMALE.pkl"
    path.write_bytes(python2_pickle(old_model()))
    (target,) = clean(path, tmp_path / "out", "pkl")
    assert target == tmp_path / "out/smpl/SMPL_FEMALE.pkl"
    data = target.read_bytes()
    names = {str(arg) for opcode, arg, _ in pickletools.genops(data) if "GLOBAL" in opcode.name}
    assert names == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = pickle.loads(data)
    assert found["bs_type"] == "lrotmin"
    for key, value in model_content("smpl").items():
        np.testing.assert_array_equal(found[key], value)
    model = load_model("smpl", "female", roots=[tmp_path / "out"])
    assert body_hash(model) == body_hash(read_model(path, "smpl", "female"))


@pytest.mark.parametrize("key", ARRAYS)
def test_clean_copies_of_everything_else(tmp_path: Path, key: str) -> None:
    write_asset(tmp_path / "in", key)
    (target,) = clean(tmp_path / "in", tmp_path / "out")
    assert target == tmp_path / "out" / clean_name(CATALOGUE[key])
    np.load(target, allow_pickle=False)
    before, after = (load_array(key, roots=[tmp_path / name]) for name in ("in", "out"))
    assert before.dtype == after.dtype
    if sparse.issparse(before):
        assert (before != after).nnz == 0
        by_scipy: Any = sparse.load_npz(target)
        before_any: Any = before
        np.testing.assert_array_equal(by_scipy.indices, before_any.indices)
    else:
        np.testing.assert_array_equal(before, after)


def test_the_smplx_package_reads_the_result(tmp_path: Path) -> None:
    import smplx

    save(tmp_path / "in/SMPLX_MALE.npz", model_content("smplx", betas=20) | {"joint2num": {"pelvis": 0}})
    save(tmp_path / "in/smplh/male/model.npz", model_content("smplh"))
    path = save(tmp_path / "in/SMPL_MALE.pkl", model_content("smpl"))
    path.write_bytes(python2_pickle(old_model()))
    out = tmp_path / "out"
    assert len(clean(tmp_path / "in", out)) == 3
    clean(tmp_path / "in/SMPL_MALE.pkl", out, "pkl")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for family, form in (("smplx", "npz"), ("smplh", "npz"), ("smpl", "pkl")):
            flat = {} if family == "smpl" else {"flat_hand_mean": True}
            layer = smplx.create(str(out), model_type=family, gender="male", ext=form, num_betas=10, **flat)
            expected = model_content(family, betas=20 if family == "smplx" else 10)["v_template"]  # type: ignore[arg-type]
            np.testing.assert_allclose(layer().vertices[0].detach().numpy(), expected, atol=1e-6)
    assert "chumpy" not in sys.modules


def test_releases_do_not_share_a_place(tmp_path: Path) -> None:
    for key in ("smplx_neutral", "smplx_neutral_lockedhead", "smplx_neutral_2020"):
        path = tmp_path / official_path(CATALOGUE[key])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    targets = [target for _, target in plan_clean(tmp_path, tmp_path / "out")]
    assert [target.relative_to(tmp_path / "out").as_posix() for target in targets] == [
        "smplx/SMPLX_NEUTRAL.npz",
        "lockedhead/smplx/SMPLX_NEUTRAL.npz",
        "smplx/SMPLX_NEUTRAL_2020.npz",
    ]
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    assert [found.asset.key for found in find_all([tmp_path / "out"])] == [
        "smplx_neutral", "smplx_neutral_lockedhead", "smplx_neutral_2020",
    ]  # fmt: skip


def test_the_same_input_gives_the_same_bytes_and_the_mark_stays(tmp_path: Path) -> None:
    content = array_content(CATALOGUE["mano_smplx_vertex_ids"]) | {"standin": "hmtools stand-in 1"}
    path = save(tmp_path / "MANO_SMPLX_vertex_ids.pkl", content)
    first, second = (clean(path, tmp_path / name)[0] for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    with np.load(first, allow_pickle=False) as data:
        assert data["standin"].item() == "hmtools stand-in 1"
    found = find("mano_smplx_vertex_ids", [tmp_path / "a"])
    assert found is not None
    again = clean_file(found, tmp_path / "c.npz").target
    assert again.read_bytes() == first.read_bytes()


def test_files_are_not_replaced_unless_asked(tmp_path: Path) -> None:
    write_asset(tmp_path / "in", "smplx_to_j14")
    (target,) = clean(tmp_path / "in", tmp_path / "out")
    target.write_bytes(b"mine")
    with pytest.raises(LayoutError, match=r"these files exist; --force replaces them:\n.*SMPLX_to_J14\.npz"):
        plan_clean(tmp_path / "in", tmp_path / "out")
    assert target.read_bytes() == b"mine"
    ((found, place),) = plan_clean(tmp_path / "in", tmp_path / "out", force=True)
    clean_file(found, place)
    assert target.read_bytes() != b"mine"


def test_nothing_is_left_of_what_fails(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    canary = tmp_path / "canary"
    (source / "SMPL_MALE.pkl").write_bytes(attack("system", canary))
    save(source / "SMPL_FEMALE.npz", model_content("smpl") | {"f": np.zeros((3, 3), int)})
    errors = {"smpl_male": UnsafeFileError, "smpl_female": AssetError}
    for found, target in plan_clean(source, tmp_path / "out"):
        with pytest.raises(errors[found.asset.key], match=found.path.name):
            clean_file(found, target)
    assert not list((tmp_path / "out").rglob("*"))
    assert not canary.exists()


def test_member_names_cannot_leave_the_archive(tmp_path: Path) -> None:
    path = save(
        tmp_path / "SMPL_MALE.pkl", model_content("smpl") | {"../../up": np.zeros(3), "file": np.ones(2)}
    )
    ((found, target),) = plan_clean(path, tmp_path / "out")
    made = clean_file(found, target)
    assert made.dropped == ("../../up",)
    with np.load(made.target) as data:
        assert data["file"].tolist() == [1, 1]


def test_wrong_use_is_named(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="no such file or folder"):
        plan_clean(tmp_path / "none", tmp_path)
    with pytest.raises(LayoutError, match="no body-model files at or below it"):
        plan_clean(tmp_path, tmp_path / "out")
    (tmp_path / "my.pkl").touch()
    with pytest.raises(
        AssetError, match=r"my\.pkl: its name does not tell what it is; name it like .*SMPL_MALE"
    ):
        plan_clean(tmp_path / "my.pkl", tmp_path / "out")
