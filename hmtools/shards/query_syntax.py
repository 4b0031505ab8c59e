"""Reading and printing queries: the syntax tree, the words and the parser.

The grammar and what it means are described in :mod:`hmtools.shards.query`, which is what callers import.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from hmtools.core.errors import UsageError

__all__ = [
    "MAX_DEPTH",
    "MAX_WORDS",
    "And",
    "Compare",
    "Every",
    "In",
    "Node",
    "Not",
    "Or",
    "Query",
    "Value",
    "excerpt",
    "fields_of",
    "literal_text",
    "parse",
]

MAX_DEPTH = 50
"""How deep parentheses and ``not`` may nest: below the interpreter's limit, far above what people write."""
MAX_WORDS = 20_000
"""How many words and signs a query may have; counted in words because printing never adds any."""

Value: TypeAlias = bool | int | float | str | None
Node: TypeAlias = "Compare | In | Every | Not | And | Or"


def literal_text(value: Value) -> str:
    """Text of a literal that reads back as the same value of the same type."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return "null" if value is None else repr(value).lower()  # True -> true, 1e-05, -3


@dataclass(frozen=True, slots=True)
class Compare:
    """``field op value`` with ``= != < <= > >= ~``; only ``=`` and ``!=`` go with null, true and false."""

    field: str
    op: str
    value: Value

    def __str__(self) -> str:
        return f"{self.field} {self.op} {literal_text(self.value)}"


@dataclass(frozen=True, slots=True)
class In:
    """``field in (values)``: equal to one of them; at least one value."""

    field: str
    values: tuple[Value, ...]

    def __str__(self) -> str:
        return f"{self.field} in ({', '.join(map(literal_text, self.values))})"


@dataclass(frozen=True, slots=True)
class Every:
    """``every=n``: ``source_index`` is a multiple of ``n`` >= 1."""

    n: int

    def __str__(self) -> str:
        return f"every={self.n}"


@dataclass(frozen=True, slots=True)
class Not:
    """``not term``: the rows that ``term`` drops."""

    term: Node

    def __str__(self) -> str:
        return f"not {_grouped(self.term, And, Or)}"


@dataclass(frozen=True, slots=True)
class And:
    """All of two or more terms."""

    terms: tuple[Node, ...]

    def __str__(self) -> str:
        return " and ".join(_grouped(term, And, Or) for term in self.terms)


@dataclass(frozen=True, slots=True)
class Or:
    """Any of two or more terms."""

    terms: tuple[Node, ...]

    def __str__(self) -> str:
        return " or ".join(_grouped(term, Or) for term in self.terms)


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query. ``str`` gives the canonical text, which parses back to an equal query.

    Made by :func:`parse`, which is what guarantees the limits and that every regular expression compiles.
    """

    root: Node

    def __str__(self) -> str:
        return str(self.root)


def _grouped(node: Node, *kinds: type) -> str:
    return f"({node})" if isinstance(node, kinds) else str(node)


# ---- reading ----------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""\s*(?: (?P<word> [\w\-./%*+:@]+ )
             | (?P<quoted> "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' )
             | (?P<sign> <= | >= | != | == | [=<>~(),] ) )""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(\.[0-9]*)?|(\.[0-9]+))([eE][+-]?[0-9]+)?")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEYWORDS = frozenset({"and", "or", "not", "in", "every", "true", "false", "null"})
_CONSTANTS: dict[str, Value] = {"true": True, "false": False, "null": None}
_SIGNS = frozenset({"=", "!=", "<", "<=", ">", ">=", "~"})
_A_TERM = "a field name, 'not', 'every=N' or '('"
_A_LITERAL = "a number, true, false, null or text"
_AN_OPERATOR = "one of = != < <= > >= in ~"
_WINDOW = 50  # characters of the query shown on either side of an error

