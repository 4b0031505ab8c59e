"""Where body-model files are looked for, and which one is taken when several fit."""

from __future__ import annotations

import fnmatch
import functools
import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hmtools.bodies.catalogue import CATALOGUE, KIND_TITLES, Asset
from hmtools.core.errors import AssetError, UsageError, nearest
from hmtools.core.settings import load_settings

__all__ = [
    "SMPLERX_FOLDER",
    "Found",
    "asset",
    "find",
    "find_all",
    "identify",
    "missing",
    "require",
    "search_roots",
]

log = logging.getLogger(__name__)

SMPLERX_FOLDER = ("common", "utils", "human_model_files")
"""Where a checkout of SMPLer-X keeps its model files; nothing else of the checkout is searched."""

_MAX_DEPTH = 6
_MAX_ENTRIES = 200_000  # a folder of images given by mistake should end the search, not hold it up for hours
_TAIL = max(name.count("/") for row in CATALOGUE.values() for name in row.names) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file that fits a row of the catalogue by its name; nothing of it has been read.

    Attributes:
        asset: the row.
        path: the file, below ``root``.
        root: the folder that was searched.
        version: what the name tells: ``v1.1.0``, ``locked head``; empty when nothing.
        others: further files that fit the same row, in the order they would have been taken.
    """

    asset: Asset
    path: Path
    root: Path
    version: str
    others: tuple[Path, ...] = ()


def search_roots() -> tuple[Path, ...]:
    """The folders searched when none are named: the setting ``body_models``."""
    return (load_settings().body_models,)


def asset(key: str) -> Asset:
    """The row of the catalogue; UsageError with the nearest key if there is none."""
    if key not in CATALOGUE:
        raise UsageError(f"there is no body-model file {key!r}{nearest(key, CATALOGUE)}")
    return CATALOGUE[key]


def find(key: str, roots: Sequence[Path] | None = None) -> Found | None:
    """The file that hmtools takes for ``key``, or None.

    Folders come in the order of ``roots``; in one of them the preferred name of the catalogue wins (npz
    before pkl, the name of the smplx package before that of the download), then the newest version, then the
    file nearest to the top, then the alphabet.

    Args:
        key: a key of :data:`~hmtools.bodies.catalogue.CATALOGUE`.
        roots: folders to search (default: :func:`search_roots`).

    Raises:
        UsageError: if there is no such key.
    """
    row = asset(key)
    return next((found for found in find_all(roots) if found.asset is row), None)


def find_all(roots: Sequence[Path] | None = None) -> list[Found]:
    """One :class:`Found` per row of the catalogue that is there, in the order of the catalogue.

    Folders are searched six levels deep, links are followed, hidden folders are not entered. Below a checkout
    of SMPLer-X only its ``common/utils/human_model_files`` is searched. A folder that does not exist holds
    nothing.
    """
    ranked: dict[str, list[tuple[tuple[object, ...], Path, Path]]] = {}
    for number, root in enumerate(search_roots() if roots is None else roots):
        for path in _files(root):
            for row, rank in _fits(path, root):
                ranked.setdefault(row.key, []).append(((number, *rank), path, root))
    chosen = []
    for key, row in CATALOGUE.items():
        if key in ranked:
            (_, path, root), *rest = sorted(ranked[key])
            others = tuple(other for _, other, _ in rest)
            chosen.append(Found(asset=row, path=path, root=root, version=_version(path, row), others=others))
    return chosen


def identify(path: Path) -> Found | None:
    """The row that a single file fits by its name and the folders it lies in, or None."""
    path = path.absolute()
    root = path.parents[min(_TAIL, len(path.parents)) - 1]
    rows = sorted((rank, row.key) for row, rank in _fits(path, root))
    if not rows:
        return None
    row = CATALOGUE[rows[0][1]]
    return Found(asset=row, path=path, root=root, version=_version(path, row))


def require(key: str, roots: Sequence[Path] | None = None) -> Found:
    """Like :func:`find`, but a file that is not there is an AssetError that tells where to get it.

    When several files fit, which one is taken is logged.
    """
    found = find(key, roots)
    if found is None:
        raise AssetError(missing(asset(key), search_roots() if roots is None else roots))
    if found.others:
        passed = ", ".join(map(str, found.others))
        _say_once(f"{key}: taking {found.path}, passing over {passed}")
    return found


@functools.cache
def _say_once(message: str) -> None:
    log.info("%s", message)


def missing(row: Asset, roots: Sequence[Path]) -> str:
    """What to tell somebody who needs ``row`` and has it in none of ``roots``."""
    head = (
        f"{row.what} ({row.key})" if row.kind == "model" else f"{KIND_TITLES[row.kind]} {row.key}: {row.what}"
    )
    inside = " in a folder named like 'lockedhead'" if row.locked_head else ""
    searched = [f"{root}" + ("" if root.is_dir() else " (no such folder)") for root in roots]
    lines = [
        f"this needs the {head}, which is not here.",
        f"  looked for  {', '.join(row.names)}{inside}",
        f"  in          {', '.join(searched)}",
        f"  get it at   {row.page} ({row.licence})",
        "  then        put it there, or point HMTOOLS_BODY_MODELS (or body_models in hmtools.toml) to its",
        "              folder; 'hmtools body list' shows what is found.",
        "  no licence  'hmtools body standin --out DIR' writes a free stand-in body to try things with.",
    ]
    if row.family == "smplx" and row.kind == "model":
        others = [found for found in find_all(roots) if _is_another_release(found.asset, row)]
        lines += [f"  note        {found.path} is another release ({found.asset.key})" for found in others]
    return "\n".join(lines)


def _is_another_release(one: Asset, other: Asset) -> bool:
    return (one.kind, one.family, one.gender) == (other.kind, other.family, other.gender)


def _files(root: Path) -> Iterator[Path]:
    """Regular files below ``root``, level by level, in the order of their names."""
    seen: set[tuple[int, int]] = set()
    level, entries = [root], 0
    for _ in range(_MAX_DEPTH + 1):
        below: list[Path] = []
        for folder in level:
            files, folders = _listed(folder, seen)
            entries += len(files) + len(folders)
            yield from files
            below += folders
            if entries > _MAX_ENTRIES:
                log.warning("%s: more than %d files; the rest is not searched", root, _MAX_ENTRIES)
                return
        level = below


def _listed(folder: Path, seen: set[tuple[int, int]]) -> tuple[list[Path], list[Path]]:
    """Files and folders in ``folder``; nothing where it cannot be read or was seen (a looping link)."""
    checkout = folder.joinpath(*SMPLERX_FOLDER)
    folder = checkout if checkout.is_dir() else folder
    files: list[Path] = []
    folders: list[Path] = []
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            return [], []
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = Path(entry.path)
                if path.is_file():
                    files.append(path)
                elif path.is_dir() and not entry.name.startswith("."):
                    folders.append(path)
    except OSError as error:
        if folder.exists():
            log.warning("%s: not searched (%s)", folder, error.strerror)
        return [], []
    return files, folders


def _fits(path: Path, root: Path) -> Iterator[tuple[Asset, tuple[object, ...]]]:
    """Rows that a file fits, with its rank among the files of the row (smaller is better)."""
    inside = path.relative_to(root).parts
    tail = "/".join((root.name, *inside)[-_TAIL:]).lower()
    locked = any(fnmatch.fnmatchcase(part.lower(), "*locked*head*") for part in (root.name, *inside))
    for row in CATALOGUE.values():
        if row.family == "smplx" and row.kind == "model" and row.locked_head != locked:
            continue
        for place, name in enumerate(row.names):
            end = "/".join(tail.split("/")[-1 - name.count("/") :])
            if fnmatch.fnmatchcase(end, name.lower()):
                newest = tuple(-number for number in _numbers(path))
                yield row, (place, newest, len(inside), str(path))
                break


def _numbers(path: Path) -> tuple[int, ...]:
    found = re.search(r"_v(\d+(?:\.\d+)*)", path.stem, re.IGNORECASE)
    return tuple(map(int, found[1].split("."))) if found else ()


def _version(path: Path, row: Asset) -> str:
    facts = ["v" + ".".join(map(str, numbers))] if (numbers := _numbers(path)) else []
    facts += ["locked head"] if row.locked_head else []
    facts += ["AMASS layout"] if row.family == "smplh" and path.stem == "model" else []
    return ", ".join(facts)
