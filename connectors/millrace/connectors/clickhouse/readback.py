"""Whether a version's table holds the rows that were sent: a sample of them, read back and compared value by value."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import pyarrow as pa

from millrace.connectors.clickhouse import layout
from millrace.connectors.clickhouse.encode import arrow_stream, merged, sift
from millrace.connectors.clickhouse.layout import Place
from millrace.connectors.clickhouse.link import Link
from millrace.connectors.wire.arrow_types import schema_of
from millrace.spec.types import Column

_NULLS_ARE_EQUAL = {"transform_null_in": 1}
_SHOWN_CHARACTERS = 300


def mismatches(
    link: Link, place: Place, columns: Sequence[Column], filled: AbstractSet[str], key: Sequence[str], sample: pa.Table
) -> list[str]:
    """One line for each row of `sample` that the table doesn't hold: got, expected.

    The sample goes into a table of its own for the while, so that ClickHouse finds its rows by their exact values.
    """
    doing = f"reading back version {place.version} of {place.asset}"
    if not sample.num_rows:
        return []
    kept = merged([sift(batch, columns, filled)[0] for batch in sample.to_batches()])
    if not kept.num_rows:
        return []
    rows = pa.Table.from_batches([kept])
    own = place.sample(uuid.uuid4().hex)
    link.command(doing, f"CREATE TABLE {place.sql(own)} AS {place.sql(place.table)}")
    try:
        names = [column.name for column in columns]
        link.insert(doing, place.sql(own), names, arrow_stream(kept, compressed=True))
        found = _held(link, doing, place, own, columns)
        missing = set(_texts(rows)) - found
        got = _by_key(link, doing, place, own, columns, key) if missing and key else {}
    finally:
        link.command(doing, f"DROP TABLE IF EXISTS {place.sql(own)}")
    return [_line(row, key, got) for row, text in zip(_values(rows), _texts(rows), strict=True) if text in missing]


def _held(link: Link, doing: str, place: Place, own: str, columns: Sequence[Column]) -> set[str]:
    """The rows of the table that agree with one of the sample in every column that can be compared exactly."""
    by = _filter(layout.comparable_columns(columns))
    sql = (
        f"SELECT DISTINCT {_names(columns)} FROM {place.sql(place.table)}"
        f" WHERE {by} IN (SELECT {by} FROM {place.sql(own)})"
    )
    return set(_texts(link.table(doing, sql, _NULLS_ARE_EQUAL).cast(schema_of(columns))))


def _by_key(
    link: Link, doing: str, place: Place, own: str, columns: Sequence[Column], key: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """What the table has under the keys of the sample, one row for each key."""
    names = ", ".join(map(layout.quote, key))
    sql = (
        f"SELECT {_names(columns)} FROM {place.sql(place.table)}"
        f" WHERE ({names}) IN (SELECT {names} FROM {place.sql(own)}) LIMIT 1 BY {names}"
    )
    rows = link.table(doing, sql, _NULLS_ARE_EQUAL).cast(schema_of(columns))
    return {_key_text(row, key): row for row in _values(rows)}


def _filter(columns: Sequence[Column]) -> str:
    if not columns:
        return "toString(tuple(*))"
    return f"({_names(columns)})" if len(columns) > 1 else _names(columns)


def _names(columns: Iterable[Column]) -> str:
    return ", ".join(layout.quote(column.name) for column in columns)


def _values(rows: pa.Table) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rows.to_pylist()
    return found


def _texts(rows: pa.Table) -> list[str]:
    return [repr(list(row.values())) for row in _values(rows)]


def _key_text(row: dict[str, Any], key: Sequence[str]) -> str:
    return repr([row[name] for name in key])


def _line(row: dict[str, Any], key: Sequence[str], got: dict[str, dict[str, Any]]) -> str:
    shown = {name: row[name] for name in key} or row
    there = got.get(_key_text(row, key)) if key else None
    if there is None:
        return f"{str(shown)[:_SHOWN_CHARACTERS]}: got no such row, expected one"
    names = [name for name in row if repr(row[name]) != repr(there[name])]
    got_text, expected = ({name: side[name] for name in names} for side in (there, row))
    return f"{shown}: got {str(got_text)[:_SHOWN_CHARACTERS]}, expected {str(expected)[:_SHOWN_CHARACTERS]}"