# What people write who know another grammar, by what is found: said at the end of the message.
_HINTS = {
    "&": "write 'and'",
    "|": "write 'or'",
    "!": "write 'not', or '!=' between a field and a value",
    "[": "a list is written in (a, b)",
    "not": "write 'not field in (...)' with 'not' before the field",
    "is": "write 'field = null' or 'field != null'",
    "\u201c": 'write the straight quote "',
    "\u201d": 'write the straight quote "',
    "\u2018": "write the straight quote '",
    "\u2019": "write the straight quote '",
}


class _Token(NamedTuple):
    kind: str  # word, quoted, sign or end
    text: str
    at: int

    @property
    def keyword(self) -> str:
        """The word in lower case when it is a keyword, the sign when it is one, else nothing."""
        word = self.text.lower() if self.kind == "word" else ""
        return self.text if self.kind == "sign" else word if word in _KEYWORDS else ""


def excerpt(text: str) -> str:
    """Return one printable line of at most 80 characters, for messages."""
    line = "".join(char if char.isprintable() else " " for char in text[:81])
    return line if len(line) <= 80 else f"{line[:77]}..."


def _error(text: str, at: int, what: str, found: str = "") -> UsageError:
    """Build an error that shows the part of the query around ``at`` with a caret below it."""
    start, stop = max(0, at - _WINDOW), at + _WINDOW
    lead, trail = "..." if start else "", "..." if stop < len(text) else ""
    shown = "".join(char if char.isprintable() else " " for char in text[start:stop])
    hint = f"; {_HINTS[found]}" if found in _HINTS else ""
    caret = " " * (len(lead) + at - start) + "^"
    return UsageError(f"query, character {at + 1}: {what}{hint}\n  {lead}{shown}{trail}\n  {caret}")


def _tokens(text: str) -> list[_Token]:
    """Cut the text into words, quoted texts and signs; the last token is the end."""
    tokens: list[_Token] = []
    at, stop = 0, len(text.rstrip())
    while at < stop:
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            if text[at] in "\"'":
                raise _error(text, at, "the quote opened here is never closed")
            raise _error(text, at, f"{text[at]!r} has no meaning here (quote text that holds it)", text[at])
        kind = str(match.lastgroup)
        tokens.append(_Token(kind, match[kind], match.start(kind)))
        at = match.end()
        if len(tokens) > MAX_WORDS:
            raise _error(text, tokens[-1].at, f"the query is longer than {MAX_WORDS} words; split it")
    return [*tokens, _Token("end", "", stop)]


