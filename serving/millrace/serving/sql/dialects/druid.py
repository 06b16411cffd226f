"""Druid: values are parameters in the order of the text, `?`, each with its type.

https://druid.apache.org/docs/33.0.0/api-reference/sql-api#request-body
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlglot import exp

from millrace.serving.sql.dialects.base import Dialect, Statement
from millrace.serving.sql.faults import QueryError
from millrace.serving.sql.shape import Output, Param, Sort
from millrace.serving.sql.tree import Function
from millrace.spec.types import Kind

_TYPES = {
    Kind.BOOLEAN: "BOOLEAN",
    Kind.FLOAT: "DOUBLE",
    Kind.DOUBLE: "DOUBLE",
    Kind.DECIMAL: "DOUBLE",
    Kind.STRING: "VARCHAR",
    Kind.DATE: "VARCHAR",
    Kind.TIMESTAMP: "TIMESTAMP",
    Kind.TIMESTAMP_NTZ: "TIMESTAMP",
}


class DruidDialect(Dialect):
    name = "druid"
    sqlglot = "druid"
    nulls_last = False

    def like(self, left: exp.Expr, param: Param, *, negated: bool) -> exp.Expr:
        pattern = exp.Escape(
            this=exp.Like(this=left, expression=self.marker(param)), expression=exp.Literal.string("\\")
        )
        return exp.Not(this=pattern) if negated else pattern

    def holds(self, left: exp.Expr, param: Param, *, every: bool, negated: bool) -> exp.Expr:
        values = exp.Array(expressions=[self.marker(param)])
        found = exp.Anonymous(this="ARRAY_CONTAINS" if every else "ARRAY_OVERLAP", expressions=[left, values])
        return exp.Not(this=found) if negated else found

    def other_aggregate(self, output: Output, column: exp.Expr) -> exp.Expr:
        """AVG of whole numbers would be whole."""
        match output.function:
            case Function.QUANTILE:
                level = exp.Literal.number(repr(output.level))
                return exp.Anonymous(this="APPROX_QUANTILE_DS", expressions=[column, level])
            case Function.APPROX_DISTINCT:
                return exp.Anonymous(this="APPROX_COUNT_DISTINCT_DS_HLL", expressions=[column])
            case _:
                return exp.Avg(this=exp.Cast(this=column, to=exp.DataType.build("double")))

    def order(self, item: exp.Expr, sort: Sort) -> list[exp.Expr]:
        return [exp.Ordered(this=item, desc=sort.descending, nulls_first=not sort.descending)]

    def bind(self, pieces: Sequence[str | Param], values: Sequence[Any]) -> Statement:
        text: list[str] = []
        params: list[Any] = []
        for piece in pieces:
            if isinstance(piece, str):
                text.append(piece)
                continue
            found = list(_sent(piece, values[piece.index]))
            params += found
            text.append(", ".join("?" * len(found)))
        return Statement("".join(text), tuple(params))


def _sent(param: Param, value: Any) -> Iterator[dict[str, Any]]:
    if param.type.kind is Kind.BINARY:
        raise QueryError("binary values can't be asked of Druid")
    type_ = _TYPES.get(param.type.kind, "BIGINT")
    for item in value if param.many else (value,):
        yield {"type": type_, "value": _json(item)}


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(" ", timespec="milliseconds")
    if isinstance(value, date):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value
