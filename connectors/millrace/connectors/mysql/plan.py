"""A table's plan: which columns, which splits, about how many rows; found by asking the server, never by reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from millrace.connectors.base import SourcePlan
from millrace.connectors.mysql.client import Client, TooSlow
from millrace.connectors.mysql.increment import increment
from millrace.connectors.mysql.key import SplitKey, Value, split_key, splittable_types
from millrace.connectors.mysql.options import MysqlOptions
from millrace.connectors.mysql.shards import expanded, has_wildcard
from millrace.connectors.mysql.splits import (
    cuts_by_index,
    even_cuts,
    is_dense,
    make_splits,
    quantile_cuts,
    wanted_splits,
)
from millrace.connectors.mysql.statistics import (
    Ends,
    Estimate,
    IndexKeys,
    Table,
    both,
    describe,
    ends,
    estimate,
    sample,
    tables_like,
)
from millrace.connectors.mysql.types import TableColumn, our_column, read_column
from millrace.errors import SourceError
from millrace.spec.diagnostics import did_you_mean, listed
from millrace.spec.types import Column, column


@dataclass(frozen=True)
class Division:
    """How a table is divided, and what to tell a person about it."""

    splits: tuple[Mapping[str, Any], ...]
    rows: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Shard:
    """One table's part of a plan. `where` is the whole condition; `reached` that of its cursor."""

    table: Table
    columns: Sequence[TableColumn]
    key: SplitKey | None
    index: str
    where: str
    division: Division
    reached: int | None


def plan_read(
    client: Client, options: MysqlOptions, database: str, channels: int, watermark: Mapping[str, Any] | None
) -> SourcePlan:
    """The frozen plan of a table, or of all shards. Raises SourceError naming what is missing and what there is."""
    names = shard_names(client, options, database)
    before, notes = _reached_before(options, watermark)
    share = 1 if options.snapshot else max(1, -(-channels // len(names)))
    shards = [plan_shard(client, options, name, share, before.get(".".join(name))) for name in names]
    for shard in shards[1:]:
        _same_columns(shards[0], shard)
    return SourcePlan(
        columns=_columns(options, shards[0]),
        splits=shards[0].division.splits
        if len(shards) == 1
        else tuple({"table": i, **split} for i, shard in enumerate(shards) for split in shard.division.splits),
        estimated_rows=sum(shard.division.rows for shard in shards),
        estimated_bytes=sum(shard.division.rows * shard.table.row_bytes for shard in shards) or None,
        watermark=_watermark(options, before, shards),
        details={
            "tables": [_details(shard) for shard in shards],
            "types": [c.full_type for c in shards[0].columns],
            "snapshot": options.snapshot,
        },
        notes=(*notes, *(_counted(shards)), *(note for shard in shards for note in shard.division.notes)),
    )


def shard_names(client: Client, options: MysqlOptions, database: str) -> list[tuple[str, str]]:
    """(database, table) of everything that is read. Raises SourceError when a wildcard stands for nothing."""
    found: list[tuple[str, str]] = []
    for schema in expanded(database):
        for name in expanded(options.table):
            if not has_wildcard(schema) and not has_wildcard(name):
                found.append((schema, name))
                continue
            tables = tables_like(client, schema, name)
            if not tables:
                raise SourceError(
                    f"no table of {client.name} matches {schema}.{name}",
                    hint="correct `table` or `database`, or grant the user SELECT on the tables",
                )
            found += tables
    return list(dict.fromkeys(found))


def plan_shard(
    client: Client, options: MysqlOptions, name: tuple[str, str], channels: int, before: int | None
) -> Shard:
    """One table's part of the plan; `before` is what the last publish has reached of its cursor."""
    table = describe(client, *name)
    if options.snapshot and table.engine.lower() != "innodb":
        raise SourceError(
            f"planning the read of {table}: only an InnoDB table has snapshots, and this is"
            f" {'a ' + table.engine + ' table' if table.engine else 'a view'}",
            hint="leave `snapshot` out, or name InnoDB tables",
        )
    columns = wanted_columns(table, options.columns)
    where, reached, notes = options.where, None, tuple[str, ...]()
    if options.cursor is not None:
        estimate(client, table, where)  # so that an error in `where` names it alone
        found = increment(client, table, _column(table, options.cursor.column, "cursor"), options.cursor, before)
        where, reached, notes = both(where, found.condition), found.reached, found.notes
    guess = estimate(client, table, where)
    key = None if options.snapshot else choose_key(table, options, guess)
    division = (
        Division(({},), guess.rows, ()) if options.snapshot else divide(client, table, key, where, guess, channels)
    )
    return Shard(
        table,
        columns,
        key,
        key.index if key and guess.range_index in ("", key.index) else "",
        where,
        replace(division, notes=(*notes, *division.notes)),
        reached,
    )


def _details(shard: Shard) -> Mapping[str, Any]:
    return {
        "database": shard.table.database,
        "table": shard.table.name,
        "split_by": shard.key.column.name if shard.key else None,
        "index": shard.index,
        "where": shard.where,
    }


def _columns(options: MysqlOptions, shard: Shard) -> tuple[Column, ...]:
    found = [our_column(c, read) for c in shard.columns if (read := read_column(c))]
    if options.shard_column is None:
        return tuple(found)
    if any(c.name == options.shard_column for c in found):
        raise SourceError(
            f"planning the read of {shard.table}: `shard_column: {options.shard_column}` is a column of the table",
            hint="choose another name",
        )
    return (*found, column(options.shard_column, "string"))


def _same_columns(first: Shard, other: Shard) -> None:
    names = [(c.name.casefold(), c.full_type) for c in first.columns]
    others = [(c.name.casefold(), c.full_type) for c in other.columns]
    if names != others:
        one, two = next(
            ((a, b) for a, b in zip_longest(names, others, fillvalue=("nothing", "")) if a != b),
        )
        raise SourceError(
            f"planning the read of {other.table}: it has {' '.join(two)} where {first.table} has {' '.join(one)}",
            hint="shards have the same columns: alter the table, or name in `columns` those that they share",
        )


def _reached_before(options: MysqlOptions, watermark: Mapping[str, Any] | None) -> tuple[Mapping[str, int], list[str]]:
    """What the last publish has reached in each table, by `database.table`; nothing when the cursor is another now."""
    if options.cursor is None or watermark is None:
        return {}, []
    known = watermark.get("cursor")
    if known != options.cursor.column:
        return {}, [f"the cursor is {options.cursor.column} now, and was {known}: everything is read"]
    return watermark["tables"], []


def _watermark(options: MysqlOptions, before: Mapping[str, int], shards: Sequence[Shard]) -> Mapping[str, Any] | None:
    if options.cursor is None:
        return None
    now = {f"{s.table.database}.{s.table.name}": s.reached for s in shards if s.reached is not None}
    return {"cursor": options.cursor.column, "tables": {**before, **now}}


def _counted(shards: Sequence[Shard]) -> list[str]:
    return [f"{len(shards):,} tables, from {shards[0].table} to {shards[-1].table}"] if len(shards) > 1 else []


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
