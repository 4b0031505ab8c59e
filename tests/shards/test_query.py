from __future__ import annotations

import doctest
import operator
import re
import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import UsageError
from hmtools.shards import query as query_module
from hmtools.shards.query import Query, evaluate, fields_of, parse, select_rows
from hmtools.shards.query_syntax import And, Compare, Every, In, Node, Not, Or

ENUM = pa.dictionary(pa.int8(), pa.string())

TABLE = pa.table(
    {
        "source_index": pa.array([0, 5, 10, None, -10, 7], pa.int64()),
        "frame": pa.array([0, 1, 2, 3, None, 100], pa.int32()),
        "small": pa.array([0, 127, -128, None, 1, 2], pa.int8()),
        "conf": pa.array([0.3, 0.5, float("nan"), None, 1.0, -0.0], pa.float32()),
        "valid_smplx": pa.array([True, False, None, True, True, False]),
        "gender": pa.array(["male", "female", None, "neutral", "female", "male"], ENUM),
        "image_path": pa.array(["a/1.jpg", "a/12.png", "b/3.jpg", None, "ünï/4.jpg", "a/5.JPG"]),
        "bbox_xywh": pa.array([[1.0] * 5, None, [0.0] * 5, None, None, [2.0] * 5], pa.list_(pa.float32(), 5)),
        "nothing": pa.nulls(6),
        "when": pa.array([0] * 6, pa.timestamp("s")),
    }
)

ANSWERS = [
    ("frame = 2", [2]),
    ("frame != 2", [0, 1, 3, 5]),
    ("not frame = 2", [0, 1, 3, 4, 5]),
    ("frame < 2", [0, 1]),
    ("frame <= 1.5", [0, 1]),
    ("frame < 1.5", [0, 1]),
    ("frame > 1.5", [2, 3, 5]),
    ("frame = 1.5", []),
    ("frame != 1.5", [0, 1, 2, 3, 5]),
    ("frame = 2.0", [2]),
    ("frame < 1e300", [0, 1, 2, 3, 5]),
    ("frame >= -1e300", [0, 1, 2, 3, 5]),
    ("small <= 127.5", [0, 1, 2, 4, 5]),
    ("small > 127.5", []),
    ("small > -128.5", [0, 1, 2, 4, 5]),
    ("small = 300", []),
    ("small != 300", [0, 1, 2, 4, 5]),
    ("small in (300, 127, 1.5, 2.0)", [1, 5]),
    ("conf = 0.3", [0]),
    ("conf > 0.3", [1, 4]),
    ("conf = 0", [5]),
    ("conf in (0, 0.5)", [1, 5]),
    ("conf < 1e300", [0, 1, 4, 5]),
    ("conf in (1e300)", []),
    ("conf != 1", [0, 1, 2, 5]),
    ("conf != null", [0, 1, 2, 4, 5]),
    ("valid_smplx = true", [0, 3, 4]),
    ("valid_smplx != true", [1, 5]),
    ("valid_smplx in (true, false)", [0, 1, 3, 4, 5]),
    ("gender = male", [0, 5]),
    ("gender != male", [1, 3, 4]),
    ("gender > female", [0, 3, 5]),
    ("gender ~ 'male$'", [0, 1, 4, 5]),
    ("gender ~ '^male$'", [0, 5]),
    ("gender in (neutral, null)", [2, 3]),
    ("not gender in (neutral, null)", [0, 1, 4, 5]),
    ("gender = null", [2]),
    ("gender != null", [0, 1, 3, 4, 5]),
    ("image_path ~ '\\d\\.jpg$'", [0, 2, 4]),
    ("image_path ~ '(?i)jpg'", [0, 2, 4, 5]),
    ("image_path = a/1.jpg", [0]),
    ("image_path >= b", [2, 4]),
    ("bbox_xywh = null", [1, 3, 4]),
    ("bbox_xywh != null", [0, 2, 5]),
    ("bbox_xywh in (null)", [1, 3, 4]),
    ("nothing = 1 or nothing in (a, 2)", []),
    ("nothing = null", [0, 1, 2, 3, 4, 5]),
    ("every=5", [0, 1, 2, 4]),
    ("every=10", [0, 2, 4]),
    ("every=1", [0, 1, 2, 4, 5]),
    ("frame < 2 and gender = male or every=7", [0, 5]),
    ("not (gender = male or frame > 1)", [1, 4]),
    ("gender = female and valid_smplx = true and image_path ~ jpg", [4]),
]


