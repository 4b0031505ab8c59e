from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import UsageError
from hmtools.shards import query_syntax
from hmtools.shards.query_syntax import (
    MAX_DEPTH,
    MAX_WORDS,
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
    parse,
)

A, B, C = (Compare(name, "=", 1) for name in "abc")

TREES: list[tuple[str, Node]] = [
    ("a = 1", A),
    ("a == 1", A),
    ("a=1", A),
    (" \n a \t=\n1 ", A),
    ("a != -2.5", Compare("a", "!=", -2.5)),
    ("a<+3", Compare("a", "<", 3)),
    ("a<=1e3", Compare("a", "<=", 1000.0)),
    ("a>.5", Compare("a", ">", 0.5)),
    ("a>=5.", Compare("a", ">=", 5.0)),
    ("a = -0", Compare("a", "=", 0)),
    ("a = 9223372036854775807", Compare("a", "=", 2**63 - 1)),
    ("a = TRUE", Compare("a", "=", True)),
    ("a != False", Compare("a", "!=", False)),
    ("a = null", Compare("a", "=", None)),
    ("a = train/seq-1.x%20*+:@", Compare("a", "=", "train/seq-1.x%20*+:@")),
    ("a = 12_3", Compare("a", "=", "12_3")),
    ("a = nan", Compare("a", "=", "nan")),
    ("a = höhe", Compare("a", "=", "höhe")),
    ('a = "12"', Compare("a", "=", "12")),
    ('a = "null"', Compare("a", "=", "null")),
    ('a = ""', Compare("a", "=", "")),
    (r"a = 'it\'s \"x\" \\ \n'", Compare("a", "=", 'it\'s "x" \\ \\n')),
    (r'a ~ "\d+\.jpg$"', Compare("a", "~", r"\d+\.jpg$")),
    ("a ~ x.*y", Compare("a", "~", "x.*y")),
    ("a in (1)", In("a", (1,))),
    ("a IN(male,'b c', null ,true,-1)", In("a", ("male", "b c", None, True, -1))),
    ("every=10", Every(10)),
    ("EVERY == 3", Every(3)),
    ("a=1 and b=1 or c=1", Or((And((A, B)), C))),
    ("a=1 or b=1 and c=1", Or((A, And((B, C))))),
    ("(a=1 or b=1) and c=1", And((Or((A, B)), C))),
    ("not a=1 and b=1", And((Not(A), B))),
    ("not (a=1 and b=1)", Not(And((A, B)))),
    ("not not a=1", Not(Not(A))),
    ("a=1 AND b=1 And c=1", And((A, B, C))),
    ("a=1 or (b=1 or c=1)", Or((A, Or((B, C))))),
    ("((a=1))", A),
]


def same(found: Any, wanted: Any) -> bool:
    """Equal, and of equal types (1 == 1.0 == True for Python)."""
    return bool(found == wanted) and repr(found) == repr(wanted)


@pytest.mark.parametrize(("text", "tree"), TREES, ids=[text for text, _ in TREES])
def test_text_reads_as_the_tree_and_prints_back(text: str, tree: Node) -> None:
    query = parse(text)
    assert same(query.root, tree)
    assert same(parse(str(query)), query)


def test_canonical_text() -> None:
    text = "NOT(a==male or b in(1,null,TRUE)) and( every = 10 and c~'\"\\d' )and ((d>1e-7))"
    canonical = 'not (a = "male" or b in (1, null, true)) and (every=10 and c ~ "\\"\\\\d") and d > 1e-07'
    assert str(parse(text)) == canonical
    assert str(parse(canonical)) == canonical


def test_fields_of() -> None:
    assert fields_of(parse("a = 1 and not (b in (2) or every=3) and a != null")) == {"a", "b", "source_index"}


