"""Files are found where people have them; which one is taken does not depend on the machine."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from hmtools.bodies import search
from hmtools.bodies.catalogue import CATALOGUE
from hmtools.bodies.search import asset, find, find_all, identify, require, search_roots
from hmtools.core.errors import AssetError, UsageError

from .model_files import official_path


def touch(root: Path, *names: str) -> list[Path]:
    """Empty files: a search looks at names only."""
    paths = [root / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


@pytest.mark.parametrize("key", CATALOGUE)
def test_every_row_is_found_under_each_of_its_names(tmp_path: Path, key: str) -> None:
    row = CATALOGUE[key]
    for number, name in enumerate(row.names):
        concrete = name.replace("smplx*/", "smplx/").replace("smplh*/", "smplh_v12/").replace("*", "1.1.0")
        for form in (concrete, concrete.lower(), concrete.upper()):
            root = tmp_path / f"{number}{form.replace('/', '_')}"
            folder = "models_lockedhead/smplx" if row.locked_head else "sub"
            (path,) = touch(root, f"{folder}/{form}")
            found = find(key, [root])
            assert found is not None, form
            assert (found.path, found.asset, found.others) == (path, row, ())
            assert [item.asset.key for item in find_all([root])] == [key]
            one = identify(path)
            assert one is not None
            assert one.asset is row


@pytest.mark.parametrize(
    ("name", "key", "version"),
    [
        ("smplify_public/code/models/basicModel_neutral_lbs_10_207_0_v1.0.0.pkl", "smpl_neutral", "v1.0.0"),
        ("smpl/models/basicModel_f_lbs_10_207_0_v1.0.0.pkl", "smpl_female", "v1.0.0"),
        ("smpl/models/basicmodel_m_lbs_10_207_0_v1.0.0.pkl", "smpl_male", "v1.0.0"),
        (
            "SMPL_python_v.1.1.0/smpl/models/basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl",
            "smpl_neutral",
            "v1.1.0",
        ),
        ("mano_v1_2/models/SMPLH_male.pkl", "smplh_male", ""),
        ("SMPLH_male.npz", "smplh_male", ""),
        ("smplh/male/model.npz", "smplh_male", "AMASS layout"),
        ("smplx/neutral/model.npz", "smplx_neutral", ""),
        ("models_lockedhead/smplx/SMPLX_MALE.npz", "smplx_male_lockedhead", "locked head"),
        ("smplx/SMPLX_NEUTRAL_2020.npz", "smplx_neutral_2020", ""),
        ("transfer_data/smplx2smpl_deftrafo_setup.pkl", "smplx_to_smpl", ""),
        ("body_models/smplx2smpl.pkl", "smplx_to_smpl", ""),
    ],
)
def test_names_that_circulate(tmp_path: Path, name: str, key: str, version: str) -> None:
    touch(tmp_path, name)
    (found,) = find_all([tmp_path])
    assert (found.asset.key, found.version) == (key, version)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    touch(
        tmp_path, "dmpls/male/model.npz", "male/model.npz", "MANO_LEFT.pkl", "smplx/SMPLX_NEUTRAL.npz.part",
        "SMPL_NEUTRAL.txt", ".cache/SMPL_NEUTRAL.pkl", "x/.git/SMPL_MALE.pkl", "my_SMPL_MALE.pkl",
    )  # fmt: skip
    assert find_all([tmp_path]) == []
    assert identify(tmp_path / "MANO_LEFT.pkl") is None


def test_a_checkout_of_smplerx_is_searched_in_its_model_folder_only(tmp_path: Path) -> None:
    wanted, *_ = touch(
        tmp_path,
        "SMPLer-X/common/utils/human_model_files/smplx/SMPLX_NEUTRAL.npz",
        "SMPLer-X/dataset/SMPLX_NEUTRAL.npz",
        "SMPLer-X/common/SMPL_MALE.pkl",
    )
    for root in (tmp_path, tmp_path / "SMPLer-X"):
        assert [found.path for found in find_all([root])] == [wanted]


def test_which_of_several_is_taken(tmp_path: Path) -> None:
    order = touch(
        tmp_path / "b",
        "deep/SMPL_FEMALE.npz",
        "SMPL_FEMALE.pkl",
        "basicmodel_f_lbs_10_207_0_v1.10.0.pkl",
        "basicmodel_f_lbs_10_207_0_v1.9.0.pkl",
        "a/basicmodel_f_lbs_10_207_0_v1.9.0.pkl",
        "z/basicmodel_f_lbs_10_207_0_v1.9.0.pkl",
    )
    order += touch(tmp_path / "a", "SMPL_FEMALE.npz")
    found = find("smpl_female", [tmp_path / "b", tmp_path / "a"])
    assert found is not None
    assert [found.path, *found.others] == order
    found = find("smpl_female", [tmp_path / "a", tmp_path / "b"])
    assert found is not None
    assert found.path == order[-1]


def test_another_release_is_never_taken_for_the_regular_model(tmp_path: Path) -> None:
    touch(tmp_path, "models_lockedhead/smplx/SMPLX_NEUTRAL.npz")
    assert find("smplx_neutral", [tmp_path]) is None
    with pytest.raises(AssetError, match=r"lockedhead/smplx/SMPLX_NEUTRAL\.npz is another release"):
        require("smplx_neutral", [tmp_path])
    (regular,) = touch(tmp_path, "models/smplx/SMPLX_NEUTRAL.npz")
    found = find("smplx_neutral", [tmp_path])
    assert found is not None
    assert found.path == regular


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    touch(tmp_path / "store", "smpl/SMPL_MALE.pkl")
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").symlink_to(tmp_path / "store")
    (root / "b").symlink_to(root)
    (root / "c").symlink_to(root / "c")
    (root / "broken").symlink_to(tmp_path / "nowhere")
    (root / "SMPL_FEMALE.pkl").symlink_to(tmp_path / "store/smpl/SMPL_MALE.pkl")
    (tmp_path / "store" / "back").symlink_to(root)
    found = find_all([root])
    assert [(item.asset.key, item.path, item.others) for item in found] == [
        ("smpl_male", root / "a/smpl/SMPL_MALE.pkl", ()),
        ("smpl_female", root / "SMPL_FEMALE.pkl", ()),
    ]


def test_depth_and_number_of_files_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "1/2/3/4/5/6/SMPL_MALE.pkl", "1/2/3/4/5/6/7/SMPL_FEMALE.pkl")
    assert [item.asset.key for item in find_all([tmp_path])] == ["smpl_male"]
    touch(tmp_path, *(f"x{number}" for number in range(20)))
    monkeypatch.setattr(search, "_MAX_ENTRIES", 10)
    with caplog.at_level(logging.WARNING):
        assert find_all([tmp_path]) == []
    assert "more than 10 files" in caplog.text


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert find_all([tmp_path / "none"]) == []
    assert find("smpl_male", []) is None


def test_the_setting_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HMTOOLS_BODY_MODELS", str(tmp_path))
    (path,) = touch(tmp_path, official_path(CATALOGUE["smpl_male"]))
    assert search_roots() == (tmp_path,)
    assert require("smpl_male").path == path


def test_an_unknown_key_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"'smplx_neutrl'; did you mean 'smplx_neutral'"):
        asset("smplx_neutrl")


def test_a_missing_file_tells_all_one_needs_to_know(tmp_path: Path) -> None:
    with pytest.raises(AssetError) as caught:
        require("smpl_female", [tmp_path, tmp_path / "none"])
    message = str(caught.value)
    for part in (
        "SMPL model, female", "SMPL_FEMALE.pkl", "basicModel_f_lbs_10_207_0_v*.pkl", f"{tmp_path},",
        f"{tmp_path / 'none'} (no such folder)", "https://smpl.is.tue.mpg.de", "after registration",
        "HMTOOLS_BODY_MODELS", "hmtools body list", "hmtools body standin",
    ):  # fmt: skip
        assert part in message
    with pytest.raises(AssetError, match=r"SMPLX_to_J14\.pkl(.|\n)*expose\.is\.tue\.mpg\.de"):
        require("smplx_to_j14", [tmp_path])


def test_a_choice_among_several_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    taken, passed = touch(tmp_path, "SMPL_MALE.npz", "SMPL_MALE.pkl")
    with caplog.at_level(logging.INFO):
        require("smpl_male", [tmp_path])
        require("smpl_male", [tmp_path])
    assert caplog.text.count(f"smpl_male: taking {taken}, passing over {passed}") == 1
