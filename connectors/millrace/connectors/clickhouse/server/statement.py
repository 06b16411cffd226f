"""What a statement is, as far as an HTTP server must know: where its FORMAT clause stands and where its data begins.

Follows ClickHouse's lexer for comments, strings and heredocs (src/Parsers/Lexer.cpp) and its grammars of INSERT and of
queries with output (ParserInsertQuery.cpp, ParserQueryWithOutput.cpp). Text is bytes read as Latin-1, so that a
position in the text is a position in the bytes, whatever follows the statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

_TOKEN = re.compile(
    r"""
      (?P<space> [\s\x00]+ | --[^\n]* | \#[\ !][^\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<text>  '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*` | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
    | (?P<word>  [A-Za-z_][A-Za-z0-9_]* )
    | (?P<number> [0-9][A-Za-z0-9_.]* )
    | (?P<other> . )
    """,
    re.DOTALL | re.VERBOSE,
)
_AFTER_FORMAT = re.compile(r"[ \t\f]*\r?\n?")
_OUTPUT = frozenset(("SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK", "KILL"))


class Kind(StrEnum):
    """How a server runs a statement."""

    OUTPUT = "output"  # gives rows
    INSERT = "insert"  # takes rows that follow the statement
    COMMAND = "command"  # anything else


class StatementError(ValueError):
    """The text is not one statement that can be run over HTTP; the message is what ClickHouse would say."""


@dataclass(frozen=True)
class Statement:
    """One statement: `head` up to its FORMAT or SETTINGS clause, the format named there, `tail` with its SETTINGS.

    `first` is its first word in capitals. For an INSERT, `data_at` is where its data begins in the text.
    """

    kind: Kind
    first: str
    head: str
    format: str = ""
    tail: str = ""
    data_at: int = 0


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.text.upper() in words


def parse(text: str) -> Statement:
    """The one statement in `text`.

    An INSERT may be followed by its data, of which `text` may hold the beginning only. Raises StatementError for no
    statement, for several, and for one that would write a file on the server.
    """
    tokens = _tokens(text)
    first = next(tokens, None)
    while first is not None and first.text in "(;":
        first = next(tokens, None)
    if first is None:
        raise StatementError("Empty query")
    found = _insert(text, tokens) if first.is_word("INSERT") else None
    return found if found is not None else _whole(text, first.text.upper())


def _tokens(text: str, start: int = 0) -> Iterator[_Token]:
    for match in _TOKEN.finditer(text, start):
        kind = match.lastgroup if match.lastgroup != "tag" else "text"
        if kind is not None and kind != "space":
            yield _Token(kind, match.group(), match.start(), match.end())


def _insert(text: str, tokens: Iterator[_Token]) -> Statement | None:
    """The INSERT statement when data follows it, None for INSERT … SELECT.

    Reads no further than the data, which may hold anything.
    """
    depth, selects, settings = 0, False, None
    for token in tokens:
        depth += (token.text == "(") - (token.text == ")")
        if token.is_word("INPUT") and selects:
            raise StatementError("This local server can't run INSERT … SELECT … FROM input(…)")
        if depth:
            continue
        if token.text == ";":
            break
        if token.is_word("SELECT", "WITH", "WATCH"):
            selects = True
        elif token.is_word("SETTINGS") and settings is None:
            settings = token.start
        elif token.is_word("VALUES") and not selects:
            return _with_data(text, token, token, settings)
        elif token.is_word("FORMAT"):
            name = next(tokens, None)
            return None if selects or name is None or name.kind != "word" else _with_data(text, token, name, settings)
    return None


def _with_data(text: str, clause: _Token, name: _Token, settings: int | None) -> Statement:
    head_end = clause.start if settings is None else settings
    data = None if name.is_word("VALUES") else _AFTER_FORMAT.match(text, name.end)
    data_at = name.end if data is None else data.end()
    form = "Values" if name.is_word("VALUES") else name.text
    return Statement(Kind.INSERT, "INSERT", text[:head_end], form, text[head_end : clause.start], data_at)


def _whole(text: str, first: str) -> Statement:
    tokens = list(_tokens(text))
    ends = [i for i, token in enumerate(tokens) if token.text == ";" and token.kind == "other"]
    if ends and any(token.text != ";" for token in tokens[ends[0] :]):
        raise StatementError("Multi-statements are not allowed")
    tokens = tokens[: ends[0]] if ends else tokens
    end = tokens[-1].end if tokens else 0
    if first not in _OUTPUT or (first == "WITH" and any(token.is_word("INSERT") for token in tokens)):
        return Statement(Kind.COMMAND, first, text[:end])
    if _has_outfile(tokens):
        raise StatementError("INTO OUTFILE is not allowed")
    clause = _format_clause(tokens)
    if clause is None:
        return Statement(Kind.OUTPUT, first, text[:end])
    name = tokens[clause + 1]
    return Statement(Kind.OUTPUT, first, text[: tokens[clause].start], name.text, text[name.end : end])


def _has_outfile(tokens: Sequence[_Token]) -> bool:
    return any(a.is_word("INTO") and b.is_word("OUTFILE") for a, b in pairwise(tokens))


def _format_clause(tokens: Sequence[_Token]) -> int | None:
    """The index of the word FORMAT of the clause: `FORMAT name` at the end, or only SETTINGS after it."""
    for index in range(len(tokens) - 2, 0, -1):
        if tokens[index].is_word("FORMAT") and tokens[index + 1].kind == "word":
            after = tokens[index + 2 :]
            return index if not after or after[0].is_word("SETTINGS") else None
    return None
