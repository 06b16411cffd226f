"""A query held against its API: what it may name, the types of what it gives, its limits. Pure.

Raises QueryError that leads to the place in the tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from millrace.serving.sql.conditions import Resolver, Values
from millrace.serving.sql.faults import Path, QueryError
from millrace.serving.sql.rules import SqlRules
from millrace.serving.sql.shape import Joined, Keyset, Nan, Output, Param, Planned, Predicate, Ref, Shape, Sort
from millrace.serving.sql.tree import Function, Order, Pick, Query
from millrace.serving.sql.values import NUMBERS, typed
from millrace.spec.diagnostics import did_you_mean, listed, shown
from millrace.spec.types import DataType, Kind

_BIGINT = DataType(Kind.BIGINT)
_DOUBLE = DataType(Kind.DOUBLE)
_FLOATS = frozenset({Kind.FLOAT, Kind.DOUBLE})
_MAX_PRECISION = 38
#: Kinds that every store sorts and groups by.
_UNSORTED = frozenset({Kind.ARRAY, Kind.MAP, Kind.STRUCT})


def plan(query: Query, rules: SqlRules, *, stream: bool = False) -> Planned:
    """What is asked of the store: at most one row more than may be given, unless it is a stream."""
    values = Values(rules.values)
    stored = {name: Ref(name, type_) for name, type_ in rules.columns.items()}
    outputs = _outputs(query, rules)
    grouped = bool(query.group_by) or any(output.function for output in outputs)
    where = _where(query, rules, stored, values)
    group = tuple(_group_column(name, rules, ("group_by", i)) for i, name in enumerate(query.group_by))
    if grouped:
        _check_grouped(query, outputs)
    having = None
    if query.having is not None:
        if not grouped:
            raise QueryError("'having' needs 'group_by' or an aggregate: use 'where'", ("having",))
        names = {output.name: output.ref for output in outputs}
        having = Resolver(_grounded(names, outputs), values, "output").predicate(query.having)
    outputs, order = _order(query, outputs, rules, grouped)
    if query.page is not None:
        outputs, order = _total(outputs, order, query, rules, grouped)
    shape = Shape(
        outputs, where, grouped, group, having, order, _limit(query, rules, stream=stream), query.page is not None
    )
    return Planned(shape, tuple(values.found))


def behind(planned: Planned, at: tuple[Any, ...], skip: int) -> Planned:
    """The same, from the row on whose sorted outputs are `at` (as JSON), without the first `skip` of those."""
    values = list(planned.values)
    params: list[Param | Nan | None] = []
    for sort, value in zip(planned.shape.order, at, strict=True):
        if value is None or (value == "NaN" and sort.output.type.kind in _FLOATS):
            params.append(None if value is None else Nan())
            continue
        params.append(Param(len(values), sort.output.type))
        special = isinstance(value, str) and sort.output.type.kind in _FLOATS
        values.append(float(value) if special else typed(value, sort.output.type, ("page", "after")))
    return Planned(replace(planned.shape, start=Keyset(tuple(params)), skip=skip), tuple(values))


def _where(query: Query, rules: SqlRules, stored: Mapping[str, Ref], values: Values) -> Predicate | None:
    asked = None if query.where is None else Resolver(stored, values).predicate(query.where)
    if rules.filter is None:
        return asked
    every = {name: Ref(name, type_) for name, type_ in rules.stored.items()}
    filter_ = Resolver(every, values).predicate(rules.filter)
    return filter_ if asked is None else Joined(True, (filter_, asked))


def _outputs(query: Query, rules: SqlRules) -> tuple[Output, ...]:
    if query.select is None:
        if query.group_by:
            raise QueryError("'group_by' needs a 'select' of columns and aggregates", ("group_by",))
        return tuple(Output(name, type_, name) for name, type_ in rules.columns.items())
    return tuple(_output(pick, rules) for pick in query.select)


def _output(pick: Pick, rules: SqlRules) -> Output:
    if pick.function is None:
        assert pick.column is not None
        return Output(pick.name, _type(pick.column, rules, pick.path), pick.column)
    if pick.function not in rules.functions:
        allowed = listed(sorted(rules.functions)) or "none"
        raise QueryError(f"{pick.function} is not allowed here; allowed: {allowed}", pick.path)
    if pick.column is None:
        return Output(pick.name, _BIGINT, None, pick.function)
    type_ = _type(pick.column, rules, (*pick.path, str(pick.function)))
    given = _aggregated(pick.function, type_, pick)
    return Output(pick.name, given, pick.column, pick.function, pick.level)


def _type(name: str, rules: SqlRules, path: Path) -> DataType:
    found = rules.columns.get(name)
    if found is None:
        raise QueryError(f"unknown column '{shown(name)}'{did_you_mean(name, rules.columns)}", path)
    return found


def _aggregated(function: Function, type_: DataType, pick: Pick) -> DataType:
    """The type of an aggregate over a column of `type_`."""
    match function:
        case Function.COUNT:
            return _BIGINT
        case Function.COUNT_DISTINCT | Function.APPROX_DISTINCT:
            if type_.kind in _UNSORTED:
                raise QueryError(f"{pick.column} is a {type_}: no distinct values are counted of such", pick.path)
            return _BIGINT
        case Function.MIN | Function.MAX:
            if type_.kind in _UNSORTED or type_.kind is Kind.BOOLEAN:
                raise QueryError(f"{pick.column} is a {type_}: there is no {function} of such", pick.path)
            return type_
    if type_.kind not in NUMBERS:
        raise QueryError(f"{pick.column} is a {type_}, not a number: there is no {function} of it", pick.path)
    if function is not Function.SUM or type_.kind in (Kind.FLOAT, Kind.DOUBLE):
        return _DOUBLE
    return DataType(Kind.DECIMAL, _MAX_PRECISION, type_.scale) if type_.kind is Kind.DECIMAL else _BIGINT


def _group_column(name: str, rules: SqlRules, path: Path) -> str:
    type_ = _type(name, rules, path)
    if type_.kind in _UNSORTED:
        raise QueryError(f"{name} is a {type_}: no groups are made by such", path)
    return name


def _check_grouped(query: Query, outputs: tuple[Output, ...]) -> None:
    for index, output in enumerate(outputs):
        if output.function is None and output.column not in query.group_by:
            message = f"'{shown(str(output.column))}' is neither in 'group_by' nor an aggregate"
            raise QueryError(message, ("select", index))


def _grounded(names: Mapping[str, Ref], outputs: tuple[Output, ...]) -> Mapping[str, Ref]:
    """What `having` may name: outputs, of which the stored ones under the name of their column."""
    columns = {output.name: output.column for output in outputs if output.function is None}
    return {name: Ref(columns.get(name) or name, ref.type, ref.computed) for name, ref in names.items()}


def _order(
    query: Query, outputs: tuple[Output, ...], rules: SqlRules, grouped: bool
) -> tuple[tuple[Output, ...], tuple[Sort, ...]]:
    """The order that is asked for; what it names and `select` doesn't give becomes a hidden output."""
    found: list[Sort] = []
    for item in query.order_by:
        output = next((output for output in outputs if output.name == item.name), None)
        if output is None:
            output = _ordering(item, query, rules, grouped, outputs)
            outputs = (*outputs, output)
        if output.type.kind in _UNSORTED:
            raise QueryError(f"{item.name} is a {output.type}: nothing is sorted by such", item.path)
        if any(sort.output == output for sort in found):
            raise QueryError(f"'{shown(item.name)}' stands here twice", item.path)
        found.append(Sort(output, item.descending))
    return outputs, tuple(found)


