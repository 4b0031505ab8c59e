"""What ``hmtools body`` prints: pages for people, the same facts as JSON."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from hmtools.bodies.assets import CATALOGUE, Asset, AssetStatus, Found
from hmtools.core.log import format_bytes

__all__ = ["catalogue_facts", "catalogue_page", "check_page", "status_facts"]

_WIDTH = 100
_HASH = 12
_KEY = 26  # width of the column of keys
_MODELS = ("smplerx",)  # what this version predicts with


def catalogue_page(
    roots: Sequence[Path], found: Sequence[Found], states: Mapping[str, AssetStatus], *, named: bool
) -> None:
    """Print what is there, what is missing by the page it comes from, and where was searched.

    Keys and files have lines of their own: paths stay whole on a narrow terminal and when copied.
    """
    lines = [*_folded("", _who_has_all(states), indent=0), ""]
    for item in found:
        state = states[item.asset.key]
        facts = [
            item.version,
            _facts(state),
            format_bytes(item.path.stat().st_size),
            f"sha256 {state.sha256[:_HASH]}",
        ]
        lines += [f"{item.asset.key:{_KEY}}{_short(item.path, item.root)}"]
        lines += _folded("", ", ".join(filter(None, facts)))
        lines += [" " * _KEY + f"taken before {_short(other, item.root)}" for other in item.others]
    missing = [line for group in _by_page(set(states)) for line in _group(*group)]
    if missing:
        lines += [*([""] if found else []), "missing, by the page that has it:", *missing]
    searched = [f"{root}" + ("" if root.is_dir() else " (no such folder)") for root in roots]
    lines += ["", f"searched: {', '.join(searched)}" + ("" if named else "  (setting body_models)")]
    problems = sum(state.problem is not None for state in states.values())
    if problems:
        lines.append(f"{problems} with problems: 'hmtools body check' tells")
    if not found:
        lines.append("no licence yet? 'hmtools body standin --out DIR' writes a free stand-in body")
    typer.echo("\n".join(lines))


def catalogue_facts(
    roots: Sequence[Path], found: Sequence[Found], states: Mapping[str, AssetStatus]
) -> dict[str, Any]:
    """Everything :func:`catalogue_page` prints and more, for JSON: one entry per row of the catalogue."""
    there = {item.asset.key: item for item in found}
    return {
        "searched": [{"path": str(root), "found": root.is_dir()} for root in roots],
        "assets": {key: _asset_facts(row, there.get(key), states.get(key)) for key, row in CATALOGUE.items()},
    }


def check_page(roots: Sequence[Path], states: Sequence[AssetStatus]) -> None:
    """Print one entry per file, then every problem in full."""
    lines = []
    for state in states:
        mark = "ok" if state.problem is None else "problem"
        lines += [f"{state.asset.key:{_KEY}}{_short(state.path, *roots)}: {mark}"]
        lines += _folded("", _facts(state))
    wrong = [state.problem for state in states if state.problem is not None]
    for number, problem in enumerate(wrong, start=1):
        lines += ["", f"{number}. {problem}"]
    lines += ["", f"{len(states)} files, {len(wrong)} problem{'' if len(wrong) == 1 else 's'}"]
    typer.echo("\n".join(lines))


def status_facts(state: AssetStatus) -> dict[str, Any]:
    """One file of ``check`` for JSON."""
    return {
        "key": state.asset.key,
        "path": str(state.path),
        "sha256": state.sha256,
        "standin": state.standin,
        "content": list(state.facts),
        "problem": state.problem,
    }


def _asset_facts(row: Asset, item: Found | None, state: AssetStatus | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "what": row.what,
        "kind": row.kind,
        "needed_by": list(row.needed_by),
        "names": list(row.names),
        "page": row.page,
        "licence": row.licence,
        "found": item is not None,
    }
    if item is not None and state is not None:
        facts |= {"version": item.version, "others": list(map(str, item.others)), **status_facts(state)}
    return facts


def _facts(state: AssetStatus) -> str:
    marks = [*(["stand-in"] if state.standin else []), *(["problem"] if state.problem is not None else [])]
    return ", ".join([*marks, *state.facts])


def _short(path: Path, *roots: Path) -> str:
    for root in roots:
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return str(path)


def _who_has_all(states: Mapping[str, AssetStatus]) -> str:
    """The sets and models of this version that have every file they need, and those that lack some."""
    from hmtools.datasets.registry import all_datasets

    ours = {*all_datasets(), *_MODELS}
    whole: dict[str, bool] = {}
    for key, row in CATALOGUE.items():
        there = key in states and states[key].problem is None
        for name in row.needed_by:
            if name.partition(" (")[0] in ours:  # "agora (children)" is some of agora
                whole[name] = whole.get(name, True) and there
    told = {
        "complete for": [name for name, own in whole.items() if own],
        "missing for": [name for name, own in whole.items() if not own],
    }
    return "; ".join(f"{words}: {', '.join(sorted(names))}" for words, names in told.items() if names)


def _by_page(there: set[str]) -> list[tuple[str, str, list[Asset]]]:
    groups: dict[tuple[str, str], list[Asset]] = {}
    for key, row in CATALOGUE.items():
        if key not in there:
            groups.setdefault((row.page, row.licence), []).append(row)
    return [(page, licence, rows) for (page, licence), rows in groups.items()]


def _group(page: str, licence: str, rows: Sequence[Asset]) -> list[str]:
    lines = ["", f"{page}  ({licence})"]
    for row in rows:
        where = " in a folder named like 'lockedhead'" if row.locked_head else ""
        lines += _folded(row.key, f"{_names(row)}{where}")
        lines += _folded("", f"for {', '.join(row.needed_by)}")
    return lines


def _names(row: Asset) -> str:
    """The file names of a row, endings joined: ``SMPLX_NEUTRAL.npz|pkl``."""
    endings: dict[str, list[str]] = {}
    for name in row.names:
        stem, _, ending = name.rpartition(".")
        endings.setdefault(stem, []).append(ending)
    return ", ".join(f"{stem}.{'|'.join(found)}" for stem, found in endings.items())


def _folded(first: str, text: str, *, indent: int = _KEY) -> list[str]:
    """``first`` in the column of keys, ``text`` beside it, in as many lines as it takes."""
    width = min(_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns)
    return textwrap.wrap(
        text, max(width, _KEY + 40), initial_indent=f"{first:{indent}}", subsequent_indent=" " * indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
