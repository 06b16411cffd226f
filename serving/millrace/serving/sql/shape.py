"""A query that its API allows, with a place for each value: what is compiled. Pure values, hashable.

Two queries that differ in nothing but values have one shape, so that a shape is compiled once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from millrace.serving.sql.tree import Comparator, Function
from millrace.spec.types import DataType


@dataclass(frozen=True)
class Param:
    """The value at `index` of the query's values; `many`: that value is a tuple of such."""

    index: int
    type: DataType
    many: bool = False


@dataclass(frozen=True)
class Ref:
    """A stored column, or one of the outputs (`computed`: an aggregate)."""

    name: str
    type: DataType
    computed: bool = False


@dataclass(frozen=True)
class Comparison:
    left: Ref
    comparator: Comparator
    right: Param | Ref


@dataclass(frozen=True)
class Membership:
    """`ref` is one of the values of `param`; negated: it is none of them, and not null."""

    ref: Ref
    param: Param
    negated: bool = False


@dataclass(frozen=True)
class Match:
    """`ref` is LIKE the pattern; negated: it isn't, and is not null. A backslash escapes."""

    ref: Ref
    param: Param
    negated: bool = False


@dataclass(frozen=True)
class IsNull:
    ref: Ref
    negated: bool = False


@dataclass(frozen=True)
class Holds:
    """A list has any (or `every`) of the values of `param`; negated: it is not so. A null list has none."""

    ref: Ref
    param: Param
    every: bool = False
    negated: bool = False


@dataclass(frozen=True)
class Joined:
    every: bool
    items: tuple[Predicate, ...]


#: Conditions hold no `not` any more: it has moved into the tests.
Predicate: TypeAlias = Comparison | Membership | Match | IsNull | Holds | Joined


@dataclass(frozen=True)
class Output:
    """One column of the answer. Without a function it is the stored column `column`; `hidden` ones are not given."""

    name: str
    type: DataType
    column: str | None
    function: Function | None = None
    level: float | None = None
    hidden: bool = False

    @property
    def ref(self) -> Ref:
        return Ref(self.name, self.type, self.function is not None)


@dataclass(frozen=True)
class Sort:
    """By an output's name. Nulls last."""

    output: Output
    descending: bool = False


@dataclass(frozen=True)
class Nan:
    """In the place of a value that is no number."""


@dataclass(frozen=True)
class Keyset:
    """Only what comes at or behind these values of the sorted outputs: one of each, None where it was null."""

    params: tuple[Param | Nan | None, ...]


@dataclass(frozen=True)
class Shape:
    """`total`: the order is made total, for pages. `limit` None: all rows, of a stream."""

    outputs: tuple[Output, ...]
    where: Predicate | None = None
    grouped: bool = False
    group: tuple[str, ...] = ()
    having: Predicate | None = None
    order: tuple[Sort, ...] = ()
    limit: int | None = None
    total: bool = False
    start: Keyset | None = None
    skip: int = 0


@dataclass(frozen=True)
class Planned:
    """A shape and its values, in the order of its params' indexes."""

    shape: Shape
    values: tuple[Any, ...]

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What the answer has, without the hidden ones."""
        return tuple(output for output in self.shape.outputs if not output.hidden)