@pytest.mark.parametrize(("text", "rows"), ANSWERS, ids=[text for text, _ in ANSWERS])
def test_rows_of_a_query(text: str, rows: list[int]) -> None:
    found = select_rows(text, TABLE)
    assert found.dtype == np.int64
    assert found.tolist() == rows
    chunked = pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1, 0), TABLE.slice(1, 3), TABLE.slice(4)])
    assert select_rows(text, chunked).tolist() == rows
    assert select_rows(text, TABLE.slice(2)).tolist() == [row - 2 for row in rows if row >= 2]
    empty = evaluate(parse(text), TABLE.schema.empty_table())
    assert empty.dtype == np.bool_
    assert empty.shape == (0,)


def test_large_whole_numbers_compare_exactly() -> None:
    table = pa.table(
        {
            "i": pa.array([2**53, 2**53 + 1, -(2**63), 2**63 - 1]),
            "u": pa.array([0, 1, 2**64 - 1, None], pa.uint64()),
        }
    )
    assert select_rows("i = 9007199254740993", table).tolist() == [1]
    assert select_rows("i > 9007199254740992.0", table).tolist() == [1, 3]
    assert select_rows("i < 9223372036854775808.0", table).tolist() == [0, 1, 2, 3]
    assert select_rows("i in (-9223372036854775808, 1e30)", table).tolist() == [2]
    assert select_rows("u > -1", table).tolist() == [0, 1, 2]
    assert select_rows("u > 9223372036854775807", table).tolist() == [2]


def test_dictionaries_may_differ_between_chunks_and_hold_null() -> None:
    def chunk(indices: list[int | None], words: list[str | None]) -> Any:
        return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int8()), pa.array(words, pa.string()))

    first = chunk([0, 1, None, 2], ["a", "b", None])
    table = pa.table({"x": pa.chunked_array([first, chunk([1, 0], ["a", "c"]), chunk([None], []), first])})
    assert select_rows("x = a", table).tolist() == [0, 5, 7]
    assert select_rows("x != a", table).tolist() == [1, 4, 8]
    assert select_rows("x = null", table).tolist() == [2, 3, 6, 9, 10]
    assert select_rows("not x in (a, b)", table).tolist() == [2, 3, 4, 6, 9, 10]


def test_full_dictionary_of_the_index_type() -> None:
    words = [f"w{i}" for i in range(128)]
    indices = pa.array([*range(128), None], pa.int8())
    table = pa.table({"x": pa.DictionaryArray.from_arrays(indices, pa.array(words))})
    assert select_rows("x = w127", table).tolist() == [127]
    assert select_rows("x = null", table).tolist() == [128]


def test_only_the_named_columns_are_needed() -> None:
    text = "gender = male and every=5"
    needed = TABLE.select(sorted(fields_of(parse(text))))
    assert needed.column_names == ["gender", "source_index"]
    assert select_rows(text, needed).tolist() == select_rows(text, TABLE).tolist() == [0]


