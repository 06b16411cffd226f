"""Spark SQL texts, parsed as far as a spec needs it: syntax, the columns they refer to, the columns they give.

What the parser (sqlglot, imported when the first text is parsed) can't decide stays undecided: Spark has the last word.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from millrace.spec.diagnostics import shown
from millrace.spec.types import DataType, parse_type

if TYPE_CHECKING:
    from sqlglot import exp

INPUT = "input"
_WITHOUT_PARENTHESES = frozenset(
    {"localtimestamp", "current_time", "current_database", "current_schema", "current_catalog"}
)
_BEYOND = re.compile(r">>>|\|>|\b[xX]\s+'")  # unsigned shift, pipe syntax, a hex literal with a space


class SqlError(ValueError):
    """An SQL text that can't be parsed; `offset` and `length` say where in the text."""

    def __init__(self, message: str, offset: int = 0, length: int = 1) -> None:
        super().__init__(message)
        self.offset = offset
        self.length = length


@dataclass(frozen=True)
class Reference:
    """A column that an SQL text names, and where in the text."""

    name: str
    offset: int
    length: int


@dataclass(frozen=True)
class Output:
    """A column that a query gives. `source` is the input's column when it is just that, under its own or a new name."""

    name: str
    type: DataType | None = None
    source: str | None = None


@dataclass(frozen=True)
class Star:
    """All columns of the input, but for those in `dropped`."""

    dropped: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Expression:
    """`references` are the columns it names; `type` is known for casts only."""

    references: tuple[Reference, ...]
    type: DataType | None = None


@dataclass(frozen=True)
class Query:
    """`outputs` and `references` are None where the text doesn't tell them."""

    outputs: tuple[Output | Star, ...] | None
    references: tuple[Reference, ...] | None


_UNDECIDED = Query(None, None)


def parse_expression(text: str) -> Expression:
    """One SQL expression. Raises SqlError for anything else, with the place in the text."""
    from sqlglot import exp

    tree = _parse(text)
    if tree is None:
        return Expression(())
    if isinstance(tree, exp.Alias):
        place = _place(tree.args["alias"]) or (0, 1)
        raise SqlError(f"bad SQL: unexpected '{shown(tree.alias)}' after the expression", *place)
    expressions = (exp.Condition, exp.Interval, exp.AtTimeZone, exp.FromTimeZone)
    if isinstance(tree, exp.Query | exp.Star) or not isinstance(tree, expressions):
        raise SqlError("expected one SQL expression, such as age >= 0")
    if tree.find(exp.Query) is not None:
        return Expression((), _type(tree))
    return Expression(_references(tree), _type(tree))


def parse_query(text: str, views: Sequence[str] = (INPUT,)) -> Query:
    """One SELECT that reads one of the `views`. Raises SqlError for anything else, with the place in the text."""
    from sqlglot import exp

    tree = _parse(text.rstrip().rstrip(";"))
    if tree is None or _BEYOND.search(text):
        return _UNDECIDED
    if not isinstance(tree, exp.Query):
        raise SqlError(f"expected one SELECT over the view '{views[0]}'")
    tables = list(tree.find_all(exp.Table))
    reading = [table for table in tables if table.name.lower() in views and not table.db]
    if not reading:
        raise _not_reading(tables, views[0])
    if not isinstance(tree, exp.Select) or len(tables) > 1 or tree.find(exp.Subquery, exp.CTE, exp.Lateral, exp.Pivot):
        return _UNDECIDED
    scope = {*views, reading[0].alias_or_name.lower()}
    outputs = _outputs(tree, scope)
    if outputs is None:
        return _UNDECIDED
    named = {alias.lower() for found in tree.find_all(exp.Alias, exp.Aliases) for alias in _names(found)}
    return Query(outputs, tuple(r for r in _references(tree, scope) if r.name.lower() not in named))


def tree_of(text: str) -> Any:
    """The one tree of a text; None where the parser can't go. Raises SqlError for what is no SQL, or more than one."""
    return _parse(text)


def place_in(identifier: Any) -> tuple[int, int] | None:
    """Offset and length of an identifier in its text, where the parser knows."""
    return _place(identifier) if hasattr(identifier, "meta") else None


def _names(alias: Any) -> list[str]:
    names = alias.args.get("expressions")
    return [name.name for name in names] if isinstance(names, list) else [alias.alias]


def _not_reading(tables: list[Any], view: str) -> SqlError:
    from sqlglot import exp

    found = tables[0].this if tables and isinstance(tables[0].this, exp.Identifier) else None
    if found is None:
        return SqlError(f"this query never reads '{view}', the view with the rows of this run")
    message = f"this query reads '{shown(found.name)}', not '{view}', the view with the rows of this run"
    return SqlError(message, *(_place(found) or (0, 1)))


