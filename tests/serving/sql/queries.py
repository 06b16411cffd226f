"""What the tests of queries share: an asset with a column of each kind, its rules, and the stages in one call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from millrace.serving.sql.compile import compile_query
from millrace.serving.sql.dialects import Statement, Table
from millrace.serving.sql.parse import parse
from millrace.serving.sql.plan import behind, plan
from millrace.serving.sql.repeated import as_asked
from millrace.serving.sql.rules import SqlRules
from millrace.serving.sql.shape import Planned
from millrace.spec.types import column

GOLDEN = Path(__file__).parent / "golden"
COLUMNS = (
    column("id", "bigint"),
    column("city", "string"),
    column("age", "int"),
    column("score", "double"),
    column("amount", "decimal(12,2)"),
    column("active", "boolean"),
    column("born", "date"),
    column("at", "timestamp"),
    column("seen", "timestamp_ntz"),
    column("raw", "binary"),
    column("tags", "array<string>"),
    column("more", "map<string,int>"),
)
TABLES: Mapping[str, Table] = {
    "clickhouse": Table(("assets", "users__01jd")),
    "druid": Table(("users",), (("at", "__time"),)),
    "mysql": Table(("shop", "users")),
}


def rules(**definition: Any) -> SqlRules:
    return SqlRules.of({"name": "users", **definition}, COLUMNS)


def planned(tree: Any, **definition: Any) -> Planned:
    return plan(parse(tree), rules(**definition))


def compiled(tree: Any, dialect: str, after: tuple[Any, ...] | None = None, skip: int = 0) -> Statement:
    """A query's statement; `after` is where a page begins."""
    found = planned(tree)
    asked, _ = as_asked(found if after is None else behind(found, after, skip), TABLES[dialect], dialect)
    return compile_query(asked, TABLES[dialect], dialect)


def golden_cases() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads((GOLDEN / "queries.json").read_text())
    return found
