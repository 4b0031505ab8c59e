"""A resolved recipe as a recipe file: what ``hmtools recipes show`` prints and ``copy`` writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from hmtools.train.recipe import Recipe, SetSpec

__all__ = ["recipe_text"]

_INDENT = "    "


def recipe_text(recipe: Recipe) -> str:
    """The whole recipe as Python that reads back as it, without bases: every value is in it.

    Rows of sets only have what is not a default. A set is a row of a table by its name; where two rows are
    splits of one set, they are a list.
    """
    values = asdict(recipe)
    lines: list[str] = []
    for key, value in values.items():
        if key == "name":
            continue  # it is that of the file
        if key in ("data", "validate"):
            value["sets"] = _table(getattr(recipe, key).sets, named=key == "data")
        lines += _entry(key, value, " = ", "")
    return "\n".join(lines) + "\n"


def _table(sets: tuple[SetSpec, ...], *, named: bool) -> Any:
    rows = [_row(spec) for spec in sets]
    names = [spec.dataset for spec in sets]
    if not named or len({*names}) < len(names):
        return rows
    return {row.pop("dataset"): row for row in rows}


def _row(spec: SetSpec) -> dict[str, Any]:
    plain = asdict(SetSpec(dataset=spec.dataset, split=spec.split))
    found = asdict(spec)
    return {key: found[key] for key in found if key in ("dataset", "split") or found[key] != plain[key]}


def _entry(key: str, value: Any, sign: str, indent: str) -> Iterator[str]:
    """The lines of one assignment, at the top (`` = ``) or inside ``dict(...)`` (``=``)."""
    comma = "" if sign == " = " else ","
    below = indent + _INDENT
    if isinstance(value, Mapping) and (indent == "" or key == "sets"):
        yield f"{indent}{key}{sign}dict("
        for name, inner in value.items():
            yield from _entry(name, inner, "=", below)
        yield f"{indent}){comma}"
    elif key == "sets":
        yield f"{indent}{key}{sign}["
        yield from (f"{below}{_literal(row)}," for row in value)
        yield f"{indent}]{comma}"
    else:
        yield f"{indent}{key}{sign}{_literal(value)}{comma}"


def _literal(value: Any) -> str:
    if isinstance(value, Mapping):
        if all(str(key).isidentifier() for key in value):
            return f"dict({', '.join(f'{key}={_literal(inner)}' for key, inner in value.items())})"
        return f"{{{', '.join(f'{key!r}: {_literal(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, str):
        return '"' + repr(value)[1:-1].replace('"', '\\"') + '"' if "'" not in value else repr(value)
    return f"{value:_}" if type(value) is int else repr(value)
