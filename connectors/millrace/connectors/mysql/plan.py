"""A table's plan: which columns, which splits, about how many rows; found by asking the server, never by reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from millrace.connectors.base import SourcePlan
from millrace.connectors.mysql.client import Client, TooSlow
from millrace.connectors.mysql.key import SplitKey, Value, split_key, splittable_types
from millrace.connectors.mysql.options import MysqlOptions
from millrace.connectors.mysql.splits import (
    cuts_by_index,
    even_cuts,
    is_dense,
    make_splits,
    quantile_cuts,
    wanted_splits,
)
from millrace.connectors.mysql.statistics import Ends, Estimate, IndexKeys, Table, describe, ends, estimate, sample
from millrace.connectors.mysql.types import TableColumn, our_column, read_column
from millrace.errors import SourceError
from millrace.spec.diagnostics import did_you_mean, listed


@dataclass(frozen=True)
class Division:
    """How a table is divided, and what to tell a person about it."""

    splits: tuple[Mapping[str, Any], ...]
    rows: int
    notes: tuple[str, ...]


def plan_table(client: Client, options: MysqlOptions, database: str, channels: int) -> SourcePlan:
    """The frozen plan of a table. Raises SourceError naming what is missing and what there is."""
    table = describe(client, database, options.table)
    columns = wanted_columns(table, options.columns)
    guess = estimate(client, table, options.where)
    key = choose_key(table, options, guess)
    division = divide(client, table, key, options.where, guess, channels)
    return SourcePlan(
        columns=tuple(our_column(c, read) for c in columns if (read := read_column(c))),
        splits=division.splits,
        estimated_rows=division.rows,
        estimated_bytes=division.rows * table.row_bytes if table.row_bytes else None,
        details={
            "database": database,
            "table": options.table,
            "types": [c.full_type for c in columns],
            "split_by": key.column.name if key else None,
            "index": key.index if key and guess.range_index in ("", key.index) else "",
        },
        notes=division.notes,
    )


def wanted_columns(table: Table, names: Sequence[str] | None) -> list[TableColumn]:
    """The columns to read. Raises SourceError for one that isn't there or can't be read."""
    if names is None:
        columns = [c for c in table.columns if c.visible]
    else:
        columns = [_column(table, name, "columns") for name in names]
    unreadable = [f"{c.name} {c.full_type}" for c in columns if read_column(c) is None]
    if unreadable:
        readable = listed([c.name for c in table.columns if read_column(c)])
        raise SourceError(
            f"planning the read of {table}: no type of ours holds {listed(unreadable)}",
            hint=f"name the other columns in `columns`: {readable}",
        )
    return columns


def choose_key(table: Table, options: MysqlOptions, guess: Estimate) -> SplitKey | None:
    """The column to split by: the declared one, or the first of the index that serves `where` or of the primary key."""
    if options.split_by:
        column = _column(table, options.split_by, "split_by")
        key = split_key(column, table.index_of(column.name))
        if key is None:
            raise SourceError(
                f"planning the read of {table}: `split_by: {column.name}` is a {column.type}, which can't be split",
                hint=f"split by a column of type {listed(splittable_types(), 20)}; or leave `split_by` out",
            )
        return key
    for index in (guess.range_index, "PRIMARY"):
        for name, first in table.indexes:
            if name == index and (first_column := table.column(first)) and (found := split_key(first_column, name)):
                return found
    return None


def divide(client: Client, table: Table, key: SplitKey | None, where: str, guess: Estimate, channels: int) -> Division:
    """Ranges of the key that hold every row of now once."""
    if key is None:
        note = f"{table} has no primary key to split by: it is read by one channel (set `split_by`)"
        return Division(({},), guess.rows, (note,))
    notes: list[str] = []
    if not key.index:
        notes.append(
            f"no index of {table} starts with {key.column.name}: each split reads the whole table on the server"
        )
    found = _ends(client, table, key, where, notes)
    if isinstance(found, TooSlow):
        return Division(({},), guess.rows, tuple(notes))
    if found is None:
        return Division(_without_keys(key), guess.rows if key.column.nullable else 0, tuple(notes))
    count = wanted_splits(guess.rows, channels)
    cuts = _cuts(client, table, key, where, found, guess.rows, count) if count > 1 else []
    if count > 1 and len(cuts) < channels - 1:
        notes.append(f"the keys in {key.column.name} make only {len(cuts) + 1} ranges: fewer than {channels} channels")
    last = None if found.beyond else found.last
    return Division(make_splits(cuts, last, nullable=key.column.nullable), guess.rows, tuple(notes))


def _ends(client: Client, table: Table, key: SplitKey, where: str, notes: list[str]) -> Ends | TooSlow | None:
    """The first and last key of the rows wanted; of all rows, when those are slow to find."""
    name = key.column.name
    try:
        return ends(client, table, key, where)
    except TooSlow as slow:
        if not where:
            notes.append(f"finding the ends of {name} took longer than plan_timeout: read by one channel")
            return slow
    try:
        found = ends(client, table, key, "")
    except TooSlow as slow:
        notes.append(f"finding the ends of {name} took longer than plan_timeout: read by one channel")
        return slow
    notes.append(f"finding the ends of {name} under `where` took longer than plan_timeout: split over the whole table")
    return found


def _cuts(client: Client, table: Table, key: SplitKey, where: str, found: Ends, rows: int, count: int) -> list[Value]:
    if key.kind.counted and (not key.index or is_dense(rows, found.first, found.last)):
        return even_cuts(found.first, found.last, count)
    if key.index:
        return cuts_by_index(key, IndexKeys(client, table, key), found.first, found.last, count)
    try:
        return quantile_cuts(sample(client, table, key, where), count)
    except TooSlow:
        return []


def _without_keys(key: SplitKey) -> tuple[Mapping[str, Any], ...]:
    """No row has a key that can be counted: there are NULLs only, or zero dates, or nothing at all."""
    if key.timed:
        return make_splits([], None, nullable=key.column.nullable)
    return ({"null": True},) if key.column.nullable else ({"none": True},)


def _column(table: Table, name: str, option: str) -> TableColumn:
    found = table.column(name)
    if found is None:
        names = [c.name for c in table.columns]
        raise SourceError(
            f"planning the read of {table}: `{option}` names '{name}', which the table doesn't have"
            f"{did_you_mean(name, names)}",
            hint=f"its columns are {listed(names, 50)}; if it was dropped at the source, take it out of the spec",
        )
    return found
