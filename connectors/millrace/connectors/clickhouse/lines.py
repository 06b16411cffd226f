"""Versions of merge and append in ClickHouse: each begins as a clone of the table before it. Statements, pure.

A clone shares the files of the parts that it took (hard links), so it costs neither time nor room, and what is changed
in it is seen by nobody until the view is replaced: `append` and `merge` are as atomic for readers as `replace` is.

`append`: the rows of the interval are deleted from the clone, and the new ones attached.
`merge`: the new rows are attached. They carry the number of the version in its line, and ReplacingMergeTree shows, of
rows with equal sorting keys, the one of the highest number: https://clickhouse.com/docs/engines/table-engines/mergetree-family/replacingmergetree
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from millrace.connectors.base import Version, Window
from millrace.connectors.clickhouse.layout import Place, quote, quote_text
from millrace.connectors.clickhouse.options import ClickHouseOptions
from millrace.spec.connector import Mode
from millrace.spec.types import Column, DataType, Kind

NUMBER = "__millrace_version"
DELETED = "__millrace_deleted"
DELETED_COLUMN = Column(DELETED, DataType(Kind.BOOLEAN))


def engine(options: ClickHouseOptions, mode: Mode) -> str:
    """The engine of a version's table: the options', but for `merge` one that knows our columns."""
    if mode is not Mode.MERGE:
        return options.engine
    family = next((name for name in ("Replicated", "Shared") if options.engine.startswith(name)), "")
    return f"{family}ReplacingMergeTree({NUMBER}, {DELETED})"


def hidden_columns(mode: Mode) -> list[str]:
    """The columns of a version's table that no reader sees, as CREATE TABLE has them."""
    return [f"{quote(NUMBER)} UInt64 DEFAULT 1", f"{quote(DELETED)} UInt8 DEFAULT 0"] if mode is Mode.MERGE else []


def clone(place: Place, base: str) -> list[str]:
    """The statements that make a version's table as a clone of another; its comment is still to be set."""
    table, source = place.sql(place.table), place.sql(base)
    return [f"CREATE TABLE {table} AS {source}", f"ALTER TABLE {table} ATTACH PARTITION ALL FROM {source}"]


def add_column(place: Place, definition: str) -> str:
    return f"ALTER TABLE {place.sql(place.table)} ADD COLUMN IF NOT EXISTS {definition}"


def set_number(place: Place, number: int) -> str:
    """Rows that are written from now on are those of the version with this number in its line."""
    return f"ALTER TABLE {place.sql(place.table)} MODIFY COLUMN {quote(NUMBER)} UInt64 DEFAULT {number}"


def in_window(options: ClickHouseOptions, window: Window) -> str | None:
    """The condition for rows of the interval that `append` overwrites; None: all rows."""
    if options.interval is None or window.start is None or window.end is None:
        return None
    time = f"toDateTime64({quote(options.interval)}, 6, 'UTC')"
    return f"{time} >= {_moment(window.start)} AND {time} < {_moment(window.end)}"


def new_rows(version: Version, options: ClickHouseOptions, number: int) -> str:
    """The condition for the rows that a version itself has loaded."""
    if version.mode is Mode.MERGE:
        return f"{quote(NUMBER)} = {number}"
    return (version.mode is Mode.APPEND and in_window(options, version.window)) or "1"


def shown(place: Place, columns: Sequence[Column], mode: Mode) -> str:
    """The query of the view: of merged rows the last ones, without those that were deleted."""
    if mode is not Mode.MERGE:
        return f"SELECT * FROM {place.sql(place.table)}"
    return f"SELECT {', '.join(quote(c.name) for c in columns)} FROM {place.sql(place.table)} FINAL"


def _moment(time: datetime) -> str:
    return f"toDateTime64({quote_text(f'{time.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}')}, 6, 'UTC')"
