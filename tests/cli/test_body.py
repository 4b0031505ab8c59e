"""``hmtools body``: what people and programs see, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hmtools.bodies.catalogue import CATALOGUE
from tests.bodies.attacks import attack
from tests.bodies.model_files import model_content, save, write_asset
from tests.cli.conftest import Run


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the setting, with a model, its pickle and a regressor."""
    root = tmp_path / "models"
    save(root / "smpl/SMPL_MALE.npz", model_content("smpl") | {"standin": np.array("hmtools stand-in 1")})
    save(root / "basicmodel_m_lbs_10_207_0_v1.1.0.pkl", model_content("smpl", betas=12))
    write_asset(root, "smplx_to_j14")
    monkeypatch.setenv("HMTOOLS_BODY_MODELS", str(root))
    return root


def test_list_shows_what_is_there_and_where_to_get_the_rest(
    run: Run, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    out = run("body", "list").stdout
    lines = out.splitlines()
    first = lines.index("smpl_male                 smpl/SMPL_MALE.npz")
    assert lines[first + 1].strip().startswith("stand-in, 10 betas, float32, 20.2 MB")
    assert lines[first + 2].strip() == "taken before basicmodel_m_lbs_10_207_0_v1.1.0.pkl"
    assert lines[0].startswith("missing for: agora, agora (children), ")
    assert "bedlam" not in lines[0]
    assert "missing, by the page that has it:" in lines
    assert "https://smpl.is.tue.mpg.de  (research only, after registration)" in lines
    assert "smpl_female               SMPL_FEMALE.npz|pkl, basicModel_f_lbs_10_207_0_v*.pkl" in lines
    assert f"searched: {models}  (setting body_models)" in lines
    shown, missing = out.split("missing, by the page")
    assert all((key in missing) != (key in ("smpl_male", "smplx_to_j14")) for key in CATALOGUE)
    assert "smplx_to_j14" in shown


@pytest.mark.parametrize("columns", [80, 120])
def test_pages_fit_the_terminal(
    run: Run, models: Path, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for arguments in (["body", "list"], ["body", "check"], ["body", "--help"], ["body", "convert", "--help"]):
        lines = [
            line for line in run(*arguments).stdout.splitlines() if not line.startswith(("http", "searched"))
        ]
        assert max(map(len, lines)) <= min(columns, 100)


def test_list_without_any_model(run: Run, tmp_path: Path) -> None:
    out = run("body", "list").stdout
    assert f"searched: {tmp_path / 'body_models'} (no such folder)  (setting body_models)" in out
    assert "no licence yet? 'hmtools body standin --out DIR'" in out
    facts = json.loads(run("body", "list", "--json").stdout)
    assert facts["searched"] == [{"path": str(tmp_path / "body_models"), "found": False}]
    assert set(facts["assets"]) == set(CATALOGUE)
    assert not any(row["found"] for row in facts["assets"].values())


def test_list_as_json(run: Run, models: Path) -> None:
    rows = json.loads(run("body", "list", models, "--json").stdout)["assets"]
    row = rows["smpl_male"]
    assert (row["found"], row["standin"], row["problem"]) == (True, True, None)
    assert row["path"] == str(models / "smpl/SMPL_MALE.npz")
    assert row["others"] == [str(models / "basicmodel_m_lbs_10_207_0_v1.1.0.pkl")]
    assert len(row["sha256"]) == 64
    assert rows["smplx_male"]["page"] == "https://smpl-x.is.tue.mpg.de"


def test_check_reads_everything(run: Run, models: Path) -> None:
    out = run("body", "check").stdout
    assert "smpl_male                 basicmodel_m_lbs_10_207_0_v1.1.0.pkl: ok" in out
    assert out.endswith("\n3 files, 0 problems\n")
    facts = json.loads(run("body", "check", "--json").stdout)
    assert facts["problems"] == 0
    assert [file["content"] for file in facts["files"]] == [
        ["10 betas", "float32"], ["12 betas", "float32"], ["14 x 10475", "float32"],
    ]  # fmt: skip


def test_check_ends_with_1_when_something_is_wrong(run: Run, models: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (models / "SMPL_NEUTRAL.pkl").write_bytes(attack("system", canary))
    save(models / "smplx_kid_template.npy", np.zeros((6890, 3)))
    result = run("body", "check", models, code=1)
    assert "smpl_neutral              SMPL_NEUTRAL.pkl: problem" in result.stdout
    assert "1. " in result.stdout
    assert "system" in result.stdout
    assert "expected float32 or float64 of shape (10475, 3)" in result.stdout
    assert result.stdout.endswith("\n5 files, 2 problems\n")
    assert "2 with problems: 'hmtools body check' tells" in run("body", "list").stdout
    facts = json.loads(run("body", "check", "--json", code=1).stdout)
    assert facts["problems"] == 2
    assert not canary.exists()


def test_wrong_folders_are_named(run: Run, tmp_path: Path) -> None:
    for command in ("list", "check"):
        assert "nowhere: no such folder" in run("body", command, "nowhere", code=2).stderr
    assert "no body-model files at or below" in run("body", "check", tmp_path, code=2).stderr


def test_convert_writes_clean_copies(run: Run, models: Path, tmp_path: Path) -> None:
    out = run("body", "convert", models, "--out", "clean").stdout
    assert "SMPL_MALE.npz -> clean/smpl/SMPL_MALE.npz" in out
    assert "v1.1.0.pkl: passed over, SMPL_MALE.npz is taken for smpl_male" in out
    assert (tmp_path / "clean/smplx/SMPLX_to_J14.npz").is_file()
    result = run("body", "convert", models, "--out", "clean", code=2)
    assert "--force replaces them:\n  clean/smpl/SMPL_MALE.npz" in result.stderr
    run("body", "convert", models, "--out", "clean", "--force")
    one = models / "basicmodel_m_lbs_10_207_0_v1.1.0.pkl"
    run("body", "convert", one, "--out", "pickles", "--format", "pkl")
    assert (tmp_path / "pickles/smpl/SMPL_MALE.pkl").is_file()
    assert "--format must be npz or pkl, found 'h5'" in run(
        "body", "convert", one, "--out", "x", "--format", "h5", code=2
    ).stderr  # fmt: skip


def test_convert_tells_what_it_left_out_and_goes_on_after_a_failure(
    run: Run, models: Path, tmp_path: Path
) -> None:
    (models / "smpl/SMPL_MALE.npz").unlink()
    save(models / "basicmodel_m_lbs_10_207_0_v1.1.0.pkl", model_content("smpl") | {"notes": {"by": "me"}})
    broken = models / "SMPL_FEMALE.pkl"
    broken.write_bytes(b"junk")
    result = run("body", "convert", models, "--out", "clean", code=1)
    assert "clean/smpl/SMPL_MALE.npz  (left out: notes)" in result.stdout
    assert "SMPL_FEMALE.pkl: cannot be read as a pickle" in result.stderr
    assert sorted(p.name for p in (tmp_path / "clean").rglob("*.*")) == ["SMPLX_to_J14.npz", "SMPL_MALE.npz"]
    assert "cannot be read" in run("body", "convert", broken, "--out", "other", code=2).stderr


def test_standin_is_copied_into_a_new_folder_only(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "cache"
    (made / "smpl").mkdir(parents=True)
    (made / "smpl/SMPL_MALE.pkl").write_bytes(b"body")
    monkeypatch.setattr("hmtools.bodies.assets.standin_dir", lambda: made)
    (tmp_path / "empty").mkdir()
    for name in ("new", "deep/er", "empty"):
        shown = run("body", "standin", "--out", name).stdout
        assert f"HMTOOLS_BODY_MODELS={name} hmtools body list" in shown
        assert (tmp_path / name / "smpl/SMPL_MALE.pkl").read_bytes() == b"body"
    assert "new: exists and is not empty" in run("body", "standin", "--out", "new", code=2).stderr
    assert not list(tmp_path.glob(".*"))


def test_a_group_has_help_and_names_wrong_subcommands(run: Run) -> None:
    out = run("body", "--help").stdout
    for name in ("list", "check", "convert", "standin"):
        assert f"\n  {name} " in out
        own = run("body", name, "--help").stdout
        assert f"Usage: hmtools body {name}" in own.replace("Usage: root", "Usage: hmtools")
        assert f"hmtools body {name}" in own.split("Example")[1]
    assert "No such command 'lst'" in run("body", "lst", code=2).stderr
