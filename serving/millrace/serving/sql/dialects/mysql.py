"""MySQL and MariaDB: values are bound by the driver, `%(p0)s`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlglot import exp

from millrace.serving.sql.dialects.base import Dialect, Statement
from millrace.serving.sql.faults import QueryError
from millrace.serving.sql.shape import Output, Param, Sort
from millrace.serving.sql.tree import Function
from millrace.spec.types import Kind


class MysqlDialect(Dialect):
    name = "mysql"
    sqlglot = "mysql"

    def value(self, param: Param) -> exp.Expr:
        """Binary travels as hex."""
        if param.type.kind is not Kind.BINARY:
            return self.marker(param)
        return exp.Anonymous(this="UNHEX", expressions=[self.marker(param)])

    def member(self, left: exp.Expr, param: Param, *, negated: bool) -> exp.Expr:
        if param.type.kind is Kind.BINARY:
            left = exp.Anonymous(this="HEX", expressions=[left])
        return super().member(left, param, negated=negated)

    def other_aggregate(self, output: Output, column: exp.Expr) -> exp.Expr:
        """Distinct counts are exact: MySQL has no sketches. Its AVG of whole numbers would be cut off."""
        match output.function:
            case Function.APPROX_DISTINCT:
                return exp.Count(this=exp.Distinct(expressions=[column]))
            case Function.AVG:
                return exp.Avg(this=exp.Add(this=column, expression=exp.Literal.number("0e0")))
            case _:
                raise QueryError("MySQL has no quantiles")

    def sort_key(self, item: exp.Expr, output: Output, *, total: bool) -> exp.Expr:
        """Texts that a collation takes for equal differ in their bytes."""
        if not total or output.type.kind is not Kind.STRING:
            return item
        return exp.Cast(this=item, to=exp.DataType.build("binary", dialect="mysql"))

    def order(self, item: exp.Expr, sort: Sort) -> list[exp.Expr]:
        """MySQL sorts nulls as the lowest: sqlglot puts a term before, which says whether it is null."""
        return [exp.Ordered(this=item, desc=sort.descending, nulls_first=False)]

    def bind(self, pieces: Sequence[str | Param], values: Sequence[Any]) -> Statement:
        text: list[str] = []
        params: dict[str, Any] = {}
        for piece in pieces:
            if isinstance(piece, str):
                text.append(piece.replace("%", "%%"))
                continue
            found = values[piece.index] if piece.many else (values[piece.index],)
            names = [f"p{piece.index}_{place}" if piece.many else f"p{piece.index}" for place in range(len(found))]
            params |= zip(names, map(_sent, found), strict=True)
            text.append(", ".join(f"%({name})s" for name in names))
        return Statement("".join(text), params)


def _sent(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex().upper()
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value
