"""Finds datasets: every module beside this one, and entry points of the group ``hmtools.datasets``.

One decorator, one file; no list to edit. A duplicate name, an incomplete declaration or a module that fails
to import is an error that names the file.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from importlib.metadata import entry_points

from hmtools.core.errors import HmtoolsError, UsageError, nearest
from hmtools.datasets.base import Dataset

__all__ = ["all_datasets", "get_dataset", "register"]

_REQUIRED = ("name", "title", "homepage", "licence", "commercial_use", "citation", "layout", "splits")
_ROLES = {"train", "val", "test"}
# Sets that recipes and body models know by these names; one that gets a converter may stay in the list.
_WITHOUT_CONVERTER = (
    "amass", "arctic", "bedlam", "behave", "chi3d", "crowdpose", "egobody_kinect", "emdb", "fit3d",
    "gta_human2", "human36m", "humansc3d", "insta_variety", "lspet", "mpi_inf_3dhp", "mpii", "mtp", "muco",
    "ochuman", "posetrack", "prox", "renbody", "renbody_hires", "rich", "spec", "ssp3d", "synbody",
    "talkshow", "up3d",
)  # fmt: skip
_registered: dict[str, type[Dataset]] = {}


def register(kind: type[Dataset]) -> type[Dataset]:
    """Class decorator that makes a dataset known.

    Raises:
        UsageError: for a duplicate name or an incomplete declaration, naming the file.
    """
    where = inspect.getsourcefile(kind) or kind.__module__
    missing = [name for name in _REQUIRED if not hasattr(kind, name)]
    if missing:
        raise UsageError(f"{where}: dataset {kind.__name__} does not declare {', '.join(missing)}")
    if not kind.name.replace("_", "").isalnum() or kind.name != kind.name.lower():
        raise UsageError(f"{where}: dataset name {kind.name!r} must be lower-case letters, digits and _")
    if bad := {role for role in kind.splits.values() if role not in _ROLES}:
        raise UsageError(f"{where}: roles are train, val, test; found {', '.join(sorted(bad))}")
    other = _registered.get(kind.name)
    if other is not None and (other.__module__, other.__qualname__) != (kind.__module__, kind.__qualname__):
        raise UsageError(f"{where}: dataset name {kind.name!r} is taken by {inspect.getsourcefile(other)}")
    _registered[kind.name] = kind
    return kind


@cache
def _discover() -> None:
    package = importlib.import_module("hmtools.datasets")
    for module in pkgutil.iter_modules(package.__path__, "hmtools.datasets."):
        _import(module.name)
    for point in entry_points(group="hmtools.datasets"):
        _import(point.value.partition(":")[0])


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except HmtoolsError:
        raise
    except Exception as error:
        raise UsageError(
            f"dataset module {module} fails to import: {type(error).__name__}: {error}"
        ) from error


def all_datasets() -> dict[str, type[Dataset]]:
    """Name → class of every dataset, sorted by name."""
    _discover()
    return dict(sorted(_registered.items()))


def get_dataset(name: str) -> type[Dataset]:
    """The class of one dataset.

    Args:
        name: its name or an alias, in any case, with or without ``-``, ``_`` and blanks.

    Raises:
        UsageError: for an unknown name, with the nearest and all that there are; and for a set that has no
            converter in this version.
    """
    known = all_datasets()
    if name in known:
        return known[name]
    words = {_plain(alias): kind for kind in known.values() for alias in kind.aliases}
    words |= {_plain(own): kind for own, kind in known.items()}  # a name beats another's alias
    if _plain(name) in words:
        return words[_plain(name)]
    names = f"{', '.join(known)}; see `hmtools datasets`"
    if _plain(name) in map(_plain, _WITHOUT_CONVERTER):
        raise UsageError(f"{name}: no converter in this version (it converts {names})")
    hint = nearest(name.lower(), [*known, *(alias for kind in known.values() for alias in kind.aliases)])
    raise UsageError(f"unknown dataset {name!r}{hint} (known: {names})")


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
