"""Sorted rows of a store that sorts groups alone: rows that are alike are asked for once, with how often they are
there, and given so often. Pure.

Pages need an order in which only rows tie that look the same, so such rows may as well be one group.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice, repeat
from typing import Any

from millrace.serving.sql.dialects import Table, dialect
from millrace.serving.sql.shape import Output, Planned
from millrace.serving.sql.tree import Function
from millrace.spec.types import DataType, Kind

_TIMES = "__times"


@dataclass(frozen=True)
class Repeated:
    """What becomes of groups whose last column says how often a row is there: rows, the first `skip` left out."""

    skip: int
    limit: int

    def rows(self, groups: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
        found = (row for group in groups for row in repeat(tuple(group[:-1]), group[-1]))
        return list(islice(found, self.skip, self.skip + self.limit))


def as_asked(planned: Planned, table: Table, dialect_name: str) -> tuple[Planned, Repeated | None]:
    """A query as the store can answer it, and how its answer becomes that of the query; None: it is that already.

    A stream has no limit, and is left as it is. Raises QueryError for what can't be grouped.
    """
    shape = planned.shape
    if shape.limit is None or not dialect(dialect_name).sorts_groups_alone(shape, table):
        return planned, None
    names = tuple(dict.fromkeys(output.column for output in shape.outputs if output.column is not None))
    times = Output(_TIMES, DataType(Kind.BIGINT), None, Function.COUNT, hidden=True)
    limit = shape.limit + (1 if shape.skip else 0)  # the first group may be one whose rows are all left out
    grouped = replace(shape, outputs=(*shape.outputs, times), group=names, limit=limit, skip=0)
    return replace(planned, shape=grouped), Repeated(shape.skip, shape.limit)
