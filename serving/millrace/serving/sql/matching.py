"""Conditions over rows that are at hand, as the stores judge them: what is compared with null is untrue.

For row filters of grants on KV APIs, whose store knows no conditions.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from millrace.serving.sql.conditions import Resolver, Values
from millrace.serving.sql.faults import QueryError
from millrace.serving.sql.parse import parse
from millrace.serving.sql.shape import Comparison, Holds, IsNull, Joined, Match, Membership, Param, Predicate, Ref
from millrace.serving.sql.tree import Comparator
from millrace.spec.types import Column

Row = Mapping[str, Any]
Matches: TypeAlias = Callable[[Row], bool]

_MOST_VALUES = 10_000
_COMPARE: Mapping[Comparator, Callable[[Any, Any], bool]] = {
    Comparator.EQ: operator.eq,
    Comparator.NE: operator.ne,
    Comparator.LT: operator.lt,
    Comparator.LE: operator.le,
    Comparator.GT: operator.gt,
    Comparator.GE: operator.ge,
}


def matcher(condition: Mapping[str, Any], columns: Sequence[Column]) -> Matches:
    """A function that says whether a row (column → Python value) meets a condition, given as JSON.

    Raises QueryError for a condition that can't be one of these columns'.
    """
    tree = parse({"where": condition}).where
    if tree is None:
        raise QueryError("expected a condition", ("where",))
    values = Values(_MOST_VALUES)
    names = {column.name: Ref(column.name, column.type) for column in columns}
    return _compiled(Resolver(names, values).predicate(tree), values.found)


def _compiled(predicate: Predicate, values: Sequence[Any]) -> Matches:
    match predicate:
        case Joined(every, items):
            parts = [_compiled(item, values) for item in items]
            together = all if every else any
            return lambda row: together(part(row) for part in parts)
        case Comparison(left, comparator, right):
            return _comparison(left.name, _COMPARE[comparator], right, values)
        case Membership(ref, param, negated):
            return _membership(ref.name, set(values[param.index]), negated)
        case Match(ref, param, negated):
            return _like(ref.name, _pattern(values[param.index]), negated)
        case IsNull(ref, negated):
            name = ref.name
            return lambda row: (row.get(name) is None) is not negated
        case Holds(ref, param, every, negated):
            return _holds(ref.name, values[param.index], every, negated)


def _comparison(name: str, compare: Callable[[Any, Any], bool], right: Param | Ref, values: Sequence[Any]) -> Matches:
    if isinstance(right, Ref):
        other = right.name

        def of_columns(row: Row) -> bool:
            value, against = row.get(name), row.get(other)
            return value is not None and against is not None and compare(value, against)

        return of_columns
    bound = values[right.index]

    def of_value(row: Row) -> bool:
        value = row.get(name)
        return value is not None and compare(value, bound)

    return of_value


def _membership(name: str, wanted: set[Any], negated: bool) -> Matches:
    def is_in(row: Row) -> bool:
        value = row.get(name)
        return value is not None and (value in wanted) is not negated

    return is_in


def _like(name: str, pattern: re.Pattern[str], negated: bool) -> Matches:
    def is_like(row: Row) -> bool:
        value = row.get(name)
        return value is not None and (pattern.fullmatch(value) is not None) is not negated

    return is_like


def _pattern(like: str) -> re.Pattern[str]:
    r"""`%` is any text, `_` any character; a backslash before them, or before another, makes them plain."""
    parts = re.findall(r"\\.|.", like, re.DOTALL)
    plain = {"%": ".*", "_": "."}
    return re.compile("".join(plain.get(part) or re.escape(part[-1]) for part in parts), re.DOTALL)


def _holds(name: str, wanted: Sequence[Any], every: bool, negated: bool) -> Matches:
    together = all if every else any

    def holds(row: Row) -> bool:
        items = row.get(name) or ()
        return together(value in items for value in wanted) is not negated

    return holds