# text, column of the caret (from 0), message before the picture
ERRORS: list[tuple[str, int, str]] = [
    ("frame >=", 8, "expected a value (a number, true, false, null or text), found the end of the query"),
    ("frame", 5, "expected one of = != < <= > >= in ~ after 'frame', found the end of the query"),
    ("frame 3", 6, "expected one of = != < <= > >= in ~ after 'frame', found '3'"),
    ("frame not in (3)", 6, "expected one of = != < <= > >= in ~ after 'frame', found 'not'; "
     "write 'not field in (...)' with 'not' before the field"),
    ("track_id is null", 9, "expected one of = != < <= > >= in ~ after 'track_id', found 'is'; "
     "write 'field = null' or 'field != null'"),
    ("a = 1 b = 2", 6, "expected 'and', 'or' or the end of the query, found 'b'"),
    ("a = 1)", 5, "expected 'and', 'or' or the end of the query, found ')'"),
    ("(a = 1", 6, "expected 'and', 'or' or ')', found the end of the query"),
    ("a = 1 and", 9, "expected a field name, 'not', 'every=N' or '(', found the end of the query"),
    ("and a = 1", 0, "expected a field name, 'not', 'every=N' or '(', found 'and'"),
    ("meta.x = 1", 0, "expected a field name, 'not', 'every=N' or '(', found 'meta.x'"),
    ('"male" = gender', 0, "expected a field name, 'not', 'every=N' or '(', found \"male\""),
    ("a = and", 4, "expected a value (a number, true, false, null or text), found 'and'"),
    ("a <> 1", 3, "expected a value (a number, true, false, null or text), found '>'"),
    ("a in 1", 5, "expected '(' after 'in', found '1'"),
    ("a in ()", 6, "expected a value (a number, true, false, null or text), found ')'"),
    ("a in (1 2)", 8, "expected ',' or ')', found '2'"),
    ("a in (1,)", 8, "expected a value (a number, true, false, null or text), found ')'"),
    ("a < null", 4, "null has no order: only = and != can test it"),
    ("a >= True", 5, "True has no order: only = and != can test it"),
    ("a ~ 12", 4, "expected a quoted expression after '~', found 12"),
    ("a ~ null", 4, "expected a quoted expression after '~', found null"),
    ("a ~ '(x'", 4, "Invalid regular expression: missing ): (x (the syntax is RE2)"),
    ("a ~ '(?=x)'", 4, "Invalid regular expression: invalid perl operator: (?= (the syntax is RE2)"),
    ("every 10", 6, "expected '=' after 'every' (every=10 keeps each tenth source_index), found '10'"),
    ("every=0", 6, "expected a whole number from 1 after 'every=', found '0'"),
    ("every=-2", 6, "expected a whole number from 1 after 'every=', found '-2'"),
    ("every=2.0", 6, "expected a whole number from 1 after 'every=', found '2.0'"),
    ("every=true", 6, "expected a whole number from 1 after 'every=', found 'true'"),
    ("every='2'", 6, "expected a whole number from 1 after 'every=', found '2'"),
    ("every=", 6, "expected a whole number from 1 after 'every=', found the end of the query"),
    ("a = 9223372036854775808", 4, "the number is too large (whole numbers have 64 bits)"),
    ("a = 1e999", 4, "the number is too large (whole numbers have 64 bits)"),
    ("a = " + "0" * 101, 4, "the number is too large (whole numbers have 64 bits)"),
    ("a = 'x", 4, "the quote opened here is never closed"),
    ("a = 1 & b = 2", 6, "'&' has no meaning here (quote text that holds it); write 'and'"),
    ("a = 1 || b = 2", 6, "'|' has no meaning here (quote text that holds it); write 'or'"),
    ("a !~ x", 2, "'!' has no meaning here (quote text that holds it); "
     "write 'not', or '!=' between a field and a value"),
    ("a in [1]", 5, "'[' has no meaning here (quote text that holds it); a list is written in (a, b)"),
    ("a = \u201cx\u201d", 4, "'\u201c' has no meaning here (quote text that holds it); "
     'write the straight quote "'),
    ("a = \ud800", 4, "a character here is not valid text (half of a surrogate pair)"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "at", "message"), ERRORS, ids=[repr(text)[:30] for text, _, _ in ERRORS])
