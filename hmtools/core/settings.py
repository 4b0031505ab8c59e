"""Settings: flag > ``HMTOOLS_*`` variable > ``hmtools.toml`` > default, each value with its origin.

Files: the nearest ``hmtools.toml`` in the working directory or above it, then the user's
``$XDG_CONFIG_HOME/hmtools/hmtools.toml`` (``~/.config/...``); a key is taken from the first that has it, so a
project states what it needs and the user file holds the site's partition and account::

    raw_root = "/data/raw"          # relative paths count from the folder of this file
    engine = "slurm"

    [slurm]
    partition = "gpu"
    setup = ["module load cuda", "source venv/bin/activate"]

A variable is the name in capitals: ``HMTOOLS_RAW_ROOT``, ``HMTOOLS_SLURM_PARTITION``; an empty one counts as
unset. Unknown names and wrong types are errors that name their place: a typo never means "the default".
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hmtools.core.errors import UsageError, nearest

__all__ = [
    "FILE_NAME",
    "OTHER_VARIABLES",
    "SETTINGS",
    "RaySettings",
    "Setting",
    "Settings",
    "SlurmSettings",
    "TrainSettings",
    "load_settings",
    "settings_files",
]

FILE_NAME = "hmtools.toml"
PREFIX = "HMTOOLS_"

OTHER_VARIABLES: dict[str, str] = {
    "HMTOOLS_DEBUG": "1: show the traceback behind an error message",
    "HMTOOLS_SAMPLES": "tests: the folder of real data excerpts",
}
"""Variables with our prefix that are not settings; any other unknown one is an error."""

ENGINES = ("local", "ray", "slurm")


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of :data:`SETTINGS`; ``kind`` is path, text, whole, count, engine, lines or table."""

    name: str
    kind: str
    default: Any
    help: str

    @property
    def env(self) -> str:
        """The environment variable: ``slurm.partition`` -> ``HMTOOLS_SLURM_PARTITION``."""
        return PREFIX + self.name.upper().replace(".", "_")


_ROWS = (
    Setting("raw_root", "path", "raw", "official downloads, one folder per dataset"),
    Setting("shards_root", "path", "shards", "converted datasets"),
    Setting("runs_root", "path", "runs", "training runs, predictions and reports"),
    Setting("body_models", "path", "body_models", "SMPL, SMPL-H and SMPL-X model files"),
    Setting("checkpoints", "path", "checkpoints", "released weights"),
    Setting("engine", "engine", "local", "where units run: local, ray or slurm"),
    Setting("workers", "whole", None, "parallel workers; 0: none, to debug; unset: local takes every core"),
    Setting("unit_timeout", "count", None, "seconds after which a unit counts as failed; unset: no limit"),
    Setting("slurm.partition", "text", None, "partition to submit to; unset: the site's default, as below"),
    Setting("slurm.account", "text", None, "account to charge"),
    Setting("slurm.qos", "text", None, "quality of service"),
    Setting("slurm.gres", "text", None, "generic resources, such as gpu:4, of one task; train: of one node"),
    Setting("slurm.time", "text", None, "time limit of one task, such as 04:00:00"),
    Setting("slurm.setup", "lines", (), "shell lines run before python in every batch script"),
    Setting("slurm.container", "text", None, "a .sif, an image for pyxis, or options of srun"),
    Setting("slurm.array_parallelism", "count", None, "array tasks that may run at once"),
    Setting("slurm.max_array", "count", 1000, "largest array the site accepts; more units share a task"),
    Setting("ray.address", "text", None, "cluster to join; unset: a local one is started"),
    Setting("ray.runtime_env", "table", {}, "its env_vars and py_executable (a table; JSON in a variable)"),
    Setting("train.recipe", "text", "smplerx/h32", "what is trained when no recipe is named"),
)

SETTINGS: dict[str, Setting] = {row.name: row for row in _ROWS}
"""Every setting by its dotted name, in the order users see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmSettings:
    """The ``slurm.*`` rows of :data:`SETTINGS`; ``None`` leaves an option to the site."""

    partition: str | None
    account: str | None
    qos: str | None
    gres: str | None
    time: str | None
    setup: tuple[str, ...]
    container: str | None
    array_parallelism: int | None
    max_array: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RaySettings:
    """The ``ray.*`` rows of :data:`SETTINGS`."""

    address: str | None
    runtime_env: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """The ``train.*`` rows of :data:`SETTINGS`."""

    recipe: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, resolved (:func:`load_settings`). Paths are absolute; ``None`` means unset."""

    raw_root: Path
    shards_root: Path
    runs_root: Path
    body_models: Path
    checkpoints: Path
    engine: Literal["local", "ray", "slurm"]
    workers: int | None
    unit_timeout: int | None
    slurm: SlurmSettings
    ray: RaySettings
    train: TrainSettings
    origins: dict[str, str] = field(repr=False, compare=False)

    def get(self, name: str) -> Any:
        """Return a value by its dotted name, such as ``"slurm.partition"``."""
        value: Any = self
        for part in _known(name).split("."):
            value = getattr(value, part)
        return value

    def origin(self, name: str) -> str:
        """Where a value comes from: ``"flag"``, a variable's name, a file's path or ``"default"``."""
        return self.origins.get(_known(name), "default")


def _unknown(place: str, name: str) -> str:
    return f"{place}: there is no setting {name!r}{nearest(name, SETTINGS)}"


def _known(name: str) -> str:
    if name not in SETTINGS:
        raise UsageError(_unknown("settings", name))
    return name


# Readers: (value, folder that relative paths count from) -> typed value; ValueError holds what was expected.


def _path(value: Any, folder: Path) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError("a path (text)")
    try:
        return folder / Path(value).expanduser()
    except RuntimeError as error:  # "~name" of a user this machine does not know
        raise ValueError("a path whose ~ can be resolved") from error


