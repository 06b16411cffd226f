"""Whether a version's datasource holds the rows that were sent: a sample of them, read back and compared."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.connectors.base import Version
from millrace.connectors.druid import layout
from millrace.connectors.druid.encode import stored_batch, stored_columns
from millrace.connectors.druid.link import Link
from millrace.connectors.druid.options import DruidOptions, Granularity
from millrace.connectors.wire.json_columns import value_texts
from millrace.connectors.wire.refusals import Refusals
from millrace.spec.types import Column, DataType, Kind

_ROWS_PER_QUERY = 250
_ROWS_BY_THEMSELVES = 20
_ROWS_PER_ANSWER = 10_000
_SHOWN_CHARACTERS = 300
_SHOWN_BY = 2  # the time and the first dimension: what is there in place of a row that isn't
_EXACT = (Kind.BIGINT, Kind.STRING, Kind.DATE, Kind.DECIMAL, Kind.BINARY)
_LONGEST_TEXT = 500
_NO_TIME = Column(layout.TIME, DataType(Kind.BIGINT))  # where no column is the time


def mismatches(link: Link, datasource: str, version: Version, options: DruidOptions, sample: pa.Table) -> list[str]:
    """One line for each row of `sample` that the datasource doesn't hold: got, expected.

    Rows that were rolled up are looked for by their time and dimensions: their metrics are of many rows.
    """
    doing = f"reading back version {version.id} of {version.asset}"
    time = [c for c in version.columns if c.name == options.timestamp] or [_NO_TIME]
    columns = [*time, *layout.dimension_columns(version.columns, options)]
    grouped = not options.multi_value and not any(layout.is_json(c.type) for c in columns)  # Druid can't group these
    distinct = "DISTINCT " if grouped else ""
    names = ", ".join(layout.quote(c.name) for c in stored_columns(columns[1:], None))

    def held(condition: str) -> list[list[Any]]:
        sql = f"SELECT {distinct}{names} FROM {layout.quote(datasource)} WHERE {condition} LIMIT {_ROWS_PER_ANSWER}"
        return [_readable(row, columns, options) for row in link.sql(doing, sql)]

    found: list[str] = []
    for rows in _rows(sample, columns, options):
        missing = _without(rows, held(_values_of(rows, columns))) if rows else []
        for start in range(0, len(missing), _ROWS_BY_THEMSELVES):
            looked_for = missing[start : start + _ROWS_BY_THEMSELVES]
            wrong = _without(looked_for, held(_any_of(looked_for, columns)))
            others = held(_any_of([row[:_SHOWN_BY] for row in wrong], columns[:_SHOWN_BY])) if wrong else []
            found += [_line(row, others) for row in wrong]
    return found


def _rows(sample: pa.Table, columns: Sequence[Column], options: DruidOptions) -> Iterator[list[list[Any]]]:
    """The sample's rows as Druid tells them, some at a time; rows that were dirty are left out."""
    for whole in sample.combine_chunks().to_batches():
        for start in range(0, whole.num_rows, _ROWS_PER_QUERY):
            batch, refusals = whole.slice(start, _ROWS_PER_QUERY), Refusals()
            stored = stored_batch(batch, [c for c in columns if c is not _NO_TIME], options.timestamp, refusals)
            values = [_sent(stored.column(n), column, options, refusals) for n, column in enumerate(columns)]
            rows = [list(row) for n, row in enumerate(zip(*values, strict=True)) if n not in refusals.reasons]
            yield [row for row in rows if row[0] is not None]


def _sent(array: pa.Array[Any], column: Column, options: DruidOptions, refusals: Refusals) -> list[Any]:
    if column is _NO_TIME or column.name == options.timestamp:
        return [None if ms is None else _cut(ms, options.query_granularity) for ms in array.to_pylist()]
    if layout.is_json(column.type):
        texts = value_texts(array, column.type, refusals, column.name).array().to_pylist()
        return [None if text is None else _plain(json.loads(text)) for text in texts]
    stored = layout.stored_type(column.type)
    values = [_comparable(value, stored) for value in array.to_pylist()]
    return [value or None for value in values] if column.name in options.multi_value else values


def _comparable(value: Any, type_: DataType) -> Any:
    """A value that was sent, in the one form in which both sides are compared."""
    if value is None:
        return None
    match type_.kind:
        case Kind.ARRAY:
            return [_comparable(item, type_.fields[0].type) for item in value]
        case Kind.FLOAT:
            return str(np.float32(value))
        case Kind.DOUBLE:
            return str(float(value))
        case Kind.BINARY:
            return base64.b64encode(value).decode()
        case Kind.DATE:
            return value.isoformat() if isinstance(value, date) else str(value)
        case Kind.DECIMAL:
            return format(value, "f") if isinstance(value, Decimal) else str(value)
        case _:
            return value


