"""Merge and append in a real ClickHouse: what readers see, over versions that go on from one another."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from millrace.connectors.base import Field, Version, Window
from millrace.connectors.clickhouse.load import ClickHouseTarget
from millrace.connectors.clickhouse.options import ClickHouseOptions
from millrace.connectors.clickhouse.query import ClickHouseReader
from millrace.errors import TargetError
from millrace.spec.connector import Mode
from millrace.spec.types import Column, column, parse_type
from tests.connectors.clickhouse.stores import ASSET, target
from tests.connectors.loads import load_whole
from tests.servers.clickhouse import ClickHouseDatabase

VISITS = [column("id", "bigint"), column("day", "date"), column("page", "string")]
UTC = dt.UTC


def day(first: int, days: int = 1) -> Window:
    return Window(dt.datetime(2026, 3, first, tzinfo=UTC), dt.datetime(2026, 3, first + days, tzinfo=UTC))


def visits(first: int, count: int, page: str = "/") -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array(range(count), pa.int64()),
            "day": pa.array([dt.date(2026, 3, first)] * count, pa.date32()),
            "page": pa.array([page] * count, pa.string()),
        }
    )


def people(rows: Sequence[tuple[int, str, bool | None]]) -> pa.RecordBatch:
    ids, names, gone = ([row[i] for row in rows] for i in range(3))
    return pa.RecordBatch.from_pydict(
        {"id": pa.array(ids, pa.int64()), "name": pa.array(names, pa.string()), "gone": pa.array(gone, pa.bool_())}
    )


def version(id_: str, columns: Sequence[Column], mode: Mode, line: str, **changes: Any) -> Version:
    fields = tuple(Field(c, n) for n, c in enumerate(columns, start=1))
    return Version(ASSET, id_, fields, mode=mode, rows_id=line, **changes)


def publish(store: ClickHouseTarget, of: Version, batch: pa.RecordBatch) -> None:
    assert load_whole(store, of, [batch]).rows == batch.num_rows
    assert store.count(of) == batch.num_rows
    kept = pa.Table.from_batches([batch])
    if of.deletes:
        kept = kept.filter(pa.array([not gone for gone in kept[of.deletes].to_pylist()])).drop_columns([of.deletes])
    assert store.mismatches(of, kept) == []
    store.publish(of)


def test_append_overwrites_its_interval_and_nothing_else_in_any_order(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection, order_by=("id",), partition_by="toYYYYMM(day)", interval="day")
    seen = f"SELECT toDayOfMonth(day), count(), any(page) FROM {ASSET} GROUP BY 1 ORDER BY 1"
    for number, (first, count, page) in enumerate([(2, 20, "/a"), (1, 10, "/b"), (2, 5, "/c"), (2, 5, "/c")], start=1):
        publish(store, version(f"v{number}", VISITS, Mode.APPEND, "v1", window=day(first)), visits(first, count, page))
        if number > 1:
            store.forget(version(f"v{number - 1}", VISITS, Mode.APPEND, "v1"))
    assert clickhouse_database.query(f"{seen} FORMAT CSV").splitlines() == ['1,10,"/b"', '2,5,"/c"']
    tables = clickhouse_database.query(f"SELECT name FROM system.tables WHERE database = '{clickhouse_database.name}'")
    assert sorted(tables.split()) == [ASSET, f"{ASSET}__v4"]
    store.close()


def test_readers_see_the_old_interval_until_the_new_one_is_published(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection, order_by=("id",), interval="day")
    publish(store, version("v1", VISITS, Mode.APPEND, "v1", window=day(1)), visits(1, 10, "/old"))
    again = version("v2", VISITS, Mode.APPEND, "v1", window=day(1))
    load_whole(store, again, [visits(1, 3, "/new")])
    assert clickhouse_database.query(f"SELECT count(), any(page) FROM {ASSET} FORMAT CSV").strip() == '10,"/old"'
    store.forget(again)
    assert clickhouse_database.query(f"SELECT count() FROM {ASSET}").strip() == "10"
    store.close()


def test_rows_outside_of_the_interval_are_refused(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection, order_by=("id",), interval="day")
    with pytest.raises(TargetError, match=r"4 rows have a time in 'day' that is outside of the run's interval"):
        load_whole(store, version("v1", VISITS, Mode.APPEND, "v1", window=day(2)), [visits(1, 4)])
    store.close()


def test_merge_keeps_the_last_row_of_a_key_and_takes_deleted_ones_away(
    clickhouse_database: ClickHouseDatabase,
) -> None:
    columns = [column("id", "bigint"), column("name", "string")]
    store = target(clickhouse_database.connection, order_by=("id",))
    seen = f"SELECT id, name FROM {ASSET} ORDER BY id FORMAT CSV"
    batches = [
        people([(1, "a", False), (2, "b", None), (3, "c", False)]),
        people([(2, "B", False), (3, "", True), (4, "d", False)]),
    ]
    for number, batch in enumerate([*batches, batches[1]], start=1):
        publish(store, version(f"v{number}", columns, Mode.MERGE, "v1", deletes="gone"), batch)
    assert clickhouse_database.query(seen).splitlines() == ['1,"a"', '2,"B"', '4,"d"']
    assert asyncio.run(_asked(clickhouse_database)) == [(1, "a"), (2, "B"), (4, "d")]
    publish(store, version("v4", columns, Mode.MERGE, "v1", deletes="gone"), people([(3, "back", False)]))
    assert clickhouse_database.query(seen).splitlines() == ['1,"a"', '2,"B"', '3,"back"', '4,"d"']
    described = clickhouse_database.query(f"SELECT * FROM {ASSET} LIMIT 1 FORMAT CSVWithNames")
    assert described.splitlines()[0] == '"id","name"'
    store.close()


async def _asked(database: ClickHouseDatabase) -> list[tuple[Any, ...]]:
    """What SQL APIs see: they ask a version's own table, and not the view."""
    reader = ClickHouseReader(database.connection)
    await reader.open()
    try:
        table = await reader.table(ASSET, {"connection": "c", "order_by": ["id"]})
        sql = f"SELECT id, name FROM {'.'.join(f'`{part}`' for part in table.parts)} ORDER BY id"
        found = await reader.query(sql, types=[parse_type("bigint"), parse_type("string")])
        return [tuple(row) for row in found.rows]
    finally:
        await reader.close()


