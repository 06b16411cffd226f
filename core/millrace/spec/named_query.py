"""Named queries of SQL APIs: one SELECT over `input` in Spark's words, with `:name` parameters. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from millrace.spec.diagnostics import did_you_mean, shown
from millrace.spec.sql import INPUT, SqlError, place_in, tree_of


def parse_named(text: str, parameters: Collection[str]) -> Any:
    """The query as sqlglot's tree. Raises SqlError, with the place in the text, for what is not allowed.

    Allowed is one SELECT that reads `input` once, and only that: no other table, no subquery, no WITH, no UNION. Every
    parameter that is used is declared, and the other way round.
    """
    from sqlglot import exp

    tree = tree_of(text.rstrip().rstrip(";"))
    if not isinstance(tree, exp.Select):
        raise SqlError("expected one SELECT over 'input'")
    _check_tables(tree)
    for found in tree.find_all(exp.Select, exp.CTE, exp.SetOperation, exp.Lateral, exp.Pivot, exp.Into, exp.Lock):
        if found is not tree:
            raise SqlError("a named query is one SELECT, with no query inside it, no WITH and no UNION")
    used = {found.name for found in tree.find_all(exp.Placeholder)}
    for name in used:
        if name not in parameters:
            offset = max(text.find(f":{name}"), 0)
            message = f"undeclared parameter ':{shown(name)}'{did_you_mean(name, parameters)}"
            raise SqlError(message, offset, len(name) + 1)
    for name in parameters:
        if name not in used:
            raise SqlError(f"the parameter ':{shown(name)}' is declared and never used")
    return tree


def _check_tables(tree: Any) -> None:
    from sqlglot import exp

    tables = list(tree.find_all(exp.Table))
    for table in tables:
        ours = isinstance(table.this, exp.Identifier) and table.name.lower() == INPUT and not table.db
        if not ours:
            offset, length = place_in(table.this) or (0, 1)
            raise SqlError(f"a named query reads 'input' alone, not {shown(table.sql(), 40)}", offset, length)
    if len(tables) != 1:
        raise SqlError("a named query reads 'input', once")
