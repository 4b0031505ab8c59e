"""Loading by name: cached, hashed by content, checked without raising."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from hmtools.bodies.assets import (
    asset,
    body_hash,
    check,
    load_array,
    load_model,
    read_model,
    standin_dir,
)
from hmtools.bodies.read_model import model_from_raw
from hmtools.core.atomic import file_sha256
from hmtools.core.errors import AssetError, UnsafeFileError, UsageError

from .attacks import attack
from .model_files import model_content, save, write_asset


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bodies")
    for key in ("smpl_neutral", "smplx_to_j14"):
        write_asset(root, key)
    return root


def test_a_model_is_read_once_and_again_when_its_file_changes(tmp_path: Path) -> None:
    path = save(tmp_path / "SMPL_MALE.npz", model_content("smpl"))
    first = load_model("smpl", "male", roots=[tmp_path])
    assert load_model("smpl", "male", roots=[tmp_path]) is first
    save(path, model_content("smpl", betas=12))
    os.utime(path, ns=(1, 1))
    second = load_model("smpl", "male", roots=[tmp_path])
    assert second.shapedirs.shape[2] == 12
    assert second.sha256 == file_sha256(path) != first.sha256


def test_arrays_are_cached_too(root: Path) -> None:
    found = load_array("smplx_to_j14", roots=[root])
    assert found.shape == (14, 10475)
    assert load_array("smplx_to_j14", roots=[root]) is found


def test_the_setting_is_the_default(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HMTOOLS_BODY_MODELS", str(root))
    assert load_model("smpl", "neutral").gender == "neutral"
    assert load_array("smplx_to_j14").shape == (14, 10475)


def test_wrong_use_is_named(root: Path) -> None:
    with pytest.raises(UsageError, match="smpl_neutral is a body model; load_model reads it"):
        load_array("smpl_neutral", roots=[root])
    with pytest.raises(AssetError, match=r"SMPL-X model, male(.|\n)*smpl-x\.is\.tue\.mpg\.de"):
        load_model("smplx", "male", roots=[root])
    with pytest.raises(AssetError, match=r"J_regressor_h36m\.npy"):
        load_array("j_regressor_h36m", roots=[root])


def test_an_attack_is_refused_by_every_way_in(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for name in ("SMPL_MALE.pkl", "SMPLX_to_J14.pkl"):
        (tmp_path / name).write_bytes(attack("system", canary))
    with pytest.raises(UnsafeFileError, match=r"SMPL_MALE\.pkl.*system"):
        load_model("smpl", "male", roots=[tmp_path])
    with pytest.raises(UnsafeFileError, match=r"SMPLX_to_J14\.pkl.*system"):
        load_array("smplx_to_j14", roots=[tmp_path])
    for key, name in (("smpl_male", "SMPL_MALE.pkl"), ("smplx_to_j14", "SMPLX_to_J14.pkl")):
        state = check(asset(key), tmp_path / name)
        assert "system" in (state.problem or "")
        assert len(state.sha256) == 64
    assert not canary.exists()


def test_the_hash_covers_content_not_form(tmp_path: Path) -> None:
    content = model_content("smplh")
    hashes = {
        body_hash(read_model(save(tmp_path / "a.npz", content), "smplh", "male")),
        body_hash(read_model(save(tmp_path / "b.pkl", content), "smplh", "female")),
    }
    assert len(hashes) == 1
    path = tmp_path / "a.npz"
    for key in content:
        changed = content[key].copy()
        if key == "kintree_table":
            changed[0, 5] = 2
        elif key in ("weights", "J_regressor"):
            changed[0, np.flatnonzero(changed[0])[0]] -= 0.001
        else:
            changed.reshape(-1)[0] += 1 if changed.dtype.kind == "u" else 0.001
        hashes.add(body_hash(model_from_raw(content | {key: changed}, path, "smplh", "male")))
    assert len(hashes) == 1 + len(content)


def test_a_check_says_what_a_file_is_or_what_is_wrong(tmp_path: Path) -> None:
    content = model_content("smplh", betas=16, hands=False) | {"standin": np.array("hmtools stand-in")}
    path = save(tmp_path / "SMPLH_MALE.npz", content)
    state = check(asset("smplh_male"), path)
    assert (state.problem, state.standin) == (None, True)
    assert state.facts == ("16 betas", "float32", "no hand PCA")
    assert state.sha256 == file_sha256(path)
    state = check(asset("smpl_male"), path)
    assert "holds a model of SMPL-H" in (state.problem or "")
    assert state.facts == ()
    state = check(asset("smpl_male"), tmp_path / "none.npz")
    assert (state.sha256, state.problem is None) == ("", False)


def test_the_stand_in_comes_from_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = types.ModuleType("hmtools.bodies.standin.cache")
    cache.standin_dir = lambda: tmp_path  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hmtools.bodies.standin.cache", cache)
    assert standin_dir() == tmp_path
