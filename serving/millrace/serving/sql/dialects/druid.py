"""Druid: values are parameters in the order of the text, `?`, each with its type.

Columns stand there in their stored types (`millrace.connectors.druid.layout.stored_type`): booleans as 0 and 1, times
as µs, dates as texts; but the column of the time, `__time`, is a TIMESTAMP.

https://druid.apache.org/docs/33.0.0/api-reference/sql-api#request-body
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlglot import exp

from millrace.serving.sql.dialects.base import Dialect, Statement, Table
from millrace.serving.sql.faults import QueryError
from millrace.serving.sql.shape import Output, Param, Shape, Sort
from millrace.serving.sql.tree import Comparator, Function
from millrace.spec.types import DataType, Kind

_TYPES = {
    Kind.FLOAT: "DOUBLE",
    Kind.DOUBLE: "DOUBLE",
    Kind.DECIMAL: "DOUBLE",
    Kind.STRING: "VARCHAR",
    Kind.DATE: "VARCHAR",
}
_CAST = frozenset({Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT, Kind.FLOAT, Kind.DOUBLE})
_KIND = "millrace kind"  # of what a marker stands for, among the node's notes
_TIME = "__time"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DruidDialect(Dialect):
    name = "druid"
    sqlglot = "druid"
    nulls_last = False

    def check(self, shape: Shape, table: Table) -> None:
        """Rows that are not grouped are sorted by their time alone."""
        sort = _other_sort(shape, table)
        if sort is not None and not shape.group:
            raise QueryError(
                f"Druid sorts rows by their time alone, and not by '{sort.output.name}'",
                hint="take pages or a limit, or stream the rows as they come",
            )

    def sorts_groups_alone(self, shape: Shape, table: Table) -> bool:
        """In another order than that of their time; lists, maps and structs make no groups."""
        sort = _other_sort(shape, table)
        nested = next((output for output in shape.outputs if output.type.nested), None)
        if sort is not None and nested is not None:
            raise QueryError(
                f"Druid sorts rows with a {nested.type} ('{nested.name}') by their time alone, and not by "
                f"'{sort.output.name}'",
                hint="select other columns, or stream all rows",
            )
        return sort is not None

    def value(self, param: Param) -> exp.Expr:
        found = self.marker(param)
        found.meta[_KIND] = param.type.kind
        return found

    def compare(self, left: exp.Expr, comparator: Comparator, right: exp.Expr) -> exp.Expr:
        return super().compare(left, comparator, _as_time(right) if _is_time(left) else right)

    def member(self, left: exp.Expr, param: Param, *, negated: bool) -> exp.Expr:
        """A list against the time: of as many values as it has, all are ms."""
        if _is_time(left):
            left = exp.Anonymous(this="TIMESTAMP_TO_MILLIS", expressions=[left])
            left = exp.Mul(this=left, expression=exp.Literal.number(1000))
        return super().member(left, param, negated=negated)

    def given(self, item: exp.Expr, type_: DataType) -> exp.Expr:
        """Times, dates and booleans are converted from what Druid has for them."""
        return super().given(item, type_) if type_.kind in _CAST else item

    def aggregate(self, output: Output, column: exp.Expr | None) -> exp.Expr:
        """The least and the greatest of texts is nothing that Druid knows; dates are texts that it can read."""
        found = super().aggregate(output, column)
        if column is None or output.function not in (Function.MIN, Function.MAX) or _is_time(column):
            return found
        if output.type.kind is Kind.DATE:
            found.set("this", exp.Anonymous(this="TIME_PARSE", expressions=[column]))
            return exp.Anonymous(this="TIME_FORMAT", expressions=[found, exp.Literal.string("yyyy-MM-dd")])
        if output.type.kind in (Kind.STRING, Kind.BINARY):
            raise QueryError(f"Druid knows no {output.function} of texts")
        return found

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

    def order_besides(self, shape: Shape) -> Sequence[exp.Expr]:
        """Druid sorts groups of one column, and by that alone, as `topN`, which gives the null first in any order."""
        alone = len(shape.group) == len(shape.order) == 1 and shape.order[0].descending
        return (exp.Count(this=exp.Star()),) if alone else ()

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


def _other_sort(shape: Shape, table: Table) -> Sort | None:
    """What rows that are not grouped are to be sorted by besides their time."""
    asked = () if shape.grouped else shape.order
    return next((s for s in asked if s.output.column is None or table.column(s.output.column).name != _TIME), None)


def _sent(param: Param, value: Any) -> Iterator[dict[str, Any]]:
    if param.type.kind is Kind.BINARY:
        raise QueryError("binary values can't be asked of Druid")
    type_ = _TYPES.get(param.type.kind, "BIGINT")
    for item in value if param.many else (value,):
        yield {"type": type_, "value": _json(item)}


def _is_time(item: exp.Expr) -> bool:
    column = item.find(exp.Column)
    return column is not None and column.name == _TIME


def _as_time(value: exp.Expr) -> exp.Expr:
    """A value that is compared with `__time`: µs, or the text of a date."""
    match value.meta.get(_KIND):
        case Kind.TIMESTAMP | Kind.TIMESTAMP_NTZ:
            millis = exp.Div(this=value, expression=exp.Literal.number(1000))
            return exp.Anonymous(this="MILLIS_TO_TIMESTAMP", expressions=[millis])
        case Kind.DATE:
            return exp.Anonymous(this="TIME_PARSE", expressions=[value])
    return value


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        since = (value if value.tzinfo is not None else value.replace(tzinfo=UTC)) - _EPOCH
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, date):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value