def _readable(row: Sequence[Any], columns: Sequence[Column], options: DruidOptions) -> list[Any]:
    """A row that Druid has told, in the same form."""
    found: list[Any] = []
    for value, column in zip(row, columns, strict=True):
        stored = layout.stored_type(column.type)
        if value is None:
            found.append(None)
        elif column is _NO_TIME or column.name == options.timestamp:
            found.append(_ms(datetime.fromisoformat(value)))
        elif layout.is_json(column.type):
            found.append(_plain(json.loads(value) if isinstance(value, str) else value))
        elif column.name in options.multi_value:
            found.append(_many(value))
        elif stored.kind in (Kind.FLOAT, Kind.DOUBLE, Kind.ARRAY):
            found.append(_comparable(_numbers(value, stored), stored))
        else:
            found.append(value)
    return found


def _numbers(value: Any, type_: DataType) -> Any:
    """Floats from JSON, which may stand there as the texts NaN and Infinity."""
    if type_.kind is Kind.ARRAY and isinstance(value, list):
        return [None if item is None else _numbers(item, type_.fields[0].type) for item in value]
    return float(value) if type_.kind in (Kind.FLOAT, Kind.DOUBLE) else value


def _many(value: Any) -> Any:
    """A multi-value dimension: JSON text, or the one value."""
    if isinstance(value, str):
        return json.loads(value) if value.startswith("[") else [value]
    return value


def _plain(value: Any) -> Any:
    """JSON without what Druid may write otherwise: whole floats, the order of members."""
    if isinstance(value, dict):
        return {key: _plain(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _without(rows: Sequence[list[Any]], held: Sequence[Sequence[Any]]) -> list[list[Any]]:
    texts = {repr(row) for row in held}
    return [row for row in rows if repr(row) not in texts]


def _values_of(rows: Sequence[Sequence[Any]], columns: Sequence[Column]) -> str:
    """Rows that have, column by column, a value of these rows: soon planned, and hardly more rows than these."""
    instants = ", ".join(f"MILLIS_TO_TIMESTAMP({ms})" for ms in sorted({row[0] for row in rows}))
    parts = [f"{layout.quote(layout.TIME)} IN ({instants})"]
    for place, column in enumerate(columns[1:], start=1):
        values = {row[place] for row in rows} if _compares(column) else set()
        if not values or any(_is_long(value) for value in values):
            continue
        name, texts = layout.quote(column.name), [_literal(value) for value in values if value is not None]
        choices = [f"{name} IN ({', '.join(texts)})"] if texts else []
        parts.append(f"({' OR '.join([*choices, *([f'{name} IS NULL'] if None in values else [])])})")
    return " AND ".join(parts)


def _any_of(rows: Sequence[Sequence[Any]], columns: Sequence[Column]) -> str:
    return " OR ".join(f"({_condition(row, columns)})" for row in rows)


def _condition(row: Sequence[Any], columns: Sequence[Column]) -> str:
    """By what a row is looked for: its time, and its dimensions that can be compared exactly."""
    parts = [f"{layout.quote(layout.TIME)} = MILLIS_TO_TIMESTAMP({row[0]})"]
    for value, column in zip(row[1:], columns[1:], strict=True):
        if not _compares(column) or _is_long(value):
            continue
        name = layout.quote(column.name)
        parts.append(f"{name} IS NULL" if value is None else f"{name} = {_literal(value)}")
    return " AND ".join(parts)


def _compares(column: Column) -> bool:
    return layout.stored_type(column.type).kind in _EXACT and not layout.is_json(column.type)


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and len(value) > _LONGEST_TEXT


def _literal(value: Any) -> str:
    return _text(value) if isinstance(value, str) else str(value)


def _text(value: str) -> str:
    """A string as SQL: what is not plain ASCII in Calcite's escapes."""
    if value.isascii() and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    units = np.frombuffer(value.encode("utf-16-be"), ">u2").tolist()
    return "U&'" + "".join(f"\\{unit:04x}" for unit in units) + "'"


def _cut(ms: int, span: Granularity) -> int:
    """A time as the query granularity leaves it."""
    if span in (Granularity.NONE, Granularity.ALL):
        return ms
    whole = layout.instant(ms).replace(microsecond=0)
    match span:
        case Granularity.YEAR:
            whole = whole.replace(month=1, day=1, hour=0, minute=0, second=0)
        case Granularity.MONTH:
            whole = whole.replace(day=1, hour=0, minute=0, second=0)
        case Granularity.WEEK:
            return (ms + 259_200_000) // 604_800_000 * 604_800_000 - 259_200_000
        case Granularity.DAY:
            whole = whole.replace(hour=0, minute=0, second=0)
        case Granularity.HOUR:
            whole = whole.replace(minute=0, second=0)
        case Granularity.MINUTE:
            whole = whole.replace(second=0)
    return _ms(whole)


def _ms(time: datetime) -> int:
    found = time.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (found.days * 86_400 + found.seconds) * 1000 + found.microseconds // 1000


def _line(row: Sequence[Any], others: Sequence[Sequence[Any]]) -> str:
    near = next((other for other in others if other[:_SHOWN_BY] == row[:_SHOWN_BY]), None)
    got = "no such row" if near is None else str(list(near))[:_SHOWN_CHARACTERS]
    return f"at {layout.instant(row[0])}: got {got}, expected {str(list(row))[:_SHOWN_CHARACTERS]}"
