"""A shape to the text of a dialect, as sqlglot's tree; texts are kept, so that a shape is compiled once. Pure.

Outputs are named by their place (`__0`, `__1`), so that no name of a request ever stands in a statement, and columns by
the one alias of the table, so that no name of an output hides one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlglot import exp

from millrace.serving.sql.dialects import Dialect, Statement, Table, dialect
from millrace.serving.sql.dialects.base import ALIAS, cut
from millrace.serving.sql.shape import (
    Comparison,
    Holds,
    IsNull,
    Joined,
    Keyset,
    Match,
    Membership,
    Nan,
    Output,
    Param,
    Planned,
    Predicate,
    Ref,
    Shape,
    Sort,
)
from millrace.serving.sql.tree import Comparator
from millrace.spec.types import Kind

_KEPT = 2048
_FLOATS = frozenset({Kind.FLOAT, Kind.DOUBLE})


def compile_query(planned: Planned, table: Table, dialect_name: str) -> Statement:
    """The statement of a planned query over a table. Raises QueryError for what the dialect can't say."""
    pieces = _pieces(planned.shape, table, dialect_name)
    return dialect(dialect_name).bind(pieces, planned.values)


@lru_cache(maxsize=_KEPT)
def _pieces(shape: Shape, table: Table, dialect_name: str) -> tuple[str | Param, ...]:
    found = dialect(dialect_name)
    found.check(shape, table)
    builder = _Builder(shape, table, found)
    return tuple(cut(found.text(builder.query()), builder.params))


def predicate_over(predicate: Predicate, table: Table, dialect_: Dialect, params: dict[int, Param]) -> exp.Expr:
    """A predicate over a table's columns alone; notes in `params` what it binds."""
    builder = _Builder(Shape(()), table, dialect_)
    found = builder.predicate(predicate)
    params.update(builder.params)
    return found


@dataclass(frozen=True)
class _Term:
    """One sorted output: the expression that is compared, and how it is sorted."""

    item: exp.Expr
    sort: Sort


