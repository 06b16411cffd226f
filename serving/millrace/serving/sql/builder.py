"""Queries as Python writes them: `col("age") >= 18`, `count().as_("users")`, `Select().where(…)`. They make the tree.

    tree = Select().select("city", count().as_("users")).where(col("age") >= 18).group_by("city").tree()

Everything here is immutable: a method gives a new value. Names and values are checked when the query is planned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeAlias

Tree: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Condition:
    """A condition; joined by `&`, `|` and `~`."""

    tree: Tree

    def __and__(self, other: Condition) -> Condition:
        return _joined("and", self, other)

    def __or__(self, other: Condition) -> Condition:
        return _joined("or", self, other)

    def __invert__(self) -> Condition:
        return Condition({"not": self.tree})

    def __bool__(self) -> bool:
        raise TypeError("a condition is neither true nor false: join conditions with & | ~, not with and, or, not")


def _joined(key: str, one: Condition, other: Condition) -> Condition:
    """`a & b & c` is one list of three."""
    items = [item for side in (one, other) for item in (side.tree[key] if set(side.tree) == {key} else [side.tree])]
    return Condition({key: items})


@dataclass(frozen=True, eq=False)
class Col:
    """A column, or in `having` an output, by its name."""

    name: str

    def __eq__(self, value: object) -> Condition:  # type: ignore[override]  # a condition, as in every query builder
        return self._is("eq", value)

    def __ne__(self, value: object) -> Condition:  # type: ignore[override]  # see __eq__
        return self._is("ne", value)

    def __lt__(self, value: Any) -> Condition:
        return self._is("lt", value)

    def __le__(self, value: Any) -> Condition:
        return self._is("le", value)

    def __gt__(self, value: Any) -> Condition:
        return self._is("gt", value)

    def __ge__(self, value: Any) -> Condition:
        return self._is("ge", value)

    __hash__ = object.__hash__

    def in_(self, values: Iterable[Any]) -> Condition:
        """One of these values."""
        return self._is("in", list(values))

    def between(self, low: Any, high: Any) -> Condition:
        """Not below `low`, not above `high`."""
        return self._is("between", [low, high])

    def like(self, pattern: str) -> Condition:
        """As SQL's LIKE: `%` for anything, `_` for one character, a backslash before them for themselves."""
        return self._is("like", pattern)

    def starts_with(self, prefix: str) -> Condition:
        return self._is("starts_with", prefix)

    def is_null(self) -> Condition:
        return self._is("null", True)

    def is_not_null(self) -> Condition:
        return self._is("null", False)

    def has_any(self, values: Iterable[Any]) -> Condition:
        """A list that has one of these values, or more."""
        return self._is("has_any", list(values))

    def has_all(self, values: Iterable[Any]) -> Condition:
        """A list that has all of these values."""
        return self._is("has_all", list(values))

    def has_none(self, values: Iterable[Any]) -> Condition:
        """A list that has none of these values, such as an empty one."""
        return self._is("has_none", list(values))

    def as_(self, name: str) -> Item:
        """The column under another name."""
        return Item({"column": self.name}).as_(name)

    def _is(self, test: str, value: Any) -> Condition:
        return Condition({"column": self.name, test: {"column": value.name} if isinstance(value, Col) else value})


@dataclass(frozen=True)
class Item:
    """One output: an aggregate, or a renamed column."""

    tree: Tree

    def as_(self, name: str) -> Item:
        """The output's name; by default the function's and the column's, `sum_amount`."""
        return Item({**self.tree, "as": name})


def col(name: str) -> Col:
    """A column by its name."""
    return Col(name)


def count(column: str = "*") -> Item:
    """Rows, or those in which a column is not null."""
    return Item({"count": column})


def count_distinct(column: str) -> Item:
    """Different values, exactly."""
    return Item({"count_distinct": column})


def approx_distinct(column: str) -> Item:
    """Different values by a sketch: a little off, and much cheaper."""
    return Item({"approx_distinct": column})


def sum_(column: str) -> Item:
    return Item({"sum": column})


def min_(column: str) -> Item:
    return Item({"min": column})


def max_(column: str) -> Item:
    return Item({"max": column})


def avg(column: str) -> Item:
    return Item({"avg": column})


def quantile(column: str, at: float) -> Item:
    """The value below which a share `at` (0 to 1) of the values is, nearly."""
    return Item({"quantile": column, "at": at})


def asc(name: str) -> Tree:
    return {"asc": name}


def desc(name: str) -> Tree:
    return {"desc": name}


@dataclass(frozen=True)
class Select:
    """A query under construction. `where` and `having` called again narrow it further."""

    parts: Tree = field(default_factory=dict)

    def select(self, *items: str | Col | Item) -> Self:
        """What is given: columns by name, aggregates. All columns by default."""
        return self._with("select", [_item(item) for item in items])

    def where(self, *conditions: Condition) -> Self:
        """Only rows for which all of these are true."""
        return self._narrowed("where", conditions)

    def group_by(self, *columns: str | Col) -> Self:
        return self._with("group_by", [column.name if isinstance(column, Col) else column for column in columns])

    def having(self, *conditions: Condition) -> Self:
        """Only groups for which all of these are true, over outputs."""
        return self._narrowed("having", conditions)

    def order_by(self, *names: str | Col | Tree) -> Self:
        return self._with("order_by", [name.name if isinstance(name, Col) else name for name in names])

    def limit(self, rows: int) -> Self:
        return self._with("limit", rows)

    def tree(self) -> dict[str, Any]:
        """The query as JSON over HTTP has it, but for values that JSON doesn't have (dates, decimals, bytes)."""
        return dict(self.parts)

    def page_tree(self, size: int, after: str | None = None) -> dict[str, Any]:
        """The tree of one page."""
        return {**self.parts, "page": {"size": size, **({"after": after} if after is not None else {})}}

    def _with(self, key: str, value: Any) -> Self:
        return replace(self, parts={**self.parts, key: value})

    def _narrowed(self, key: str, conditions: Iterable[Condition]) -> Self:
        trees = [Condition(self.parts[key])] if key in self.parts else []
        found, *others = [*trees, *conditions]
        for condition in others:
            found = found & condition
        return self._with(key, found.tree)


def _item(item: str | Col | Item) -> Any:
    match item:
        case Col():
            return item.name
        case Item():
            return dict(item.tree)
        case _:
            return item