class _Parser:
    """Recursive descent over the tokens; one method per rule of the grammar."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.next = 0
        self.depth = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.next]

    def take(self) -> _Token:
        """Consume the current token; the end is never passed because no rule accepts it."""
        self.next += 1
        return self.tokens[self.next - 1]

    def accept(self, *keywords: str) -> bool:
        found = self.token.keyword in keywords
        self.next += found
        return found

    def expected(self, what: str) -> UsageError:
        token = self.token
        named = {"end": "the end of the query", "quoted": token.text}.get(token.kind, repr(token.text))
        return _error(self.text, token.at, f"expected {what}, found {excerpt(named)}", token.text.lower())

    def query(self) -> Query:
        root = self.any_of()
        if self.token.kind != "end":
            raise self.expected("'and', 'or' or the end of the query")
        return Query(root)

    def any_of(self) -> Node:
        terms = [self.all_of()]
        while self.accept("or"):
            terms.append(self.all_of())
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def all_of(self) -> Node:
        terms = [self.term()]
        while self.accept("and"):
            terms.append(self.term())
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def term(self) -> Node:
        """One term; the only rule that nests, so the depth is counted here."""
        token = self.token
        if self.accept("every"):
            return self.every()
        if not self.accept("not", "("):
            return self.comparison()
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _error(
                self.text, token.at, f"'not' and '(' nest deeper than {MAX_DEPTH}; simplify the query"
            )
        node = self.any_of() if token.text == "(" else Not(self.term())
        if token.text == "(" and not self.accept(")"):
            raise self.expected("'and', 'or' or ')'")
        self.depth -= 1
        return node

    def every(self) -> Every:
        if not self.accept("=", "=="):
            raise self.expected("'=' after 'every' (every=10 keeps each tenth source_index)")
        start = self.next
        n = self.literal() if self.token.kind == "word" else None
        if type(n) is not int or n < 1:
            self.next = start
            raise self.expected("a whole number from 1 after 'every='")
        return Every(n)

    def comparison(self) -> Node:
        if self.token.kind != "word" or self.token.keyword or not _FIELD.fullmatch(self.token.text):
            raise self.expected(_A_TERM)
        field = self.take().text
        if self.accept("in"):
            return In(field, self.values())
        sign = self.token.keyword.replace("==", "=")
        if sign not in _SIGNS:
            raise self.expected(f"{_AN_OPERATOR} after {field!r}")
        self.take()
        value_token = self.token
        value = self.literal()
        if sign == "~":
            self.check_regex(value, value_token)
        elif sign not in ("=", "!=") and (value is None or isinstance(value, bool)):
            raise _error(
                self.text, value_token.at, f"{value_token.text} has no order: only = and != can test it"
            )
        return Compare(field, sign, value)

    def values(self) -> tuple[Value, ...]:
        if not self.accept("("):
            raise self.expected("'(' after 'in'")
        values = [self.literal()]
        while self.accept(","):
            values.append(self.literal())
        if not self.accept(")"):
            raise self.expected("',' or ')'")
        return tuple(values)

    def literal(self) -> Value:
        token = self.token
        if token.kind == "quoted":
            return re.sub(r"""\\([\\"'])""", r"\1", self.take().text[1:-1])
        if token.kind != "word" or (token.keyword and token.keyword not in _CONSTANTS):
            raise self.expected(f"a value ({_A_LITERAL})")
        self.take()
        if token.keyword:
            return _CONSTANTS[token.keyword]
        return self.number(token) if _NUMBER.fullmatch(token.text) else token.text

    def number(self, token: _Token) -> int | float:
        match = _NUMBER.fullmatch(token.text)
        whole = match is not None and not any(match.groups())
        # The length is bounded first: int() of a long text is slow, and refuses 4300 digits.
        value = (int if whole else float)(token.text) if len(token.text) <= 100 else math.inf
        if not math.isfinite(value) or (whole and not -(2**63) <= value < 2**63):
            raise _error(self.text, token.at, "the number is too large (whole numbers have 64 bits)")
        return value

    def check_regex(self, value: Value, token: _Token) -> None:
        if not isinstance(value, str):
            raise _error(self.text, token.at, f"expected a quoted expression after '~', found {token.text}")
        try:
            pc.match_substring_regex(pa.array([""]), value)
        except pa.ArrowInvalid as error:
            raise _error(self.text, token.at, f"{error} (the syntax is RE2)") from error


def parse(text: str) -> Query:
    """Parse a query.

    Args:
        text: a query in the grammar of this module.

    Returns:
        The syntax tree; columns and their types are checked when it meets a table.

    Raises:
        UsageError: if the text is not a query; the message shows where, what was expected and what was found.
    """
    if not text.strip():
        raise UsageError(
            "the query is empty: write a comparison such as valid_smplx = true (every=1 keeps all rows)"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _error(
            text, error.start, "a character here is not valid text (half of a surrogate pair)"
        ) from error
    return _Parser(text).query()


def fields_of(query: Query) -> frozenset[str]:
    """Return the columns a query reads, ``source_index`` for ``every``; a reader need load no other."""
    return frozenset(_fields(query.root))


def _fields(node: Node) -> set[str]:
    match node:
        case And() | Or():
            return set().union(*map(_fields, node.terms))
        case Not():
            return _fields(node.term)
        case Every():
            return {"source_index"}
        case Compare() | In():
            return {node.field}