class _Builder:
    def __init__(self, shape: Shape, table: Table, dialect_: Dialect) -> None:
        self.params: dict[int, Param] = {}
        self._shape, self._table, self._dialect = shape, table, dialect_
        self._expressions = {output: self._expression(output) for output in shape.outputs}
        self._aliases = {output: f"__{index}" for index, output in enumerate(shape.outputs)}

    def query(self) -> exp.Select:
        shape = self._shape
        outputs = [exp.alias_(self._expressions[o].copy(), self._aliases[o], quoted=True) for o in shape.outputs]
        query = exp.select(*outputs).from_(self._table.source(self._dialect.sqlglot))
        conditions = [] if shape.where is None else [self.predicate(shape.where)]
        if shape.start is not None and not shape.grouped:
            conditions.append(self._start(shape.start, self._terms()))
        if conditions:
            query = query.where(*conditions)
        if shape.group:
            query = query.group_by(*(self._table.column(name) for name in shape.group))
        if shape.having is not None:
            query = query.having(self.predicate(shape.having))
        if shape.start is not None and shape.grouped:
            query = self._behind(query, shape.start)
        if shape.order:
            terms = self._terms(by_alias=not shape.total)
            query = query.order_by(*(o for term in terms for o in self._dialect.order(term.item, term.sort)))
            if shape.start is None or not shape.grouped:
                query = query.order_by(*self._dialect.order_besides(shape))
        if shape.limit is not None:
            query = query.limit(shape.limit)
        return query.offset(shape.skip) if shape.skip else query

    def _expression(self, output: Output) -> exp.Expr:
        column = None if output.column is None else self._table.column(output.column)
        if output.function is not None:
            return self._dialect.aggregate(output, column)
        assert column is not None
        return column

    def _behind(self, query: exp.Select, start: Keyset) -> exp.Select:
        """Groups from a place on: what they are sorted by is known only around the groups."""
        inside = query.subquery(ALIAS)
        outputs = [exp.column(exp.to_identifier(alias, quoted=True), table=ALIAS) for alias in self._aliases.values()]
        named = [exp.alias_(o.copy(), a, quoted=True) for o, a in zip(outputs, self._aliases.values(), strict=True)]
        self._expressions = dict(zip(self._aliases, outputs, strict=True))
        return exp.select(*named).from_(inside).where(self._start(start, self._terms()))

    def _terms(self, *, by_alias: bool = False) -> list[_Term]:
        """`by_alias`: by the outputs' own names; else by what they are, which is also what a cursor compares."""
        return [_Term(self._sorted(sort.output, by_alias=by_alias), sort) for sort in self._shape.order]

    def _sorted(self, output: Output, *, by_alias: bool) -> exp.Expr:
        alias = exp.column(exp.to_identifier(self._aliases[output], quoted=True))
        item = alias if by_alias else self._expressions[output].copy()
        return self._dialect.sort_key(item, output, total=self._shape.total)

    def _start(self, start: Keyset, terms: list[_Term]) -> exp.Expr:
        """Rows at or behind the cursor: (a > x) OR (a = x AND ((b > y) OR (b = y AND …)))."""
        found: exp.Expr | None = None
        for term, param in reversed(list(zip(terms, start.params, strict=True))):
            value = self._value(param) if isinstance(param, Param) else param
            same = self._same(term, value)
            here = same if found is None else exp.and_(same, found)
            after = list(self._after(term, value))
            found = exp.or_(*after, here) if after else here
        assert found is not None
        return found

    def _same(self, term: _Term, value: exp.Expr | Nan | None) -> exp.Expr:
        if isinstance(value, Nan):
            return self._dialect.is_nan(term.item.copy())
        if value is None:
            return exp.Is(this=term.item.copy(), expression=exp.Null())
        return self._dialect.compare(term.item.copy(), Comparator.EQ, value.copy())

    def _after(self, term: _Term, value: exp.Expr | Nan | None) -> Iterator[exp.Expr]:
        """What is sorted behind a value: NaN behind numbers, nulls last; where nulls are lowest, they go first."""
        descending, nulls_last = term.sort.descending, self._dialect.nulls_last
        null = exp.Is(this=term.item.copy(), expression=exp.Null())
        if value is None:
            if not nulls_last and not descending:
                yield exp.Not(this=null)
            return
        if isinstance(value, Nan):
            yield null
            return
        beyond = Comparator.LT if descending else Comparator.GT
        yield self._dialect.compare(term.item.copy(), beyond, value.copy())
        if nulls_last or descending:
            yield null
        if self._dialect.has_nan and term.sort.output.type.kind in _FLOATS:
            yield self._dialect.is_nan(term.item.copy())

    def predicate(self, predicate: Predicate) -> exp.Expr:
        match predicate:
            case Joined(every, items):
                parts = [self.predicate(item) for item in items]
                return exp.and_(*parts) if every else exp.or_(*parts)
            case Comparison(left, comparator, right):
                other = self._ref(right) if isinstance(right, Ref) else self._value(right)
                return self._dialect.compare(self._ref(left), comparator, other)
            case Membership(ref, param, negated):
                return self._dialect.member(self._ref(ref), self._noted(param), negated=negated)
            case Match(ref, param, negated):
                return self._dialect.like(self._ref(ref), self._noted(param), negated=negated)
            case Holds(ref, param, every, negated):
                return self._dialect.holds(self._ref(ref), self._noted(param), every=every, negated=negated)
            case IsNull(ref, negated):
                found = exp.Is(this=self._ref(ref), expression=exp.Null())
                return exp.Not(this=found) if negated else found

    def _ref(self, ref: Ref) -> exp.Expr:
        if not ref.computed:
            return self._table.column(ref.name)
        return next(e for o, e in self._expressions.items() if o.name == ref.name).copy()

    def _value(self, param: Param) -> exp.Expr:
        return self._dialect.value(self._noted(param))

    def _noted(self, param: Param) -> Param:
        self.params[param.index] = param
        return param


def forget() -> None:
    """Empty what is kept, e.g. to measure compiling."""
    _pieces.cache_clear()


def kept() -> Any:
    """How many texts are kept, and how often they were used."""
    return _pieces.cache_info()
