"""Settings: which place wins, what the origin says, and that no typo passes for a default."""

from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hmtools.core.errors import UsageError
from hmtools.core.settings import (
    ENGINES,
    OTHER_VARIABLES,
    SETTINGS,
    RaySettings,
    Settings,
    SlurmSettings,
    TrainSettings,
    load_settings,
    settings_files,
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory two levels below the project folder, and a user configuration of its own."""
    for name in list(os.environ):
        if name.startswith("HMTOOLS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "hmtools").mkdir(parents=True)
    folder = tmp_path / "project"
    (folder / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(folder / "a" / "b")
    return folder


def write(folder: Path, text: str) -> Path:
    path = folder / "hmtools.toml"
    path.write_text(text)
    return path


def test_defaults_are_absolute_and_say_so(project: Path) -> None:
    settings = load_settings()
    assert settings.raw_root == Path.cwd() / "raw"
    assert settings.engine == "local"
    assert settings.workers is None
    assert settings.slurm.max_array == 1000
    assert settings.slurm.setup == ()
    assert settings.ray.runtime_env == {}
    assert {settings.origin(name) for name in SETTINGS} == {"default"}


def test_each_place_beats_the_next(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = write(
        project.parent / "config" / "hmtools", '[slurm]\npartition = "user"\nqos = "low"\naccount = "a"'
    )
    near = write(project, '[slurm]\npartition = "project"\nqos = "high"')
    settings = load_settings()
    assert (settings.slurm.partition, settings.origin("slurm.partition")) == ("project", str(near))
    assert (settings.slurm.account, settings.origin("slurm.account")) == ("a", str(user))
    monkeypatch.setenv("HMTOOLS_SLURM_PARTITION", "variable")
    settings = load_settings()
    assert settings.slurm.partition == "variable"
    assert settings.origin("slurm.partition") == "HMTOOLS_SLURM_PARTITION"
    settings = load_settings({"slurm.partition": "flag", "slurm.qos": None})
    assert (settings.slurm.partition, settings.origin("slurm.partition")) == ("flag", "flag")
    assert (settings.slurm.qos, settings.origin("slurm.qos")) == ("high", str(near))


def test_the_nearest_file_wins_and_files_above_it_are_not_read(project: Path) -> None:
    write(project, "workers = 3\nnonsense = 1")
    near = write(project / "a", 'engine = "ray"')
    settings = load_settings()
    assert (settings.engine, settings.workers) == ("ray", None)
    user = project.parent / "config" / "hmtools" / "hmtools.toml"
    assert settings_files() == [near, user]
    assert settings_files(user.parent) == [user]


def test_the_user_file_defaults_to_dot_config(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert settings_files() == [tmp_path / ".config" / "hmtools" / "hmtools.toml"]
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")  # the XDG rule: a relative one is ignored
    assert settings_files() == [tmp_path / ".config" / "hmtools" / "hmtools.toml"]


def test_relative_paths_count_from_where_they_are_written(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    write(project, 'raw_root = "data/raw"\nshards_root = "~/shards"\nruns_root = "/big/runs"')
    monkeypatch.setenv("HMTOOLS_CHECKPOINTS", "weights")
    settings = load_settings({"body_models": Path("models")})
    assert settings.raw_root == project / "data" / "raw"
    assert settings.shards_root == Path("/home/someone/shards")
    assert settings.runs_root == Path("/big/runs")
    assert settings.checkpoints == project / "a" / "b" / "weights"
    assert settings.body_models == project / "a" / "b" / "models"
    assert load_settings({"raw_root": "x"}, start=project).raw_root == project / "x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("raw_rot = 'x'", "there is no setting 'raw_rot'; did you mean 'raw_root'"),
        ("[slurm]\nparttion = 'x'", "'slurm.parttion'; did you mean 'slurm.partition'"),
        ("slurm = 'gpu'", "there is no setting 'slurm'"),
        ("workers = 'four'", "workers must be a whole number, found 'four'"),
        ("workers = '4'", "workers must be a whole number"),
        ("workers = true", "workers must be a whole number"),
        ("workers = -1", "workers must be a whole number"),
        ("[slurm]\nmax_array = 0", "slurm.max_array must be a whole number from 1 on, found 0"),
        ("workers = 1.0", "workers must be a whole number"),
        ("raw_root = 3", "raw_root must be a path (text), found 3"),
        ("raw_root = ''", "raw_root must be a path"),
        ("raw_root = '~nobody-has-this-name/x'", "whose ~ can be resolved"),
        ("engine = 'slrm'", "one of local, ray, slurm; did you mean 'slurm'?"),
        ("engine = ['ray']", "engine must be one of local, ray, slurm"),
        ("[slurm]\ntime = 04:00:00", 'text in quotes, such as "04:00:00"'),
        ("[slurm]\nsetup = [1]", "slurm.setup must be text lines"),
        ("[ray]\nruntime_env = 'x'", "ray.runtime_env must be a table"),
        ("raw_root = ", "cannot be read as TOML"),
    ],
)
def test_a_wrong_file_is_named(project: Path, text: str, expected: str) -> None:
    path = write(project, text)
    with pytest.raises(UsageError) as error:
        load_settings()
    assert str(path) in str(error.value)
    assert expected in str(error.value)


def test_bytes_that_are_no_text_are_named(project: Path) -> None:
    (project / "hmtools.toml").write_bytes(b"raw_root = '\xff'")
    with pytest.raises(UsageError, match=r"hmtools\.toml: cannot be read as TOML"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("HMTOOLS_RAW_RROOT", "x", "no variable HMTOOLS_RAW_RROOT; did you mean 'HMTOOLS_RAW_ROOT'"),
        ("HMTOOLS_PARTITION", "x", "no variable HMTOOLS_PARTITION; did you mean 'HMTOOLS_SLURM_PARTITION'"),
        ("HMTOOLS_WORKERS", "many", "HMTOOLS_WORKERS: workers must be a whole number"),
        ("HMTOOLS_ENGINE", "k8s", "HMTOOLS_ENGINE: engine must be one of"),
        ("HMTOOLS_RAY_RUNTIME_ENV", "[1]", "HMTOOLS_RAY_RUNTIME_ENV: ray.runtime_env must be a table"),
        ("HMTOOLS_RAY_RUNTIME_ENV", "{", "HMTOOLS_RAY_RUNTIME_ENV: ray.runtime_env must be a table"),
    ],
)
def test_a_wrong_variable_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as error:
        load_settings()
    assert expected in str(error.value)


def test_all_problems_are_listed_at_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, "workers = -2\nbogus = 1")
    monkeypatch.setenv("HMTOOLS_BOGUS", "1")
    monkeypatch.setenv("HMTOOLS_ENGINE", "bogus")
    with pytest.raises(UsageError) as error:
        load_settings({"bogus": 1, "workers": 2})
    assert len(str(error.value).splitlines()) == 5  # also the file's workers, though the flag beats it


def test_variables_hold_every_kind(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HMTOOLS_WORKERS", "12")
    monkeypatch.setenv("HMTOOLS_SLURM_SETUP", "module load cuda\n\nsource v/bin/activate")
    monkeypatch.setenv("HMTOOLS_RAY_RUNTIME_ENV", '{"env_vars": {"A": "1"}}')
    monkeypatch.setenv("HMTOOLS_ENGINE", "")  # empty counts as unset
    for name in OTHER_VARIABLES:
        monkeypatch.setenv(name, "1")
    settings = load_settings()
    assert settings.workers == 12
    assert settings.slurm.setup == ("module load cuda", "source v/bin/activate")
    assert settings.ray.runtime_env == {"env_vars": {"A": "1"}}
    assert (settings.engine, settings.origin("engine")) == ("local", "default")


def test_a_file_holds_every_kind(project: Path) -> None:
    write(
        project,
        'workers = 2\n[slurm]\nsetup = ["a", "b"]\nmax_array = 50\n[ray]\naddress = "auto"\n'
        "[ray.runtime_env]\npip = ['x']",
    )
    settings = load_settings()
    assert settings.slurm == dataclasses.replace(
        load_settings(start=Path("/")).slurm, setup=("a", "b"), max_array=50
    )
    assert settings.ray.runtime_env == {"pip": ["x"]}
    assert settings.ray.address == "auto"


def test_the_table_and_the_classes_agree(project: Path) -> None:
    names: list[str] = []
    kinds = {
        "path": {Path},
        "whole": {int},
        "count": {int},
        "lines": {tuple[str, ...]},
        "table": {dict[str, Any]},
        "text": {str},
    }
    groups = {"slurm.": SlurmSettings, "ray.": RaySettings, "train.": TrainSettings}
    for prefix, cls in {"": Settings, **groups}.items():
        hints = get_type_hints(cls)
        for field in dataclasses.fields(cls):
            if cls is Settings and field.name in {"slurm", "ray", "train", "origins"}:
                continue
            row = SETTINGS[prefix + field.name]
            names.append(row.name)
            if row.kind == "engine":
                assert get_args(hints[field.name]) == ENGINES
                continue
            hint = hints[field.name]
            optional = type(None) in get_args(hint)
            found = {a for a in get_args(hint) if a is not type(None)} if optional else {hint}
            assert found == kinds[row.kind], row.name
            assert optional == (row.default is None), row.name
    assert set(names) == set(SETTINGS)
    assert len({row.env for row in SETTINGS.values()}) == len(SETTINGS)
    assert all(row.help for row in SETTINGS.values())


def test_values_by_name(project: Path) -> None:
    settings = load_settings({"slurm.gres": "gpu:2"})
    assert settings.get("slurm.gres") == "gpu:2"
    assert settings.get("engine") == "local"
    for call in (settings.get, settings.origin):
        with pytest.raises(UsageError, match=r"did you mean 'slurm\.gres'"):
            call("slurm.grs")


def test_settings_travel_to_workers(project: Path) -> None:
    settings = load_settings({"workers": 2})
    copy = pickle.loads(pickle.dumps(settings))
    assert copy == settings
    assert copy.origin("workers") == "flag"


def test_runtime_env_is_not_shared_between_settings(project: Path) -> None:
    load_settings().ray.runtime_env["pip"] = ["x"]
    assert load_settings().ray.runtime_env == {}


def test_importing_settings_is_cheap() -> None:
    code = (
        "import sys, hmtools.core.settings; "
        "print([m for m in ('numpy','torch','ray','pyarrow','rich','typer','json') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1), value=st.integers())
def test_any_unknown_key_is_refused_and_no_known_one_is(project: Path, name: str, value: int) -> None:
    path = write(project, f"{name} = {value}")
    if name == "workers" and value >= 0:
        assert load_settings().workers == value
        return
    with pytest.raises(UsageError) as error:
        load_settings()
    assert str(path) in str(error.value)
    assert name in str(error.value)
