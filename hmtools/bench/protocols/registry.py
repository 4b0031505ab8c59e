"""Finds protocols: every module beside this one, and entry points of the group ``hmtools.protocols``.

One decorator, one file; no list to edit. A duplicate, an incomplete declaration or a module that fails to
import is an error that names the file.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from importlib.metadata import entry_points

from hmtools.bench.protocols.base import Protocol
from hmtools.core.errors import HmtoolsError, UsageError, nearest

__all__ = ["all_protocols", "get_protocol", "register"]

Key = tuple[str, str]
_REQUIRED = (
    *("id", "testset", "names", "title", "source", "dataset", "splits", "truth", "metrics", "primary"),
)
_registered: dict[Key, type[Protocol]] = {}


def register(kind: type[Protocol]) -> type[Protocol]:
    """Class decorator that makes a protocol known.

    Raises:
        UsageError: for a duplicate, an incomplete declaration, an id without version, a primary error that is
            none of its metrics, or a second default of a set; naming the file.
    """
    where = inspect.getsourcefile(kind) or kind.__module__
    if missing := [name for name in _REQUIRED if not hasattr(kind, name)]:
        raise UsageError(f"{where}: protocol {kind.__name__} does not declare {', '.join(missing)}")
    name, _, version = kind.id.partition("@")
    if not name or not version.isdigit():
        raise UsageError(f"{where}: protocol id {kind.id!r} must be a name and a version, such as smplerx@1")
    if kind.primary not in kind.metrics:
        raise UsageError(f"{where}: primary error {kind.primary!r} is none of {', '.join(kind.metrics)}")
    if (kind.measure is None) != kind.per_image:
        raise UsageError(f"{where}: protocol {kind.__name__} needs a measure, or per_image, and not both")
    others = [other for other in _registered.values() if _place(other) != _place(kind)]
    for other in others:
        if (other.id, other.testset) == (kind.id, kind.testset):
            taken = inspect.getsourcefile(other)
            raise UsageError(f"{where}: {kind.id} of {kind.testset} is taken by {other.__name__} in {taken}")
        if kind.default and other.default and other.testset == kind.testset:
            raise UsageError(f"{where}: {kind.testset} has a default already, {other.id}")
    _registered[kind.id, kind.testset] = kind
    return kind


def _place(kind: type[Protocol]) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__


@cache
def _discover() -> None:
    package = importlib.import_module("hmtools.bench.protocols")
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        _import(module.name)
    for point in entry_points(group="hmtools.protocols"):
        _import(point.value.partition(":")[0])


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except HmtoolsError:
        raise
    except Exception as error:
        raise UsageError(
            f"protocol module {module} fails to import: {type(error).__name__}: {error}"
        ) from error


def all_protocols() -> list[type[Protocol]]:
    """Every protocol, by test set, its default first, then by id."""
    _discover()
    return sorted(_registered.values(), key=lambda kind: (kind.testset, not kind.default, kind.id))


def get_protocol(testset: str, id: str | None = None) -> type[Protocol]:
    """A protocol of a test set.

    Args:
        testset: as reports call it, see :func:`hmtools.bench.testsets.find_testset` for what people write.
        id: which one, with or without its version (the newest); None is the set's default.

    Raises:
        UsageError: if the set is unknown, or has no such protocol; with the nearest.
    """
    own = [kind for kind in all_protocols() if kind.testset == testset]
    if not own:
        known = sorted({kind.testset for kind in all_protocols()})
        raise UsageError(f"unknown test set {testset!r}{nearest(testset, known)} (known: {', '.join(known)})")
    if id is None:
        return own[0]
    matching = [kind for kind in own if id in (kind.id, kind.id.partition("@")[0])]
    if not matching:
        ids = [kind.id for kind in own]
        raise UsageError(f"{testset} has no protocol {id!r}{nearest(id, ids)} (it has: {', '.join(ids)})")
    return max(matching, key=lambda kind: int(kind.id.partition("@")[2]))
