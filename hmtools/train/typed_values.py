"""Plain values, of a configuration file or of JSON, become dataclasses; all that is wrong is listed."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hmtools.core.errors import nearest

__all__ = ["Count", "NotNegative", "Share", "Whole", "read_dataclass"]

Whole = Annotated[int, 0, None]
"""A whole number from 0 on; the annotation holds the least and the largest value."""
Count = Annotated[int, 1, None]
"""A whole number from 1 on."""
NotNegative = Annotated[float, 0, None]
"""A number from 0 on."""
Share = Annotated[float, 0, 1]
"""A number from 0 to 1."""

_Spec = TypeVar("_Spec")
_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


class _WrongError(Exception):
    """Holds what was expected; never leaves this module."""


def read_dataclass(kind: type[_Spec], values: Any, place: str, problems: list[str]) -> _Spec | None:
    """Make a dataclass from a table of values.

    Args:
        kind: a dataclass whose fields are numbers (also :data:`Count` and the like), text, truth values,
            ``Literal``, tuples, mappings of text, further dataclasses, or one of these or None. A field that
            is a tuple of dataclasses may have ``metadata={"rows": field}``: by which messages call its rows.
        values: the table.
        place: dotted name of the table, empty at the top.
        problems: gets a line for each unknown key, wrong value and missing value.

    Returns:
        The dataclass, or None where ``problems`` says why not.
    """
    if not isinstance(values, Mapping):
        problems.append(f"{place}: expected a table, found {values!r}")
        return None
    hints, before = get_type_hints(kind, include_extras=True), len(problems)
    rows = {row.name: row for row in fields(kind)}  # type: ignore[arg-type]
    problems += [
        f"unknown key {_dotted(place, key)!r}{_hint(str(key), rows)}" for key in values if key not in rows
    ]
    found: dict[str, Any] = {}
    for name, row in rows.items():
        if name in values:
            label = row.metadata.get("rows")
            found[name] = _read(hints[name], values[name], _dotted(place, name), problems, label)
        elif row.default is MISSING and row.default_factory is MISSING:
            problems.append(f"{_dotted(place, name)}: is missing")
    return kind(**found) if len(problems) == before else None


def _read(hint: Any, value: Any, place: str, problems: list[str], label: str | None = None) -> Any:
    if is_dataclass(hint):
        return read_dataclass(hint, value, place, problems)  # type: ignore[arg-type]
    if get_origin(hint) is tuple and is_dataclass(get_args(hint)[0]):
        if not isinstance(value, list | tuple):
            problems.append(f"{place}: expected a list of tables, found {value!r}")
            return ()
        names = [row.get(label) if label and isinstance(row, Mapping) else None for row in value]
        places = [f"{place}[{i}]" if name is None else _dotted(place, name) for i, name in enumerate(names)]
        return tuple(_read(get_args(hint)[0], row, p, problems) for p, row in zip(places, value, strict=True))
    try:
        return _value(hint, value)
    except _WrongError as error:
        problems.append(f"{place}: expected {error}, found {value!r}")
        return None


def _value(hint: Any, value: Any) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        kind, least, most = inner
        return _bounded(kind, least, most, value)
    if origin in (Union, types.UnionType):
        kinds = [kind for kind in inner if kind is not type(None)]
        return None if value is None else _value(kinds[0], value)
    if origin is Literal:
        if value not in inner:
            raise _WrongError(f"one of {', '.join(map(str, inner))}")
        return value
    if origin is tuple:
        return _tuple(inner, value)
    if origin is not None:  # Mapping[str, str]
        if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in (*value, *value.values())):
            raise _WrongError("a table of text")
        return dict(value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise _WrongError(_WORDS[hint])
    return value


def _bounded(kind: Any, least: float, most: float | None, value: Any) -> Any:
    found = _value(kind, value)
    if not (least <= found and (most is None or found <= most)):  # so that NaN is refused too
        raise _WrongError(f"at least {least}" if most is None else f"a number from {least} to {most}")
    return found


def _tuple(inner: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    endless = inner[-1] is Ellipsis
    wanted = f"a list of {'' if endless else len(inner)} values".replace("  ", " ")
    if not isinstance(value, list | tuple) or (not endless and len(value) != len(inner)):
        raise _WrongError(wanted)
    kinds = [inner[0]] * len(value) if endless else inner
    return tuple(_value(kind, item) for kind, item in zip(kinds, value, strict=True))


def _dotted(place: str, name: object) -> str:
    return f"{place}.{name}" if place else str(name)


def _hint(key: str, known: Mapping[str, Any]) -> str:
    return nearest(key, known) or f" (known here: {', '.join(known)})"
