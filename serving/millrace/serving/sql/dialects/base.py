"""What differs between stores with SQL. Pure: expressions are sqlglot's, and values are bound.

A value stands in the tree as a marker that no name can hold. Once the tree is text, each marker becomes the store's own
placeholder: so the placeholders' order is that of the text, and a list takes as many as it has values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.errors import SqlglotError

from millrace.connectors.readers import SqlTable
from millrace.serving.sql.faults import QueryError
from millrace.serving.sql.shape import Output, Param, Shape, Sort
from millrace.serving.sql.tree import Comparator, Function
from millrace.spec.types import DataType, Kind

MARK = "\x00"
ALIAS = "input"
_COMPARISONS: Mapping[Comparator, type[exp.Binary]] = {
    Comparator.EQ: exp.EQ,
    Comparator.NE: exp.NEQ,
    Comparator.LT: exp.LT,
    Comparator.LE: exp.LTE,
    Comparator.GT: exp.GT,
    Comparator.GE: exp.GTE,
}


@dataclass(frozen=True)
class Table:
    """What is read: the parts of its name, the columns whose name there is another than in the asset, and which rows.

    `where` is a condition in the store's own words, from the spec.
    """

    parts: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...] = ()
    where: str = ""

    @classmethod
    def of(cls, table: SqlTable) -> Table:
        return cls(table.parts, table.renamed, table.where)

    def column(self, name: str) -> exp.Column:
        """A column of it, under the one alias that every statement gives it."""
        return exp.column(exp.to_identifier(dict(self.renamed).get(name, name), quoted=True), table=ALIAS)

    def source(self, dialect: str) -> exp.Expr:
        """What stands after FROM. Raises QueryError for a `where` that can't be read."""
        if not self.where:
            return self._named()
        try:
            condition = exp.condition(self.where, dialect=dialect)
        except SqlglotError as error:
            raise QueryError("the condition of the source can't be read, so that it can't be queried") from error
        return exp.select("*").from_(self._named()).where(condition).subquery(ALIAS)

    def _named(self) -> exp.Table:
        names = [exp.to_identifier(part, quoted=True) for part in self.parts]
        return exp.Table(
            this=names[-1],
            db=names[-2] if len(names) > 1 else None,
            alias=exp.TableAlias(this=exp.to_identifier(ALIAS)),
        )


@dataclass(frozen=True)
class Statement:
    """What a store runs: `params` by name, or in the order of the text, as the dialect's reader takes them."""

    sql: str
    params: Mapping[str, Any] | Sequence[Any] = field(default_factory=dict)


class Dialect(ABC):
    """One store's SQL. Methods that build return new expressions; `bind` puts a statement together for the values."""

    name: ClassVar[str]
    sqlglot: ClassVar[str]
    #: Where nulls are sorted by `order`: behind everything (True), or as the lowest of all.
    nulls_last: ClassVar[bool] = True
    has_nan: ClassVar[bool] = False

    def check(self, shape: Shape, table: Table) -> None:
        """Raises QueryError, for a person, when the store can't answer a query of this shape at all."""
        return

    def sorts_groups_alone(self, shape: Shape, table: Table) -> bool:
        """Whether rows of this shape come in their order only as groups. Raises QueryError when they can't be such."""
        return False

    def marker(self, param: Param) -> exp.Expr:
        """Where a value goes."""
        return exp.Var(this=f"{MARK}{param.index}{MARK}")

    def value(self, param: Param) -> exp.Expr:
        """A value as an expression of its column's type."""
        return self.marker(param)

    def given(self, item: exp.Expr, type_: DataType) -> exp.Expr:
        """An output of a named query as its type; what a store computes is often wider than what the text says."""
        return item if type_.nested or type_.kind is Kind.BINARY else exp.cast(item, str(type_), dialect="spark")

    def compare(self, left: exp.Expr, comparator: Comparator, right: exp.Expr) -> exp.Expr:
        return _COMPARISONS[comparator](this=left, expression=right)

    def member(self, left: exp.Expr, param: Param, *, negated: bool) -> exp.Expr:
        """In the list, or in none of it and not null."""
        found = exp.In(this=left, expressions=[self.marker(param)])
        return exp.Not(this=found) if negated else found

    def like(self, left: exp.Expr, param: Param, *, negated: bool) -> exp.Expr:
        found = exp.Like(this=left, expression=self.marker(param))
        return exp.Not(this=found) if negated else found

    def holds(self, left: exp.Expr, param: Param, *, every: bool, negated: bool) -> exp.Expr:
        raise QueryError(f"lists can't be asked of {self.name}: no has_any, has_all, has_none")

    def is_nan(self, item: exp.Expr) -> exp.Expr:
        """Only where `has_nan`."""
        raise NotImplementedError

    def aggregate(self, output: Output, column: exp.Expr | None) -> exp.Expr:
        """An aggregate; `column` is None for `count` over rows."""
        assert output.function is not None
        if column is None:
            return exp.Count(this=exp.Star())
        match output.function:
            case Function.COUNT:
                return exp.Count(this=column)
            case Function.COUNT_DISTINCT:
                return exp.Count(this=exp.Distinct(expressions=[column]))
            case Function.SUM:
                return exp.Sum(this=column)
            case Function.MIN:
                return exp.Min(this=column)
            case Function.MAX:
                return exp.Max(this=column)
        return self.other_aggregate(output, column)

    @abstractmethod
    def other_aggregate(self, output: Output, column: exp.Expr) -> exp.Expr:
        """`avg`, `quantile` and `approx_distinct`, which no two stores have alike."""

    def sort_key(self, item: exp.Expr, output: Output, *, total: bool) -> exp.Expr:
        """By what an output is sorted, and compared with a cursor; `total`: different values never tie."""
        return item

    @abstractmethod
    def order(self, item: exp.Expr, sort: Sort) -> list[exp.Expr]:
        """The terms of ORDER BY for one output."""

    def order_besides(self, shape: Shape) -> Sequence[exp.Expr]:
        """Terms of ORDER BY behind those that are asked for, which change nothing but how the store goes about it."""
        return ()

    def text(self, tree: exp.Expr) -> str:
        """The tree as text, with markers in the places of values."""
        return tree.sql(dialect=self.sqlglot)

    @abstractmethod
    def bind(self, pieces: Sequence[str | Param], values: Sequence[Any]) -> Statement:
        """The statement of a text cut at its markers."""


def cut(text: str, params: Mapping[int, Param]) -> Iterator[str | Param]:
    """A text cut at its markers."""
    for position, piece in enumerate(text.split(MARK)):
        yield params[int(piece)] if position % 2 else piece
