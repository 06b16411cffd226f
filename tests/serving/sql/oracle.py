"""An oracle for queries: the tree as DuckDB's SQL, written down apart from the code that is tested.

Negations stay where they stand, so that the oracle also holds what the planner makes of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb
import pyarrow as pa

_COMPARISONS = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_AGGREGATES = {
    "count": "count({})",
    "count_distinct": "count(DISTINCT {})",
    "sum": "sum({})",
    "min": "min({})",
    "max": "max({})",
    "avg": "avg({})",
}


class Oracle:
    """Answers trees over one table."""

    def __init__(self, rows: pa.Table) -> None:
        self._link = duckdb.connect()
        self._link.execute("SET TimeZone = 'UTC'")
        self._link.register("given", rows)
        self._link.execute("CREATE TABLE input AS SELECT * FROM given")

    def rows(self, tree: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The answer without `limit` and `page`."""
        values: list[Any] = []
        items = {_name(item): _expression(item) for item in tree["select"]}
        sql = f"SELECT {', '.join(items.values())} FROM input"
        if "where" in tree:
            sql += f" WHERE {_condition(tree['where'], {}, values)}"
        if "group_by" in tree:
            sql += f" GROUP BY {', '.join(map(_quoted, tree['group_by']))}"
        if "having" in tree:
            sql += f" HAVING {_condition(tree['having'], items, values)}"
        if "order_by" in tree:
            sql += f" ORDER BY {', '.join(_order(item, items) for item in tree['order_by'])}"
        return self._link.execute(sql, values).fetchall()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _name(item: Any) -> str:
    if isinstance(item, str):
        return item
    ((function, column),) = [(key, value) for key, value in item.items() if key != "as"]
    default = function if column == "*" else f"{function}_{column}"
    return str(item.get("as", default))


def _expression(item: Any) -> str:
    if isinstance(item, str):
        return _quoted(item)
    ((function, column),) = [(key, value) for key, value in item.items() if key != "as"]
    return _AGGREGATES[function].format("*" if column == "*" else _quoted(column))


def _order(item: Any, items: Mapping[str, str]) -> str:
    name, direction = (item, "ASC") if isinstance(item, str) else (item["desc"], "DESC")
    return f"{items.get(name, _quoted(name))} {direction} NULLS LAST"


def _condition(tree: Mapping[str, Any], items: Mapping[str, str], values: list[Any]) -> str:
    if "column" not in tree:
        ((key, inner),) = tree.items()
        if key == "not":
            return f"NOT ({_condition(inner, items, values)})"
        return "(" + f" {key.upper()} ".join(_condition(each, items, values) for each in inner) + ")"
    ((test, value),) = [(key, given) for key, given in tree.items() if key != "column"]
    left = items.get(tree["column"], _quoted(tree["column"]))
    if test in _COMPARISONS:
        if isinstance(value, Mapping):
            return f"({left} {_COMPARISONS[test]} {_quoted(value['column'])})"
        values.append(value)
        return f"({left} {_COMPARISONS[test]} ?)"
    return _other(left, test, value, values)


def _other(left: str, test: str, value: Any, values: list[Any]) -> str:
    if test == "null":
        return f"({left} IS {'' if value else 'NOT '}NULL)"
    if test in ("like", "starts_with"):
        values.append(value)
        return f"({left} LIKE ? ESCAPE '\\')" if test == "like" else f"starts_with({left}, ?)"
    values += value
    marks = ", ".join("?" * len(value))
    match test:
        case "in":
            return f"({left} IN ({marks}))"
        case "between":
            return f"({left} BETWEEN ? AND ?)"
        case "has_any":
            return f"list_has_any({left}, [{marks}])"
        case "has_all":
            return f"list_has_all({left}, [{marks}])"
        case _:
            return f"(NOT list_has_any({left}, [{marks}]))"
