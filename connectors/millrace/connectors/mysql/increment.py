"""What is new in a table by a cursor column: from below the last value that was published up to one frozen now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from millrace.connectors.mysql.client import Client, TooSlow
from millrace.connectors.mysql.key import KeyKind, SplitKey, split_key
from millrace.connectors.mysql.options import Cursor
from millrace.connectors.mysql.statistics import Table, last_key
from millrace.connectors.mysql.types import TableColumn
from millrace.errors import SourceError
from millrace.spec.units import format_duration

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME_LAG = timedelta(minutes=5)
_NUMBER_LAG = 1000
_EASTERNMOST = timedelta(hours=14)
_MICROSECOND, _DAY = timedelta(microseconds=1), timedelta(days=1)
_KINDS = (KeyKind.INTEGER, KeyKind.DATE, KeyKind.TIME)


@dataclass(frozen=True)
class Increment:
    """The rows of one run: an SQL condition, and the value up to which the next run needn't look but for the lag."""

    condition: str
    reached: int | None
    notes: tuple[str, ...] = ()


def increment(client: Client, table: Table, column: TableColumn, cursor: Cursor, before: int | None) -> Increment:
    """What is new since `before`, the value reached by the last publish; everything when there is none.

    Raises SourceError for a column that can't be a cursor, a lag that doesn't fit, or a value that takes long to find.
    """
    key = _key(table, column)
    lag = _lag(table, key, cursor)
    try:
        last = last_key(client, table, key)
    except TooSlow as slow:
        raise SourceError(
            f"planning the read of {table}: finding the greatest {column.name} takes longer than plan_timeout",
            hint=f"give the table an index that starts with {column.name}, or raise `plan_timeout`",
        ) from slow
    top = None if last is None else int(last)
    name = key.sql
    if before is None:
        limit = f"{name} <= {key.literal(top)} OR " if top is not None else ""
        condition = f"{limit}{name} IS NULL"
        note = f"{table}: the first run by {column.name} reads everything"
    else:
        low, high = before - lag, max(before, top if top is not None else before)
        condition = f"{name} >= {key.literal(low)} AND {name} <= {key.literal(high)}"
        note = f"{table}: {column.name} from {_shown(key, low)} to {_shown(key, high)}"
    notes = (note, *([] if key.index else [f"no index of {table} starts with {column.name}: each run reads it all"]))
    return Increment(condition, _reached(client, key, before, top), notes)


def _key(table: Table, column: TableColumn) -> SplitKey:
    key = split_key(column, table.index_of(column.name))
    if key is None or key.kind not in _KINDS:
        raise SourceError(
            f"planning the read of {table}: `cursor: {column.name}` is a {column.type}, which can't tell what is new",
            hint="take an integer, date, datetime or timestamp column that grows with each change",
        )
    return key


def _lag(table: Table, key: SplitKey, cursor: Cursor) -> int:
    """The lag in the units of the column's values."""
    if key.kind is KeyKind.INTEGER:
        lag = _NUMBER_LAG if cursor.lag is None else cursor.lag
        if isinstance(lag, timedelta):
            raise SourceError(
                f"planning the read of {table}: `lag: {format_duration(lag)}` is a duration, and {cursor.column} is a"
                f" {key.column.type}",
                hint="say by how many the numbers may be late, e.g. `lag: 1000`",
            )
        return lag
    lag = _TIME_LAG if cursor.lag is None else cursor.lag
    if not isinstance(lag, timedelta):
        raise SourceError(
            f"planning the read of {table}: `lag: {lag}` is a number, and {cursor.column} is a {key.column.type}",
            hint="say how late rows may be, e.g. `lag: 10m`",
        )
    return lag // _MICROSECOND if key.kind is KeyKind.TIME else -(-lag // _DAY)


def _reached(client: Client, key: SplitKey, before: int | None, top: int | None) -> int | None:
    """How far the watermark goes: not beyond the server's clock, whatever some row claims; and never back."""
    found: Sequence[int] = [value for value in (before, top) if value is not None]
    if not found:
        return None
    if key.kind is KeyKind.INTEGER:
        return max(found)
    # The wall clock of a date or datetime may be that of any zone.
    now = _EPOCH + int(str(client.value("SELECT UNIX_TIMESTAMP()"))) * timedelta(seconds=1)
    latest = now if key.column.type == "timestamp" else now + _EASTERNMOST
    clock = (latest - _EPOCH) // (_MICROSECOND if key.kind is KeyKind.TIME else _DAY)
    return max([min(value, clock) for value in found])


def _shown(key: SplitKey, value: int) -> str:
    return key.literal(value).strip("'")
