"""What a server knows of a table: its columns, its indexes, how many rows a condition gives, which keys there are.

No statement reads more than a few pages, but for the ends of a column without an index; `plan_timeout` bounds each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from millrace.connectors.mysql.client import Client
from millrace.connectors.mysql.key import SplitKey, Value, quoted
from millrace.connectors.mysql.shards import has_wildcard, matching
from millrace.connectors.mysql.types import TableColumn
from millrace.errors import SourceError
from millrace.spec.diagnostics import did_you_mean

_SAMPLED_KEYS = 20_000


@dataclass(frozen=True)
class Table:
    """A table or view. `indexes` maps an index's name to its first column; `primary` is that of the primary key."""

    database: str
    name: str
    columns: tuple[TableColumn, ...]
    row_bytes: int
    engine: str
    indexes: tuple[tuple[str, str], ...]

    @property
    def sql(self) -> str:
        return f"{quoted(self.database)}.{quoted(self.name)}"

    def using(self, index: str) -> str:
        """The table in SQL, read through this index if it has it: MySQL may take a scan of all for the cheaper way."""
        known = any(name == index for name, _ in self.indexes)
        return f"{self.sql} FORCE INDEX ({quoted(index)})" if known else self.sql

    def __str__(self) -> str:
        return f"{self.database}.{self.name}"

    def column(self, name: str) -> TableColumn | None:
        """A column by its name; MySQL's column names are the same in any case."""
        return next((c for c in self.columns if c.name.casefold() == name.casefold()), None)

    def index_of(self, column: str) -> str:
        """An index that starts with this column, at best the primary key; empty when there is none."""
        found = [index for index, first in self.indexes if first.casefold() == column.casefold()]
        return "PRIMARY" if "PRIMARY" in found else next(iter(found), "")


@dataclass(frozen=True)
class Estimate:
    """The server's guess of a condition's rows, and the index that it would find them by ("" for none)."""

    rows: int
    range_index: str


def describe(client: Client, database: str, name: str) -> Table:
    """The table, by the information schema. Raises SourceError naming the closest table or database that there is."""
    where = f"TABLE_SCHEMA = {client.text(database)} AND TABLE_NAME = {client.text(name)}"
    columns = client.records(
        "SELECT COLUMN_NAME AS name, DATA_TYPE AS type, COLUMN_TYPE AS full_type, NUMERIC_PRECISION AS p,"
        " NUMERIC_SCALE AS s, CHARACTER_SET_NAME AS charset, COLLATION_NAME AS collation, IS_NULLABLE AS nullable,"
        " EXTRA AS extra"
        f" FROM information_schema.COLUMNS WHERE {where} ORDER BY ORDINAL_POSITION"
    )
    if not columns:
        raise _no_table(client, database, name)
    [(row_bytes, engine)] = client.rows(f"SELECT AVG_ROW_LENGTH, ENGINE FROM information_schema.TABLES WHERE {where}")
    indexes = client.rows(
        "SELECT INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS"
        f" WHERE {where} AND SEQ_IN_INDEX = 1 AND COLUMN_NAME IS NOT NULL AND INDEX_TYPE = 'BTREE' ORDER BY INDEX_NAME"
    )
    return Table(
        database=database,
        name=name,
        columns=tuple(
            TableColumn(
                name=c["name"],
                type=_text(c["type"]).lower(),
                full_type=_text(c["full_type"]).lower(),
                precision=None if c["p"] is None else int(c["p"]),
                scale=None if c["s"] is None else int(c["s"]),
                charset=c["charset"],
                collation=c["collation"],
                nullable=c["nullable"] == "YES",
                visible="INVISIBLE" not in str(c["extra"]).upper(),
            )
            for c in columns
        ),
        row_bytes=int(row_bytes or 0),
        engine=str(engine or ""),
        indexes=tuple((str(index), str(column)) for index, column in indexes),
    )


def estimate(client: Client, table: Table, where: str) -> Estimate:
    """How many rows a condition gives, without reading them. Raises SourceError when it isn't valid SQL."""
    try:
        steps = client.records(f"EXPLAIN SELECT * FROM {table.sql}{where_clause(where)}")
    except SourceError as error:
        raise SourceError(
            f"planning the read of {table}: the server refuses `where: {where}`: {error.message}",
            hint="`where` is a condition in MySQL's own words, over the table's columns",
        ) from error
    if not steps or not where:
        return Estimate(_rows(steps), "")
    step = steps[0]
    by_range = str(step.get("type")) in ("range", "index_merge") and step.get("key")
    return Estimate(_rows(steps), str(step["key"]) if by_range else "")


@dataclass(frozen=True)
class Ends:
    """The first and last key of some rows. `beyond`: there are keys after the last that can't be counted."""

    first: Value
    last: Value
    beyond: bool = False