MISFITS = [
    ("gendr = male", "the query names unknown fields: 'gendr'; did you mean 'gender'? (columns: source"),
    ("frame = 1 or zzz = 1 or fram = 2", "unknown fields: 'fram'; did you mean 'frame'?, 'zzz' (columns: "),
    ("gender = 3", "query term gender = 3: column 'gender' is string and compares with text, "
     "but 3 is a number; put it in quotes to compare text"),
    ("gender = true", "column 'gender' is string and compares with text, but true is true/false; put it"),
    ("frame = abc", 'query term frame = "abc": column \'frame\' is int32 and compares with a number, '
     'but "abc" is text'),
    ("frame < small", "but \"small\" is text; two columns cannot be compared"),
    ("frame ~ '1'", "query term frame ~ \"1\": column 'frame' is int32 and compares with a number, "
     'but "1" is text'),
    ("frame = true", "column 'frame' is int32 and compares with a number, but true is true/false"),
    ("conf in (1, x)", "query term conf in (1, \"x\"): column 'conf' is float and compares with a number, "
     'but "x" is text'),
    ("valid_smplx > 0", "column 'valid_smplx' is bool and compares with true/false, but 0 is a number"),
    ("bbox_xywh > 3", "query term bbox_xywh > 3: column 'bbox_xywh' is "
     f"{TABLE.schema.field('bbox_xywh').type}; only columns of numbers, text or true/false can be compared, "
     "all others (lists, structs ...) can only be tested with = null and != null"),
    ("bbox_xywh in (null, 3)", "column 'bbox_xywh' is fixed_size_list"),
    ("when = 3", "column 'when' is timestamp[s]; only columns of numbers, text or true/false can be comp"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), MISFITS, ids=[text for text, _ in MISFITS])
def test_query_that_does_not_fit_the_table(text: str, message: str) -> None:
    for table in (TABLE, TABLE.schema.empty_table()):
        with pytest.raises(UsageError) as caught:
            select_rows(text, table)
        assert message in str(caught.value)


def test_every_needs_a_source_index() -> None:
    with pytest.raises(UsageError, match=r"unknown fields: 'source_index' \(columns: frame\)"):
        select_rows("every=2", TABLE.select(["frame"]))
    with pytest.raises(
        UsageError, match="every=2 needs whole numbers in 'source_index', the column is string"
    ):
        select_rows("every=2", pa.table({"source_index": ["a"]}))


def test_messages_stay_short() -> None:
    with pytest.raises(UsageError) as caught:
        select_rows(f"frame in ({'x' * 5000}, {'y' * 5000})", TABLE)
    assert len(str(caught.value)) < 400


def test_example_in_the_docstring() -> None:
    assert doctest.testmod(query_module).failed == 0


# ---- against a row by row interpreter ---------------------------------------------------------------------

ORDER = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
WHOLE = {"source_index": 64, "i8": 8, "i32": 32}
FLOATS = {"f32": pa.float32(), "f64": pa.float64()}
TEXTS = {"s": pa.string(), "large": pa.large_string(), "enum": ENUM}
TYPES: dict[str, Any] = {
    "source_index": pa.int64(), "i8": pa.int8(), "i32": pa.int32(), **FLOATS, **TEXTS,
    "ok": pa.bool_(), "box": pa.list_(pa.float32()),
}  # fmt: skip

NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([-129, -128, 127, 128, 2**31, 2**63 - 1, -(2**63)]),
    st.sampled_from([0.0, -0.0, 0.1, 0.5, -1.5, 2.0, 1e300, -1e300, 3.4028235677973366e38]),
)
WORDS = st.sampled_from(["", "a", "ab", "b", "é", "null", "1", "a.b"])
PATTERNS = st.sampled_from(["", "a", "^a", "b$", "a.b", r"a\.b", "[b-é]", "x|1", "(?i)A"])
SIGNS = st.sampled_from(sorted(ORDER))
TESTS = st.sampled_from(["=", "!="])


def cells(name: str) -> st.SearchStrategy[Any]:
    values: st.SearchStrategy[Any]
    if name in WHOLE:
        top = 2 ** (WHOLE[name] - 1)
        values = st.integers(-3, 3) | st.sampled_from([-top, top - 1])
    elif name in FLOATS:
        values = st.sampled_from(
            [0.0, -0.0, 0.1, 0.5, -1.5, 2.0, 1e300, float("nan"), float("inf"), -float("inf")]
        )
        values = values.filter(lambda value: name == "f64" or value != 1e300)
    elif name in TEXTS:
        values = WORDS
    else:
        values = st.booleans() if name == "ok" else st.just([1.0])
    return st.none() | values