def test_error_shows_place_expectation_and_finding(text: str, at: int, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    head, shown, caret = str(caught.value).split("\n")
    assert head == f"query, character {at + 1}: {message}"
    assert caret == " " * (at + 2) + "^"
    assert shown.startswith("  " + text[:at])


@pytest.mark.parametrize("text", ["", "  \n\t"])
def test_empty_query(text: str) -> None:
    with pytest.raises(
        UsageError, match=r"the query is empty: write a comparison .* \(every=1 keeps all rows\)"
    ):
        parse(text)


def test_caret_stays_under_the_place_in_long_and_broken_lines() -> None:
    text = "long_name = 1\nand " * 100 + "bad ! 1 " + "and more = 1 " * 100
    with pytest.raises(UsageError) as caught:
        parse(text)
    _, shown, caret = str(caught.value).split("\n")
    assert shown[caret.index("^")] == "!"
    assert shown.startswith("  ...")
    assert shown.endswith("...")
    assert len(shown) < 120


def test_nesting_is_bounded() -> None:
    for opening, closing in (("(", ")"), ("not ", ""), ("not(", ")")):
        levels = MAX_DEPTH // (2 if opening == "not(" else 1)
        assert parse(str(parse(opening * levels + "a=1" + closing * levels)))
        for depth in (levels + 1, 5000):
            with pytest.raises(UsageError, match=f"'not' and '\\(' nest deeper than {MAX_DEPTH}; simplify"):
                parse(opening * depth + "a=1" + closing * depth)
    beside = " and ".join(["(not (a = 1))"] * 200)
    assert str(parse(beside)) == " and ".join(["not a = 1"] * 200)


def test_length_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    values = (MAX_WORDS - 5) // 2
    longest = parse(f"a in ({'b,' * values}b)")
    assert same(parse(str(longest)), longest)
    with pytest.raises(UsageError, match=f"the query is longer than {MAX_WORDS} words; split it"):
        parse("a=1 or " * MAX_WORDS + "a=1")
    monkeypatch.setattr(query_syntax, "MAX_WORDS", 3)
    assert same(parse("a = 1").root, A)
    with pytest.raises(UsageError, match="character 5: the query is longer than 3 words"):
        parse("a=1 or b=1")


def test_excerpt_is_one_short_line() -> None:
    assert excerpt("a\nb") == "a b"
    assert excerpt("x" * 80) == "x" * 80
    assert excerpt("x" * 81) == "x" * 77 + "..."


FIELDS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name.lower() not in {"and", "or", "not", "in", "every", "true", "false", "null"}
)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(max_size=6) | st.sampled_from(["null", "1e3", "a b", '"', "\\", "\\\\'", '\\"', "\n", "\\d"])
LITERALS: st.SearchStrategy[Value] = st.none() | st.booleans() | NUMBERS | TEXTS
LEAVES: st.SearchStrategy[Node] = st.one_of(
    st.builds(Compare, FIELDS, st.sampled_from(["=", "!="]), LITERALS),
    st.builds(Compare, FIELDS, st.sampled_from(["<", "<=", ">", ">="]), NUMBERS | TEXTS),
    st.builds(Compare, FIELDS, st.just("~"), TEXTS.map(re.escape)),
    st.builds(In, FIELDS, st.lists(LITERALS, min_size=1, max_size=3).map(tuple)),
    st.builds(Every, st.integers(1, 2**63 - 1)),
)


def nested(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    terms = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.builds(Not, inner) | st.builds(And, terms) | st.builds(Or, terms)


@settings(max_examples=200, deadline=None)
@given(st.recursive(LEAVES, nested, max_leaves=12))
def test_any_tree_prints_and_parses_back(tree: Node) -> None:
    query = Query(tree)
    assert same(parse(str(query)), query)
    assert str(parse(str(query))) == str(query)


OPERATORS = ["=", "==", "!=", "<", "<=", ">", ">=", "~", "(", ")", ",", "in", "and", "or", "not", "every"]
OPERANDS = [
    "a",
    "frame",
    "true",
    "null",
    "1",
    "-2.5",
    "1e999",
    "'x'",
    '"("',
    "'",
    '"',
    "!",
    "&",
    "\\",
    "\n",
    "é",
]
WORDS = st.sampled_from(OPERATORS) | st.sampled_from(OPERANDS)


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=30)
    | st.lists(WORDS, max_size=15).map(" ".join)
    | st.lists(WORDS, max_size=15).map("".join)
)
def test_any_text_parses_or_is_a_usage_error(text: str) -> None:
    try:
        query = parse(text)
    except UsageError:
        return
    assert same(parse(str(query)), query)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab(){}[]?*+|^$.\\dPp<>:=!1,-", max_size=12))
def test_any_regular_expression_compiles_or_is_a_usage_error(pattern: str) -> None:
    try:
        query = parse(str(Compare("a", "~", pattern)))
    except UsageError:
        return
    assert same(query.root, Compare("a", "~", pattern))