def _parse(text: str) -> Any:
    """The one tree of a text; None where the parser can't go: nested too deep, or what it doesn't know of Spark."""
    import sqlglot
    from sqlglot.errors import ParseError, TokenError

    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        trees = sqlglot.parse(text, read="spark")
    except ParseError as error:
        if _BEYOND.search(text):
            return None
        raise _syntax_error(text, error) from None
    except TokenError:
        raise _token_error(text) from None
    except RecursionError:
        return None
    if len(trees) != 1 or trees[0] is None or type(trees[0]).__name__ == "Block":
        raise SqlError("expected one SQL text, without ';'", max(text.find(";"), 0))
    return trees[0]


def _syntax_error(text: str, error: Any) -> SqlError:
    first = error.errors[0] if error.errors else {}
    token = first.get("highlight") or ""
    description = str(first.get("description") or error)
    lines = text.split("\n")
    before = sum(len(line) + 1 for line in lines[: max(int(first.get("line") or 1) - 1, 0)])
    offset = min(max(before + int(first.get("col") or 1) - len(token), 0), len(text))
    length = max(len(token), 1)
    if description.startswith("Required keyword"):
        return SqlError(f"bad SQL: something is missing after '{shown(token)}'", offset, length)
    if description.startswith("Expecting "):
        expected = description.removeprefix("Expecting ")
        return SqlError(f"bad SQL: expected '{shown(expected)}' after '{shown(token)}'", offset, length)
    if "Unexpected token" in description:
        return SqlError(f"bad SQL: unexpected '{shown(token)}'", offset, length)
    return SqlError(f"bad SQL: {shown(description, 120)}, at '{shown(token)}'", offset, length)


def _token_error(text: str) -> SqlError:
    """The parser doesn't say where: an odd quote is the likely place."""
    odd = [quote for quote in "'\"`" if text.count(quote) % 2]
    offset = text.rfind(odd[0]) if odd else max(text.rfind("/*"), 0)
    return SqlError("bad SQL: a quote or a comment is not closed", offset)


def _place(identifier: Any) -> tuple[int, int] | None:
    start, end = identifier.meta.get("start"), identifier.meta.get("end")
    return None if start is None or end is None else (start, end - start + 1)


def _references(tree: exp.Expr, scope: frozenset[str] | set[str] = frozenset()) -> tuple[Reference, ...]:
    from sqlglot import exp

    found = []
    for column in tree.find_all(exp.Column):
        parts = [part for part in column.parts if isinstance(part, exp.Identifier)]
        if len(parts) > 1 and parts[0].name.lower() in scope:
            parts = parts[1:]
        if not parts or (not parts[0].quoted and parts[0].name.lower() in _WITHOUT_PARENTHESES):
            continue
        if isinstance(column.this, exp.Star) and parts[0].name.lower() in scope:
            continue
        offset, length = _place(parts[0]) or (0, 1)
        found.append(Reference(parts[0].name, offset, length))
    return tuple(sorted(found, key=lambda reference: reference.offset))


def _type(tree: exp.Expr) -> DataType | None:
    from sqlglot import exp

    if isinstance(tree, exp.Alias | exp.Paren):
        return _type(tree.this)
    if not isinstance(tree, exp.Cast):
        return None
    try:
        return parse_type(tree.to.sql("spark").lower())
    except ValueError:
        return None


def _outputs(tree: exp.Select, scope: set[str]) -> tuple[Output | Star, ...] | None:
    outputs: list[Output | Star] = []
    for item in tree.expressions:
        found = _output(item, scope)
        if found is None:
            return None
        outputs += found
    return tuple(outputs)


def _output(item: Any, scope: set[str]) -> list[Output | Star] | None:
    from sqlglot import exp

    star = item.this if isinstance(item, exp.Column) and item.table.lower() in scope else item
    if isinstance(star, exp.Star):
        dropped = star.args.get("except_") or star.args.get("except") or []
        if star.args.get("replace") or star.args.get("rename") or not all(d.name for d in dropped):
            return None
        return [Star(frozenset(d.name.lower() for d in dropped))]
    if isinstance(item, exp.Aliases):
        return [Output(alias.name) for alias in item.aliases]
    if isinstance(item, exp.Alias):
        source = _column(item.this, scope)
        return [Output(item.alias, _type(item), source)]
    name = _column(item, scope)
    return None if name is None else [Output(name, None, name)]


def _column(item: Any, scope: set[str]) -> str | None:
    from sqlglot import exp

    if not isinstance(item, exp.Column) or isinstance(item.this, exp.Star):
        return None
    names = [part.name for part in item.parts]
    if len(names) > 1 and names[0].lower() in scope:
        names = names[1:]
    return names[0] if len(names) == 1 else None
