"""What one SQL API allows: its columns with their types, functions and limits. Compiled once, when it is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from millrace.serving.sql.faults import QueryError
from millrace.serving.sql.tree import Condition, Function
from millrace.spec.shape.apis import SqlApi
from millrace.spec.types import Column, DataType

DEFAULT_ROWS = 10_000
DEFAULT_VALUES = 10_000
DEFAULT_TIMEOUT = timedelta(seconds=30)


@dataclass(frozen=True)
class SqlRules:
    """`columns` may be used, in their order; `stored` are all that the asset has, for `filter`.

    `filter` is a condition that every row of every answer meets (a grant's row filter): no query can see around it.
    `rows` is the most that one answer has, unless it is a stream; `values` the most in one `in` list.
    """

    api: str
    columns: Mapping[str, DataType]
    stored: Mapping[str, DataType]
    functions: frozenset[Function] = frozenset(Function)
    rows: int = DEFAULT_ROWS
    values: int = DEFAULT_VALUES
    timeout: timedelta = DEFAULT_TIMEOUT
    stream: bool = True
    filter: Condition | None = field(default=None)

    @classmethod
    def of(cls, definition: Mapping[str, Any], columns: Sequence[Column]) -> SqlRules:
        """The rules of an API's definition, as the catalog keeps it, over an asset's columns."""
        api = SqlApi.model_validate(definition)
        stored = {column.name: column.type for column in columns}
        names = stored if api.columns is None else [name for name in api.columns if name in stored]
        return cls(
            api=api.name,
            columns={name: stored[name] for name in names},
            stored=stored,
            functions=frozenset(Function) if api.functions is None else frozenset(map(Function, api.functions)),
            rows=api.limits.rows or DEFAULT_ROWS,
            values=api.limits.keys or DEFAULT_VALUES,
            timeout=api.limits.timeout or DEFAULT_TIMEOUT,
            stream=api.stream,
        )

    def restricted(self, columns: Sequence[str] | None, filter_: Condition | None) -> SqlRules:
        """The same for one consumer: of these columns only (None: all of them), and of the rows that meet a condition.

        Raises QueryError when none of the columns is left.
        """
        left = dict(self.columns) if columns is None else {n: t for n, t in self.columns.items() if n in set(columns)}
        if not left:
            raise QueryError(f"no column of {self.api} is granted")
        return replace(self, columns=left, filter=filter_ or self.filter)