def ends(client: Client, table: Table, key: SplitKey, where: str) -> Ends | None:
    """The ends of the rows that the condition gives; None when none of them has a key that can be counted.

    Raises TooSlow when that takes longer than `plan_timeout`.
    """
    select = f"SELECT {key.counted_sql} FROM {table.sql} WHERE {key.real_values_sql}{and_clause(where)}"
    first = client.value(f"{select} ORDER BY {key.sql} LIMIT 1")
    if first is None:
        return None
    last = client.value(f"{select} ORDER BY {key.sql} DESC LIMIT 1")
    if last is None:
        return None
    value = key.value_of(last)
    after = f"SELECT 1 FROM {table.sql} WHERE {key.sql} > {key.literal(value)}{and_clause(where)} LIMIT 1"
    return Ends(key.value_of(first), value, beyond=key.timed and client.value(after) is not None)


def last_key(client: Client, table: Table, key: SplitKey) -> Value | None:
    """The greatest key of all rows that can be counted; None when there is none. Raises TooSlow."""
    found = client.value(
        f"SELECT {key.counted_sql} FROM {table.sql} WHERE {key.real_values_sql} ORDER BY {key.sql} DESC LIMIT 1"
    )
    return None if found is None else key.value_of(found)


def sample(client: Client, table: Table, key: SplitKey, where: str) -> Sequence[Value]:
    """Some keys, each once, in the server's order."""
    rows = client.rows(
        f"SELECT {key.counted_sql} AS k FROM (SELECT {key.sql} FROM {table.sql}"
        f" WHERE {key.real_values_sql}{and_clause(where)} LIMIT {_SAMPLED_KEYS}) AS s"
        f" GROUP BY {key.sql} ORDER BY {key.sql}"
    )
    return [key.value_of(row[0]) for row in rows]


class IndexKeys:
    """Answers about a table's keys from the index that starts with them; see `Keys`."""

    def __init__(self, client: Client, table: Table, key: SplitKey) -> None:
        self._client = client
        self._key = key
        self._from = f"FROM {table.using(key.index)} WHERE {key.sql}"

    def rows_between(self, first: Value, last: Value) -> int:
        low, high = self._key.literal(first), self._key.literal(last)
        return _rows(
            self._client.records(f"EXPLAIN SELECT {self._key.sql} {self._from} >= {low} AND {self._key.sql} <= {high}")
        )

    def first_from(self, probe: Value, first: Value, last: Value) -> Value | None:
        key = self._key
        found = self._client.value(
            f"SELECT {key.counted_sql} {self._from} >= {key.literal(probe)} AND {key.sql} > {key.literal(first)}"
            f" AND {key.sql} <= {key.literal(last)} ORDER BY {key.sql} LIMIT 1"
        )
        return None if found is None else key.value_of(found)

    def last_before(self, key: Value, first: Value) -> Value:
        name = self._key.sql
        found = self._client.value(
            f"SELECT {self._key.counted_sql} {self._from} < {self._key.literal(key)}"
            f" AND {name} >= {self._key.literal(first)} ORDER BY {name} DESC LIMIT 1"
        )
        return first if found is None else self._key.value_of(found)


def where_clause(where: str) -> str:
    """The condition on lines of its own, so that a comment in it ends."""
    return f" WHERE (\n{where}\n)" if where else ""


def both(one: str, other: str) -> str:
    """The condition that two conditions are true; either may be empty."""
    return f"({one}\n) AND ({other})" if one and other else one or other


def and_clause(where: str) -> str:
    return f" AND (\n{where}\n)" if where else ""


def _rows(steps: Sequence[dict[str, object]]) -> int:
    """The rows of an EXPLAIN's first step, times the share that its condition lets through where that is told."""
    if not steps or steps[0].get("rows") is None:
        return 0
    return int(float(str(steps[0]["rows"])) * float(str(steps[0].get("filtered") or 100)) / 100)


def tables_like(client: Client, database: str, pattern: str) -> list[tuple[str, str]]:
    """(database, table) of every table and view whose names two patterns with wildcards stand for."""
    found = client.rows(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA NOT IN"
        " ('mysql', 'sys', 'information_schema', 'performance_schema')"
        + ("" if has_wildcard(database) else f" AND TABLE_SCHEMA = {client.text(database)}")
    )
    databases = set(matching(database, {str(schema) for schema, _ in found}))
    return sorted(
        (str(schema), str(name)) for schema, name in found if schema in databases and matching(pattern, [str(name)])
    )


def _no_table(client: Client, database: str, name: str) -> SourceError:
    databases = [str(row[0]) for row in client.rows("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")]
    if database not in databases:
        return SourceError(
            f"there is no database '{database}' for this user{did_you_mean(database, databases)}",
            hint="correct the connection's database or `database`, or grant the user SELECT on it",
        )
    tables = [
        str(row[0])
        for row in client.rows(
            f"SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {client.text(database)} ORDER BY 1"
        )
    ]
    return SourceError(
        f"there is no table '{name}' in the database {database}{did_you_mean(name, tables)}",
        hint="correct `table`, or grant the user SELECT on it",
    )


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