def test_a_column_may_be_added_to_a_line(clickhouse_database: ClickHouseDatabase) -> None:
    before = [column("id", "bigint"), column("name", "string")]
    store = target(clickhouse_database.connection, order_by=("id",))
    publish(store, version("v1", before, Mode.MERGE, "v1", deletes="gone"), people([(1, "a", False)]))
    wider = people([(2, "b", False)]).append_column("city", pa.array(["x"]))
    publish(store, version("v2", [*before, column("city", "string")], Mode.MERGE, "v1", deletes="gone"), wider)
    rows = clickhouse_database.query(f"SELECT id, name, city FROM {ASSET} ORDER BY id FORMAT CSV")
    assert rows.splitlines() == ['1,"a",\\N', '2,"b","x"']
    store.close()


def test_a_version_goes_on_only_from_its_own_line(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection, order_by=("id",), interval="day")
    publish(store, version("v1", VISITS, Mode.APPEND, "v1", window=day(1)), visits(1, 10))
    with pytest.raises(TargetError, match="is not one of the versions that this one goes on from") as caught:
        store.prepare(version("v3", VISITS, Mode.APPEND, "v2", window=day(1)))
    assert "--full-refresh" in caught.value.hint
    store.close()


def test_options_that_a_mode_needs_are_asked_for() -> None:
    plain = ClickHouseOptions(connection="c")
    assert plain.refused_in(Mode.REPLACE) is None
    assert "'interval'" in (plain.refused_in(Mode.APPEND) or "")
    assert "'order_by'" in (plain.refused_in(Mode.MERGE) or "")
    with_arguments = ClickHouseOptions(connection="c", order_by=("id",), engine="ReplacingMergeTree(at)")
    assert "engine's arguments" in (with_arguments.refused_in(Mode.MERGE) or "")
