"""A query as its tree says it: parsed, and not yet held against an API.

| key | what stands there |
|---|---|
| `select` | columns by name, and aggregates, `{"sum": "amount", "as": "total"}`; all columns by default |
| `where` | a condition over columns |
| `group_by` | columns; the others in `select` are aggregates then |
| `having` | a condition over what `select` gives |
| `order_by` | names, `"city"` or `{"desc": "total"}`; nulls come last either way, in Druid as lowest |
| `limit` | the most rows |
| `page` | `{"size": 100, "after": cursor}`: one page in a total order, with the next one's cursor |

A condition is `{"and": […]}`, `{"or": […]}`, `{"not": …}`, or a column with one test: `{"column": "age", "ge": 18}`.
The tests are `eq ne lt le gt ge` (a value, or `{"column": name}`), `in`, `between` (two values, both included), `like`
(`%`, `_`, and `\\` before them), `starts_with`, `null` (true or false), and for lists `has_any`, `has_all`, `has_none`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from millrace.serving.sql.faults import Path


class Function(StrEnum):
    """An aggregate. `approx_distinct` counts by a sketch: 1 to 2 % off at most times, in little memory."""

    COUNT = "count"
    COUNT_DISTINCT = "count_distinct"
    APPROX_DISTINCT = "approx_distinct"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    AVG = "avg"
    QUANTILE = "quantile"


class Comparator(StrEnum):
    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"


@dataclass(frozen=True)
class Pick:
    """One output: a column, or an aggregate over one (`count` also over none). `level` is a quantile's, 0 to 1."""

    name: str
    path: Path
    column: str | None
    function: Function | None = None
    level: float | None = None


@dataclass(frozen=True)
class ColumnName:
    """A column in the place of a value."""

    name: str


@dataclass(frozen=True)
class Test:
    """One column under one test. `operator` is its key in the tree; `value` is as it came."""

    __test__ = False  # not a test class, whatever pytest thinks of its name
    column: str
    operator: str
    value: Any
    path: Path


@dataclass(frozen=True)
class Not:
    item: Condition


@dataclass(frozen=True)
class Junction:
    """All of the items (`and`), or any of them (`or`)."""

    every: bool
    items: tuple[Condition, ...]


Condition: TypeAlias = Test | Not | Junction


@dataclass(frozen=True)
class Order:
    name: str
    descending: bool
    path: Path


@dataclass(frozen=True)
class Page:
    size: int
    after: str | None


@dataclass(frozen=True)
class Query:
    """`select` is None for all columns."""

    select: tuple[Pick, ...] | None = None
    where: Condition | None = None
    group_by: tuple[str, ...] = ()
    having: Condition | None = None
    order_by: tuple[Order, ...] = ()
    limit: int | None = None
    page: Page | None = None
