"""Conditions of a query, held against its columns: names and values checked, `not` moved into the tests. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from millrace.serving.sql.faults import Path, QueryError
from millrace.serving.sql.shape import Comparison, Holds, IsNull, Joined, Match, Membership, Param, Predicate, Ref
from millrace.serving.sql.tree import Comparator, Condition, Junction, Not, Test
from millrace.serving.sql.values import family, typed
from millrace.spec.diagnostics import did_you_mean, shown
from millrace.spec.types import DataType, Kind

_OPPOSITE = {
    Comparator.EQ: Comparator.NE,
    Comparator.NE: Comparator.EQ,
    Comparator.LT: Comparator.GE,
    Comparator.GE: Comparator.LT,
    Comparator.GT: Comparator.LE,
    Comparator.LE: Comparator.GT,
}
_ESCAPABLE = "%_\\"


class Values:
    """Collects the values of a query; each gets a place."""

    def __init__(self, most: int) -> None:
        self.found: list[Any] = []
        self._most = most

    def one(self, value: Any, type_: DataType, path: Path) -> Param:
        return self._add(typed(value, type_, path), type_, many=False)

    def many(self, values: Any, type_: DataType, path: Path) -> Param:
        if not isinstance(values, list | tuple) or not values:
            raise QueryError("expected a list of values, with at least one", path)
        if len(values) > self._most:
            raise QueryError(f"{len(values)} values, of at most {self._most}", path)
        items = tuple(typed(value, type_, (*path, index)) for index, value in enumerate(values))
        return self._add(items, type_, many=True)

    def _add(self, value: Any, type_: DataType, *, many: bool) -> Param:
        self.found.append(value)
        return Param(len(self.found) - 1, type_, many)


class Resolver:
    """Turns a condition's tree into a predicate over what `names` has."""

    def __init__(self, names: Mapping[str, Ref], values: Values, what: str = "column") -> None:
        self._names = names
        self._values = values
        self._what = what

    def predicate(self, condition: Condition, *, negated: bool = False) -> Predicate:
        """`negated`: of its opposite (De Morgan); with nulls, both are untrue, as in SQL."""
        match condition:
            case Not(item):
                return self.predicate(item, negated=not negated)
            case Junction(every, items):
                return Joined(every is not negated, tuple(self.predicate(item, negated=negated) for item in items))
            case Test():
                return self._test(condition, negated)

    def ref(self, name: str, path: Path) -> Ref:
        found = self._names.get(name)
        if found is None:
            raise QueryError(f"unknown {self._what} '{shown(name)}'{did_you_mean(name, self._names)}", path)
        return found

    def _test(self, test: Test, negated: bool) -> Predicate:
        ref = self.ref(test.column, (*test.path[:-1], "column"))
        if test.operator in _OPPOSITE:
            return self._comparison(ref, Comparator(test.operator), test, negated)
        read = _TESTS[test.operator]
        return read(self, ref, test, negated)

    def _comparison(self, ref: Ref, comparator: Comparator, test: Test, negated: bool) -> Predicate:
        self._scalar(ref, test)
        if negated:
            comparator = _OPPOSITE[comparator]
        value = test.value
        if not isinstance(value, Mapping):
            return Comparison(ref, comparator, self._values.one(value, ref.type, test.path))
        if set(value) != {"column"} or not isinstance(value["column"], str):
            raise QueryError("expected a value, or {'column': name}", test.path)
        other = self.ref(value["column"], (*test.path, "column"))
        if family(other.type) != family(ref.type):
            message = f"{ref.name} is a {ref.type} and {other.name} a {other.type}: they can't be compared"
            raise QueryError(message, test.path)
        return Comparison(ref, comparator, other)

    def _in(self, ref: Ref, test: Test, negated: bool) -> Predicate:
        self._scalar(ref, test)
        return Membership(ref, self._values.many(test.value, ref.type, test.path), negated)

    def _between(self, ref: Ref, test: Test, negated: bool) -> Predicate:
        self._scalar(ref, test)
        if not isinstance(test.value, list | tuple) or len(test.value) != 2:
            raise QueryError("expected a list of two values, the lowest and the highest", test.path)
        low, high = (self._values.one(value, ref.type, (*test.path, i)) for i, value in enumerate(test.value))
        above = Comparison(ref, Comparator.LT if negated else Comparator.GE, low)
        below = Comparison(ref, Comparator.GT if negated else Comparator.LE, high)
        return Joined(not negated, (above, below))

    def _like(self, ref: Ref, test: Test, negated: bool) -> Predicate:
        pattern = self._string(ref, test)
        escaped = False
        for position, letter in enumerate(pattern):
            if escaped and letter not in _ESCAPABLE:
                raise QueryError(f"a backslash stands before %, _ or a backslash; see character {position}", test.path)
            escaped = letter == "\\" and not escaped
        if escaped:
            raise QueryError("the pattern ends in a lone backslash", test.path)
        return Match(ref, self._values.one(pattern, ref.type, test.path), negated)

    def _starts_with(self, ref: Ref, test: Test, negated: bool) -> Predicate:
        prefix = self._string(ref, test)
        pattern = "".join(f"\\{letter}" if letter in _ESCAPABLE else letter for letter in prefix) + "%"
        return Match(ref, self._values.one(pattern, ref.type, test.path), negated)

    def _null(self, ref: Ref, test: Test, negated: bool) -> Predicate:
        if not isinstance(test.value, bool):
            raise QueryError("expected true or false", test.path)
        return IsNull(ref, negated is test.value)

    def _holds(self, ref: Ref, test: Test, negated: bool) -> Predicate:
        if ref.type.kind is not Kind.ARRAY or ref.type.fields[0].type.nested:
            raise QueryError(f"{ref.name} is a {ref.type}, not a list of single values", test.path)
        param = self._values.many(test.value, ref.type.fields[0].type, test.path)
        none = test.operator == "has_none"
        return Holds(ref, param, every=test.operator == "has_all", negated=negated is not none)

    def _scalar(self, ref: Ref, test: Test) -> None:
        if ref.type.nested:
            tests = "null, has_any, has_all and has_none" if ref.type.kind is Kind.ARRAY else "null"
            raise QueryError(f"{ref.name} is a {ref.type}: the tests of such are {tests}", test.path)

    def _string(self, ref: Ref, test: Test) -> str:
        if ref.type.kind is not Kind.STRING:
            raise QueryError(f"{ref.name} is a {ref.type}, not a string", test.path)
        found: str = typed(test.value, ref.type, test.path)
        return found


_TESTS: Mapping[str, Callable[[Resolver, Ref, Test, bool], Predicate]] = {
    "in": Resolver._in,
    "between": Resolver._between,
    "like": Resolver._like,
    "starts_with": Resolver._starts_with,
    "null": Resolver._null,
    "has_any": Resolver._holds,
    "has_all": Resolver._holds,
    "has_none": Resolver._holds,
}
