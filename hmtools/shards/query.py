r"""The query grammar: a line of text that chooses rows of a record table.

>>> import pyarrow as pa
>>> table = pa.table({"frame": [0, 5, 9, None], "gender": ["male", "female", None, "female"]})
>>> select_rows("gender = female or frame >= 9", table).tolist()
[1, 2, 3]

Grammar (blanks between words are free, keywords are case-insensitive)::

    query      = and-term, { "or", and-term } ;
    and-term   = not-term, { "and", not-term } ;
    not-term   = "not", not-term | "(", query, ")" | every | comparison ;
    every      = "every", equals, whole number from 1 ;
    comparison = field, ( equals | "!=" ), literal
               | field, ( "<" | "<=" | ">" | ">=" ), ( number | text )
               | field, "in", "(", literal, { ",", literal }, ")"
               | field, "~", text ;
    equals     = "=" | "==" ;
    field      = ASCII letter or "_", { ASCII letter | digit | "_" } ;
    literal    = number | "true" | "false" | "null" | text ;
    number     = [ "+" | "-" ], ( digits, [ ".", [ digits ] ] | ".", digits ), [ exponent ] ;
    text       = bare word that is neither a number nor a keyword | quoted ;
    bare word  = ( letter | digit | one of _ - . / % * + : @ ), { the same } ;
    quoted     = '"', { any character }, '"' | "'", { any character }, "'" ;

Inside quotes a backslash stands for the character after it when that is a quote or a backslash; before any
other character it stays, so ``image_path ~ "\d+\.jpg"`` means what it says.

Meaning:

- A comparison with a missing (null) cell is false, ``!=`` too. ``= null``, ``!= null`` and a ``null`` inside
  ``in (...)`` test for missing. ``not`` negates the answer for the row, so ``not gender = male`` keeps the
  rows without a gender and ``gender != male`` drops them.
- ``every=N`` keeps the rows whose ``source_index`` is a multiple of N (the sampling rule of the shards).
- ``~`` searches anywhere in the text, with RE2 syntax; anchor it with ``^`` and ``$``.
- Text is ordered by code point. A number is rounded to the precision of a float column before it is compared
  (``conf = 0.3`` finds the float32 next to 0.3); with integer columns the comparison is exact.
- A NaN is a number, not missing: it is unequal to everything.
- List and struct columns (boxes, poses) can only be tested with ``= null`` and ``!= null``.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hmtools.core.errors import UsageError, nearest
from hmtools.shards.query_syntax import (
    And,
    Compare,
    Every,
    In,
    Node,
    Not,
    Or,
    Query,
    Value,
    excerpt,
    fields_of,
    literal_text,
    parse,
)

__all__ = ["Query", "evaluate", "fields_of", "parse", "select_rows"]

Mask: TypeAlias = npt.NDArray[np.bool_]
Test: TypeAlias = Callable[[Any], Any]  # an Arrow array or chunked array to booleans of the same length

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_KERNELS: dict[str, Callable[[Any, Any], Any]] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
    "~": pc.match_substring_regex,
}
_FAMILIES: tuple[tuple[str, Callable[[Any], bool]], ...] = (
    ("true/false", pa.types.is_boolean),
    ("a number", lambda kind: pa.types.is_integer(kind) or kind in (pa.float32(), pa.float64())),
    ("text", lambda kind: kind in (pa.string(), pa.large_string())),
    ("nothing", pa.types.is_null),
)


def evaluate(query: Query, table: pa.Table) -> Mask:
    """Answer a query for every row of a table.

    Args:
        query: the parsed query.
        table: Arrow table that holds at least ``fields_of(query)``, in chunks of any number and size.

    Returns:
        bool (rows,), true where the row is kept.

    Raises:
        UsageError: if a field is no column, or a value does not fit the type of its column.
    """
    unknown = sorted(fields_of(query) - set(table.column_names))
    if unknown:
        named = [f"{name!r}{nearest(name, table.column_names)}" for name in unknown]
        columns = ", ".join(table.column_names) or "none"
        raise UsageError(f"the query names unknown fields: {', '.join(named)} (columns: {columns})")
    return _answer(query.root, table)


def select_rows(text: str, table: pa.Table) -> npt.NDArray[np.int64]:
    """Parse and answer a query.

    Args:
        text: a query in the grammar of this module.
        table: Arrow table of records.

    Returns:
        int64 (kept,), the row numbers that are kept, ascending.

    Raises:
        UsageError: as :func:`parse` and :func:`evaluate`.
    """
    return np.flatnonzero(evaluate(parse(text), table)).astype(np.int64, copy=False)


def _answer(node: Node, table: pa.Table) -> Mask:
    match node:
        case And():
            return _joined(np.logical_and, node.terms, table)
        case Or():
            return _joined(np.logical_or, node.terms, table)
        case Not():
            return ~_answer(node.term, table)
        case Every():
            return _every(node, table)
        case Compare(value=None):
            missing = _cells(table.column(node.field), pc.is_null, null=True)
            return missing if node.op == "=" else ~missing
        case Compare():
            return _compare(node, table)
        case In():
            return _in(node, table)


def _joined(join: Callable[[Mask, Mask], Mask], terms: tuple[Node, ...], table: pa.Table) -> Mask:
    mask: Mask = functools.reduce(join, (_answer(term, table) for term in terms))  # lazy: two masks at a time
    return mask


def _every(node: Every, table: pa.Table) -> Mask:
    column = table.column("source_index")
    if not pa.types.is_signed_integer(column.type):
        raise UsageError(f"{node} needs whole numbers in 'source_index', the column is {column.type}")
    index = column.fill_null(0).to_numpy().astype(np.int64, copy=False)
    kept: Mask = index % node.n == 0
    return kept & _cells(column, pc.is_valid, null=False)


def _compare(node: Compare, table: pa.Table) -> Mask:
    column, op, value = table.column(node.field), node.op, node.value
    kind = _comparable(node, (value,), table)
    if pa.types.is_null(kind):
        return np.zeros(table.num_rows, np.bool_)
    if pa.types.is_integer(kind):
        return _cells(column, functools.partial(_compare_whole, kind, op, value), null=False)
    fitting = _fitting(kind, (value,))
    # A number beyond float32 stays a double, and Arrow widens the column for it.
    scalar = pa.scalar(fitting[0], kind) if fitting else pa.scalar(value, pa.float64())
    return _cells(column, lambda cells: _KERNELS[op](cells, value if op == "~" else scalar), null=False)


def _compare_whole(kind: Any, op: str, value: Any, cells: Any) -> Any:
    """Compare integers with any number exactly, where Arrow would round both to float64."""
    low, high = _bounds(kind)
    whole = math.floor(value)
    if whole != value and op not in ("=", "!="):
        op, value = ("<=" if op.startswith("<") else ">"), whole
    if whole != value or not low <= whole <= high:  # the same answer for every cell, so for the lowest one
        return pc.and_(pc.is_valid(cells), pa.scalar(_ORDER[op](low, value)))
    return _KERNELS[op](cells, pa.scalar(whole, kind))


def _in(node: In, table: pa.Table) -> Mask:
    column = table.column(node.field)
    values = tuple(value for value in node.values if value is not None)
    mask = np.zeros(table.num_rows, np.bool_)
    if values:
        kind = _comparable(node, values, table)
        wanted = pa.array([] if pa.types.is_null(kind) else _fitting(kind, values), kind)
        mask = _cells(column, lambda cells: pc.is_in(cells, value_set=wanted), null=False)
    if len(values) < len(node.values):
        mask = np.logical_or(mask, _cells(column, pc.is_null, null=True))
    return mask


def _bounds(kind: Any) -> tuple[int, int]:
    """Lowest and highest number of an integer type."""
    bits = kind.bit_width - pa.types.is_signed_integer(kind)
    return (-(2**bits) if pa.types.is_signed_integer(kind) else 0), 2**bits - 1


def _fitting(kind: Any, values: tuple[Any, ...]) -> list[Any]:
    """The values a cell of this type can be equal to, in its precision; those it never holds are left out."""
    if pa.types.is_integer(kind):
        low, high = _bounds(kind)
        return [int(value) for value in values if low <= value <= high and int(value) == value]
    if not pa.types.is_floating(kind):
        return list(values)
    precision = np.float32 if kind == pa.float32() else np.float64
    with np.errstate(over="ignore"):
        rounded = [precision(value) for value in values]
    fitting = [value for value in rounded if np.isfinite(value)]
    # is_in looks values up by their bits: both zeros must be there.
    return [*fitting, -0.0, 0.0] if 0.0 in fitting else fitting


def _comparable(node: Compare | In, values: tuple[Value, ...], table: pa.Table) -> Any:
    """Return the type of the column's cells, or say why they cannot be compared with the values."""
    column = table.column(node.field).type
    kind = column.value_type if pa.types.is_dictionary(column) else column
    family = next((name for name, holds in _FAMILIES if holds(kind)), None)
    about = f"query term {excerpt(str(node))}: column {node.field!r} is {excerpt(str(kind))}"
    if family is None:
        raise UsageError(
            f"{about}; only columns of numbers, text or true/false can be compared, "
            "all others (lists, structs ...) can only be tested with = null and != null"
        )
    for value in values:
        found = "true/false" if isinstance(value, bool) else "text" if isinstance(value, str) else "a number"
        if family in (found, "nothing"):
            continue
        hint = "; put it in quotes to compare text" if family == "text" else ""
        if value in table.column_names:
            hint = "; two columns cannot be compared"
        shown = excerpt(literal_text(value))
        raise UsageError(f"{about} and compares with {family}, but {shown} is {found}{hint}")
    return kind


def _cells(column: pa.ChunkedArray, test: Test, *, null: bool) -> Mask:
    """Test every cell: bool (rows,), ``null`` where the cell is missing or the test answers null.

    A dictionary-encoded column is tested once per dictionary, and its rows look their answer up.
    """
    if not pa.types.is_dictionary(column.type):
        answers = test(column)
    else:
        parts: list[Any] = []
        # Batches of one file share their dictionary; concatenated files may not.
        for dictionary, chunks in itertools.groupby(column.chunks, key=lambda chunk: chunk.dictionary):
            rows = pa.chunked_array([chunk.indices for chunk in chunks])
            parts += pc.take(test(dictionary), rows).chunks
        answers = pa.chunked_array(parts, pa.bool_())
    return np.asarray(answers.fill_null(null).to_numpy(), np.bool_)
