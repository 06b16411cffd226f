"""ClickHouse: values are its query parameters, `{p0:Int64}`; lists are one array each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlglot import exp

from millrace.connectors.clickhouse.layout import clickhouse_type
from millrace.serving.sql.dialects.base import Dialect, Statement
from millrace.serving.sql.faults import QueryError
from millrace.serving.sql.shape import Output, Param, Sort
from millrace.serving.sql.tree import Function
from millrace.spec.types import DataType, Kind

_INTEGERS = frozenset({Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT})
_SCALE = 38
_FIRST_YEAR, _LAST_YEAR = 1900, 2299  # of Date32 and DateTime64


class ClickHouseDialect(Dialect):
    name = "clickhouse"
    sqlglot = "clickhouse"
    has_nan = True

    def value(self, param: Param) -> exp.Expr:
        """Binary travels as hex, and lists of decimals as texts: a parameter is text."""
        if param.type.kind is Kind.BINARY:
            return self._decoded(param, lambda item: _call("unhex", item))
        if param.type.kind is Kind.DECIMAL and param.many:
            return self._decoded(param, lambda item: _call("toDecimal256", item, exp.Literal.number(_SCALE)))
        return self.marker(param)

    def _decoded(self, param: Param, decode: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
        if not param.many:
            return decode(self.marker(param))
        each = exp.Lambda(this=decode(exp.column("h")), expressions=[exp.to_identifier("h")])
        return _call("arrayMap", each, self.marker(param))

    def member(self, left: exp.Expr, param: Param, *, negated: bool) -> exp.Expr:
        """ClickHouse takes null for no member of any list, so that its NOT IN would be true of it."""
        found = exp.In(this=left, field=self.value(param))
        if not negated:
            return found
        return exp.and_(exp.Not(this=found), exp.Not(this=exp.Is(this=left.copy(), expression=exp.Null())))

    def holds(self, left: exp.Expr, param: Param, *, every: bool, negated: bool) -> exp.Expr:
        found = _call("hasAll" if every else "hasAny", left, self.value(param))
        return exp.Not(this=found) if negated else found

    def is_nan(self, item: exp.Expr) -> exp.Expr:
        return _call("isNaN", item)

    def other_aggregate(self, output: Output, column: exp.Expr) -> exp.Expr:
        match output.function:
            case Function.QUANTILE:
                level = exp.Literal.number(repr(output.level))
                return exp.ParameterizedAgg(this="quantileTDigest", expressions=[level], params=[column])
            case Function.APPROX_DISTINCT:
                return _call("uniqCombined64", column)
            case _:
                return _call("avg", column)

    def order(self, item: exp.Expr, sort: Sort) -> list[exp.Expr]:
        return [exp.Ordered(this=item, desc=sort.descending, nulls_first=False)]

    def text(self, tree: exp.Expr) -> str:
        """In ClickHouse, a backslash escapes in names, too."""
        for name in tree.find_all(exp.Identifier):
            name.set("this", name.this.replace("\\", "\\\\"))
        return super().text(tree)

    def bind(self, pieces: Sequence[str | Param], values: Sequence[Any]) -> Statement:
        text = "".join(p if isinstance(p, str) else f"{{p{p.index}:{_type(p)}}}" for p in pieces)
        return Statement(text, {f"p{p.index}": _bound(p, values[p.index]) for p in pieces if isinstance(p, Param)})


def _call(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=list(arguments))


def _type(param: Param) -> str:
    if not param.many:
        return _scalar_type(param.type)
    return "Array(String)" if param.type.kind is Kind.DECIMAL else f"Array({_scalar_type(param.type)})"


def _scalar_type(type_: DataType) -> str:
    if type_.kind in _INTEGERS:
        return "Int64"
    return f"Decimal(76, {_SCALE})" if type_.kind is Kind.DECIMAL else clickhouse_type(type_, nullable=False)


def _bound(param: Param, value: Any) -> Any:
    return [_sent(item) for item in value] if param.many else _sent(value)


def _sent(value: Any) -> Any:
    if isinstance(value, date) and not _FIRST_YEAR <= value.year <= _LAST_YEAR:
        raise QueryError(f"{value.isoformat()} is not in the years {_FIRST_YEAR} to {_LAST_YEAR} that ClickHouse has")
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(" ", timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.hex() if isinstance(value, bytes) else value
