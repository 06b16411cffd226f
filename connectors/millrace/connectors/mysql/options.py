"""What a spec says of a MySQL source."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, field_validator, model_validator

from millrace.connectors.mysql.shards import count_of, is_pattern
from millrace.spec.connector import Options
from millrace.spec.shape.fields import ColumnName, Columns, Part
from millrace.spec.types import Column, column
from millrace.spec.units import Duration, format_duration, parse_duration

_SETTING = re.compile(r"[a-z][a-z0-9_]{0,63}")
#: Session settings that reading itself relies on.
_OWN_SETTINGS = frozenset(
    {"time_zone", "character_set_results", "character_set_client", "character_set_connection", "names"}
)


def _lag(value: Any) -> Any:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, bool) or not isinstance(value, int | timedelta) or (isinstance(value, int) and value < 0):
        raise ValueError("expected a duration such as '10m', or a whole number for an integer column")
    return value


def _lag_text(value: int | timedelta) -> int | str:
    return value if isinstance(value, int) else format_duration(value)


def _cursor(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


Lag = Annotated[
    int | timedelta,
    BeforeValidator(_lag),
    PlainSerializer(_lag_text),
    WithJsonSchema({"type": ["string", "integer"], "x-type": "duration or number"}),
]


class Cursor(Part):
    """A column whose values grow with each change of a row."""

    column: ColumnName = Field(
        description="An integer, date, datetime or timestamp column, at best the first of an index.",
        examples=["updated_at", "id"],
    )
    lag: Lag | None = Field(
        default=None,
        description="How far below the last value a run begins again, for rows that were committed late: a duration for"
        " dates and times, a number for integers. By default 5m and 1000.",
        examples=["10m", 5000],
    )


class Replica(Part):
    """A second server, from which is read instead."""

    connection: str = Field(description="Name of the replica's connection.", examples=["mysql_replica"])
    max_lag: Annotated[Duration, Field(ge=timedelta(seconds=1))] = Field(
        default=timedelta(minutes=1),
        description="How far it may be behind its primary; a run waits, and fails when it stays further behind.",
        examples=["30s"],
    )


class MysqlOptions(Options):
    """Rows of a table or view of MySQL or MariaDB, or of its shards, read by JDBC in parallel ranges of one column."""

    connection: str = Field(
        description="Name of the connection: mysql://user:password@host:port/database, or mariadb://….",
        examples=["mysql_main"],
    )
    table: str = Field(
        min_length=1,
        max_length=255,
        description="The table or view to read. For shards a pattern: `{00..15}`, `{a,b}`, and the wildcards * and ?.",
        examples=["users", "orders_{00..15}"],
    )
    database: str = Field(
        default="",
        max_length=255,
        description="Its database, or a pattern of databases; by default that of the connection.",
        examples=["shop", "shop_{0..3}"],
    )
    shard_column: ColumnName | None = Field(
        default=None,
        description="A column to add that tells from where a row comes, as `database.table`.",
        examples=["shard"],
    )
    columns: Columns | None = Field(
        default=None,
        description="The columns to read, in this order; by default all visible ones in the table's order.",
        examples=[["id", "name", "updated_at"]],
    )
    where: str = Field(
        default="",
        description="An SQL condition in MySQL's own words; only rows for which it is true are read.",
        examples=["deleted = 0 AND country = 'NO'"],
    )
    split_by: str = Field(
        default="",
        max_length=64,
        description="The column whose ranges are read side by side: an integer, decimal, date, time, char or binary"
        " column, at best the first of an index. By default the first column of the index that serves `where`, or of"
        " the primary key.",
        examples=["id"],
    )
    cursor: Annotated[Cursor, BeforeValidator(_cursor, json_schema_input_type=ColumnName | Cursor)] | None = Field(
        default=None,
        description="Read only the rows that are new or changed since the last publish, by this column: its name, or"
        " column and lag. For `mode: merge` and `append`.",
        examples=["updated_at", {"column": "updated_at", "lag": "10m"}],
    )
    snapshot: bool = Field(
        default=False,
        description="Read everything in one statement, on one channel: all rows are as they were at one instant. For"
        " InnoDB tables.",
    )
    replica: Replica | None = Field(
        default=None,
        description="Plan and read on this replica of the connection's server.",
        examples=[{"connection": "mysql_replica", "max_lag": "30s"}],
    )
    plan_timeout: Annotated[Duration, Field(ge=timedelta(seconds=1))] = Field(
        default=timedelta(seconds=10),
        description="The longest that the server may work on one statement of the plan; what takes longer is left out"
        " of the plan and a coarser way is taken.",
        examples=["30s"],
    )
    session: Mapping[str, str | int] = Field(
        default={},
        description="Session variables of every connection that reads, e.g. to wait longer for a slow target.",
        examples=[{"net_write_timeout": 3600}],
    )

    @field_validator("where")
    @classmethod
    def _is_one_condition(cls, where: str) -> str:
        if "\x00" in where:
            raise ValueError("`where` holds a NUL character")
        return where.strip()

    @field_validator("session")
    @classmethod
    def _are_settings(cls, session: Mapping[str, str | int]) -> Mapping[str, str | int]:
        for name, value in session.items():
            if not _SETTING.fullmatch(name):
                raise ValueError(f"'{name}' is no name of a session variable, such as net_write_timeout")
            if name in _OWN_SETTINGS:
                raise ValueError(f"'{name}' can't be set: times are read in UTC and texts as utf8mb4 in any case")
            if isinstance(value, str) and not re.fullmatch(r"[\w ,.:+-]*", value, re.ASCII):
                raise ValueError(f"the value of '{name}' has characters that no session variable needs: {value!r}")
        return session

    @model_validator(mode="after")
    def _fit_together(self) -> MysqlOptions:
        if self.snapshot and self.split_by:
            raise ValueError("`snapshot` reads all in one statement, so `split_by` has no use: leave one of them out")
        for name in ("table", "database"):
            count_of(getattr(self, name))
        return self

    @property
    def sharded(self) -> bool:
        """Whether `table` or `database` is a pattern."""
        return is_pattern(self.table) or is_pattern(self.database)

    def known_columns(self) -> Sequence[Column | str] | None:
        """The names in `columns`; their types are the table's."""
        if self.columns is None:
            return None
        return [*self.columns, *([column(self.shard_column, "string")] if self.shard_column else [])]

    def other_connections(self) -> Sequence[str]:
        """The replica's."""
        return (self.replica.connection,) if self.replica else ()

    def reads_changes_by(self) -> str | None:
        """`cursor`, when there is one."""
        return "cursor" if self.cursor else None