def _ordering(item: Order, query: Query, rules: SqlRules, grouped: bool, outputs: tuple[Output, ...]) -> Output:
    if grouped and item.name not in query.group_by:
        names = [*(output.name for output in outputs), *query.group_by]
        raise QueryError(f"unknown output '{shown(item.name)}'{did_you_mean(item.name, names)}", item.path)
    return Output(f"__{len(outputs)}", _type(item.name, rules, item.path), item.name, hidden=True)


def _total(
    outputs: tuple[Output, ...], order: tuple[Sort, ...], query: Query, rules: SqlRules, grouped: bool
) -> tuple[tuple[Output, ...], tuple[Sort, ...]]:
    """An order in which only rows tie that look the same: pages neither repeat a row nor leave one out."""
    for index, sort in enumerate(order):
        if sort.output.function is not None and sort.output.type == _DOUBLE:
            message = "pages can't be ordered by this: its last digits may differ each time that it is computed"
            raise QueryError(message, ("order_by", index), hint="order by a column, a count or a sum of whole numbers")
    sorted_by = {sort.output.column for sort in order if sort.output.function is None}
    if grouped:
        for name in query.group_by:
            if name not in sorted_by and all(output.column != name or output.function for output in outputs):
                outputs = (*outputs, Output(f"__{len(outputs)}", rules.columns[name], name, hidden=True))
    rest = [
        Sort(output)
        for output in outputs
        if output.function is None and output.column not in sorted_by and output.type.kind not in _UNSORTED
    ]
    return outputs, (*order, *rest)


def _limit(query: Query, rules: SqlRules, *, stream: bool) -> int | None:
    """One row more than is given tells whether there are more."""
    if query.page is not None:
        if stream or query.limit is not None:
            raise QueryError(f"a page and a {'stream' if stream else 'limit'} exclude each other", ("page",))
        if query.page.size > rules.rows:
            raise QueryError(f"{query.page.size} rows, of at most {rules.rows}", ("page", "size"))
        return query.page.size + 1
    if stream:
        return query.limit
    if query.limit is None:
        return rules.rows + 1
    if query.limit > rules.rows:
        hint = "take pages, or stream the answer" if rules.stream else "take pages"
        raise QueryError(f"{query.limit} rows, of at most {rules.rows}", ("limit",), hint=hint)
    return query.limit