def _text(value: Any, _: Path) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError('text in quotes, such as "04:00:00"' if not isinstance(value, str) else "text")
    return value


def _whole(value: Any, _: Path) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a whole number")
    return value


def _count(value: Any, folder: Path) -> int:
    if _whole(value, folder) == 0:
        raise ValueError("a whole number from 1 on")
    return int(value)


def _engine(value: Any, _: Path) -> str:
    if value not in ENGINES:
        raise ValueError(f"one of {', '.join(ENGINES)}{nearest(str(value), ENGINES)}")
    return str(value)


def _lines(value: Any, _: Path) -> tuple[str, ...]:
    rows = value.splitlines() if isinstance(value, str) else value
    if not isinstance(rows, list | tuple) or not all(isinstance(row, str) for row in rows):
        raise ValueError("text lines (a list of text)")
    return tuple(row for row in rows if row.strip())


def _mapping(value: Any, _: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("a table (in a variable: a JSON object)")
    return dict(value)


_READERS: dict[str, Callable[[Any, Path], Any]] = {
    "path": _path,
    "text": _text,
    "whole": _whole,
    "count": _count,
    "engine": _engine,
    "lines": _lines,
    "table": _mapping,
}


def _from_text(kind: str, text: str) -> Any:
    """Read the text of a variable as TOML would have read the value; what does not parse stays text."""
    if kind in ("whole", "count") and text.strip().isdecimal():
        return int(text)
    if kind == "table":
        import json

        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


@dataclass(frozen=True, slots=True)
class _Source:
    """Raw values found in one place, and what is wrong there already."""

    label: Callable[[str], str]
    folder: Path
    values: Mapping[str, Any]
    problems: tuple[str, ...] = ()


def load_settings(flags: Mapping[str, Any] | None = None, *, start: Path | None = None) -> Settings:
    """Resolve every setting.

    Args:
        flags: values given on the command line by dotted name; ``None`` values count as not given.
        start: where the search for ``hmtools.toml`` begins and what relative paths in flags, variables and
            defaults count from (default: the working directory).

    Returns:
        The settings; :meth:`Settings.origin` tells where each value comes from.

    Raises:
        UsageError: listing *every* unknown name, unreadable file and value of the wrong type with its place.
    """
    here = Path.cwd() if start is None else start.absolute()
    sources = [_from_flags(flags or {}, here), _from_environment(here)]
    sources += [_from_file(path) for path in settings_files(here) if path.is_file()]
    problems = [problem for source in sources for problem in source.problems]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for setting in SETTINGS.values():
        read, default = _READERS[setting.kind], setting.default
        values[setting.name] = None if default is None else read(default, here)
        for source in reversed(sources):  # every place is checked, also where a stronger one wins
            if setting.name in source.values:
                found, label = source.values[setting.name], source.label(setting.name)
                try:
                    values[setting.name] = read(found, source.folder)
                except ValueError as error:
                    problems.append(f"{label}: {setting.name} must be {error}, found {found!r}")
                origins[setting.name] = label
    if problems:
        raise UsageError("\n".join(problems))
    return _assemble(values, origins)


def settings_files(start: Path | None = None) -> list[Path]:
    """Return the files that are read, strongest first: the project's (if any), the user's (may be absent)."""
    here = Path.cwd() if start is None else start.absolute()
    project = next((p / FILE_NAME for p in (here, *here.parents) if (p / FILE_NAME).is_file()), None)
    config = os.environ.get("XDG_CONFIG_HOME", "")
    folder = Path(config) if Path(config).is_absolute() else Path("~/.config").expanduser()
    user = folder / "hmtools" / FILE_NAME
    return [user] if project is None or project == user else [project, user]


def _from_flags(flags: Mapping[str, Any], here: Path) -> _Source:
    given = {name: value for name, value in flags.items() if value is not None}
    problems = (_unknown("flag", name) for name in given if name not in SETTINGS)
    return _Source(lambda _: "flag", here, given, tuple(problems))


def _from_environment(here: Path) -> _Source:
    ours = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    known = [*(row.env for row in SETTINGS.values()), *OTHER_VARIABLES]
    problems = (
        f"environment: hmtools knows no variable {name}{nearest(name, known)}"
        for name in ours
        if name not in known
    )
    values = {row.name: _from_text(row.kind, ours[row.env]) for row in SETTINGS.values() if ours.get(row.env)}
    return _Source(lambda name: SETTINGS[name].env, here, values, tuple(problems))


def _from_file(path: Path) -> _Source:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        return _Source(str, path.parent, {}, problems=(f"{path}: cannot be read as TOML: {error}",))
    found = dict(_flatten(content))
    problems = (_unknown(str(path), name) for name in found if name not in SETTINGS)
    return _Source(lambda _: str(path), path.parent, found, tuple(problems))


def _flatten(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    groups = {name.partition(".")[0] for name in SETTINGS if "." in name}
    for key, value in content.items():
        if key in groups and isinstance(value, dict):
            yield from ((f"{key}.{name}", inner) for name, inner in value.items())
        else:
            yield key, value


def _assemble(values: Mapping[str, Any], origins: dict[str, str]) -> Settings:
    groups: dict[str, dict[str, Any]] = {"": {}, "slurm": {}, "ray": {}, "train": {}}
    for name, value in values.items():
        group, _, leaf = name.rpartition(".")
        groups[group][leaf] = value
    slurm, ray = SlurmSettings(**groups["slurm"]), RaySettings(**groups["ray"])
    train = TrainSettings(**groups["train"])
    return Settings(**groups[""], slurm=slurm, ray=ray, train=train, origins=origins)