ROWS = st.lists(st.fixed_dictionaries({name: cells(name) for name in TYPES}), max_size=5)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    schema = pa.schema(list(TYPES.items()))
    batches = [pa.RecordBatch.from_pylist(rows, schema) for rows in draw(st.lists(ROWS, max_size=3))]
    table = pa.Table.from_batches(batches, schema)
    return table.slice(draw(st.integers(0, 2)))


def literals(names: dict[str, Any], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Node]:
    fields = st.sampled_from(sorted(names))
    listed = st.lists(st.none() | values, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        st.builds(Compare, fields, SIGNS, values),
        st.builds(In, fields, listed),
        st.builds(Compare, fields, TESTS, st.none()),
    )


LEAVES: st.SearchStrategy[Node] = st.one_of(
    literals(WHOLE, NUMBERS),
    literals(FLOATS, NUMBERS),
    literals(TEXTS, WORDS),
    st.builds(Compare, st.sampled_from(sorted(TEXTS)), st.just("~"), PATTERNS),
    st.builds(Compare, st.just("ok"), TESTS, st.none() | st.booleans()),
    st.builds(In, st.just("ok"), st.lists(st.booleans(), min_size=1, max_size=2).map(tuple)),
    st.builds(Compare, st.just("box"), TESTS, st.none()),
    st.builds(Every, st.integers(1, 3) | st.just(2**63 - 1)),
)


def nested(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    terms = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.builds(Not, inner) | st.builds(And, terms) | st.builds(Or, terms)


def in_precision(field: str, value: Any) -> Any:
    """The literal as a float column sees it."""
    if field not in FLOATS or value is None:
        return value
    try:  # "<f" minds numbers beyond float32, "f" does not
        return struct.unpack("<f", struct.pack("<f", value))[0] if field == "f32" else float(value)
    except OverflowError:
        return float(value)


def holds(node: Node, row: dict[str, Any]) -> bool:
    """What the module docstring promises, one row at a time."""
    match node:
        case And():
            return all(holds(term, row) for term in node.terms)
        case Or():
            return any(holds(term, row) for term in node.terms)
        case Not():
            return not holds(node.term, row)
        case Every():
            return row["source_index"] is not None and row["source_index"] % node.n == 0
        case In():
            return any(holds(Compare(node.field, "=", value), row) for value in node.values)
        case Compare():
            cell, value = row[node.field], in_precision(node.field, node.value)
            if value is None:
                return (cell is None) == (node.op == "=")
            if cell is None:
                return False
            return bool(re.search(value, cell)) if node.op == "~" else bool(ORDER[node.op](cell, value))


@settings(max_examples=150, deadline=None)
@given(tables(), st.recursive(LEAVES, nested, max_leaves=6))
def test_answers_equal_a_row_by_row_interpreter(table: pa.Table, tree: Node) -> None:
    wanted = [holds(tree, row) for row in table.to_pylist()]
    assert evaluate(Query(tree), table).tolist() == wanted
    assert evaluate(parse(str(tree)), table).tolist() == wanted


FIELDS = st.sampled_from([*TABLE.column_names, "unknown"])
VALUES = st.sampled_from(["1", "1.5", "-1e300", "true", "null", "male", "'^a'"])
TERMS = st.builds("{} {} {}".format, FIELDS, st.sampled_from([*sorted(ORDER), "~"]), VALUES) | st.builds(
    "{} in ({}, {})".format, FIELDS, VALUES, VALUES
)


@settings(max_examples=200, deadline=None)
@given(st.lists(TERMS, min_size=1, max_size=3).map(" and ".join))
def test_any_term_on_any_column_answers_or_is_a_usage_error(text: str) -> None:
    try:
        rows = select_rows(text, TABLE)
    except UsageError:
        return
    assert set(rows.tolist()) <= set(range(6))
