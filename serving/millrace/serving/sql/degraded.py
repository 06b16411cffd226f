"""What a SQL API answers when its store is away or late, and nothing that is kept may be given: rows of its spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from millrace.serving.call import Table
from millrace.serving.views import View
from millrace.spec.types import DataType, column

_TYPES = {bool: "boolean", int: "bigint", float: "double"}


class Fallback:
    """The defaults of one API: one for each named query that has its own, and one for all other queries."""

    def __init__(self, definition: Mapping[str, Any], columns: Sequence[str]) -> None:
        queries = definition.get("queries") or {}
        self._columns = frozenset(columns)
        self._of_all = _table(definition.get("default"))
        self._of_query = {name: _table(about.get("default")) for name, about in queries.items()}

    def table(self, arguments: Any, view: View | None) -> Table | None:
        """The rows for a query, without columns that the consumer may not see; None when the spec gives none."""
        name = arguments.get("query") if isinstance(arguments, Mapping) else None
        found = (self._of_query.get(name) if isinstance(name, str) else None) or self._of_all
        if found is None or view is None or view.columns is None:
            return found
        hidden = self._columns - set(view.columns)
        places = [place for place, name in enumerate(found.columns) if name not in hidden]
        rows = [[row[place] for place in places] for row in found.rows]
        return Table([found.columns[p] for p in places], rows, types=[found.types[p] for p in places])


def _table(rows: Sequence[Mapping[str, Any]] | None) -> Table | None:
    """Rows as a spec writes them, which all have the same columns."""
    if rows is None:
        return None
    names = [*rows[0]] if rows else []
    return Table(names, [[row[n] for n in names] for row in rows], types=[_type(n, rows) for n in names])


def _type(name: str, rows: Sequence[Mapping[str, Any]]) -> DataType:
    """Of a column: the widest that its values need."""
    kinds = {type(row[name]) for row in rows if row[name] is not None}
    wide = float if kinds == {int, float} else kinds.pop() if len(kinds) == 1 else str
    return column(name, _TYPES.get(wide, "string")).type
