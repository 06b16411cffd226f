"""The serving side's queries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from millrace.connectors.clickhouse.query import ClickHouseReader
from millrace.errors import TargetError, TransientError
from millrace.spec.connection import Connection, parse_url
from tests.connectors.clickhouse.stores import ASSET, publish, target
from tests.connectors.loads import people
from tests.servers.clickhouse import ClickHouseDatabase
from tests.servers.process import free_port

T = TypeVar("T")


def reading(connection: Connection, use: Callable[[ClickHouseReader], Awaitable[T]]) -> T:
    async def main() -> T:
        async with ClickHouseReader(connection) as reader:
            return await use(reader)

    return asyncio.run(main())


def test_a_query_gives_names_types_and_rows(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection, order_by=("id",))
    publish(store, "v1", people(3, "x"))
    sql = f"SELECT id, name FROM {ASSET} WHERE id > {{least:Int64}} AND note = {{note:String}} ORDER BY id"
    found = reading(clickhouse_database.connection, lambda r: r.query(sql, {"least": 0, "note": "x"}))
    assert found.columns == ("id", "name")
    assert found.types == ("Int64", "Nullable(String)")
    assert found.rows == ((1, "person 1"), (2, "person 2"))
    store.close()


def test_parameters_are_never_part_of_the_text(clickhouse_database: ClickHouseDatabase) -> None:
    nasty = "' OR 1 = 1; DROP TABLE x -- \\"
    found = reading(clickhouse_database.connection, lambda r: r.query("SELECT {s:String} AS s", {"s": nasty}))
    assert found.rows == ((nasty,),)


def test_many_rows_come_as_arrow(clickhouse_database: ClickHouseDatabase) -> None:
    found = reading(clickhouse_database.connection, lambda r: r.arrow("SELECT number AS n FROM numbers(300000)"))
    assert (found.num_rows, found.schema.names) == (300_000, ["n"])


def test_queries_run_side_by_side_and_each_sees_one_version(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection, order_by=("id",))
    versions = [publish(store, "v1", people(100, "v1")), publish(store, "v2", people(300, "v2"))]
    sql = f"SELECT count(), groupUniqArray(note) FROM {ASSET}"

    async def read(reader: ClickHouseReader) -> set[tuple[object, ...]]:
        seen: set[tuple[object, ...]] = set()
        for flip in range(30):
            queries = [reader.query(sql) for _ in range(4)]
            answers = await asyncio.gather(*queries, asyncio.to_thread(store.publish, versions[flip % 2]))
            seen |= {(a.rows[0][0], *a.rows[0][1]) for a in answers if a is not None}
        return seen

    assert reading(clickhouse_database.connection, read) == {(100, "v1"), (300, "v2")}
    store.close()


def test_what_the_server_refuses_is_told(clickhouse_database: ClickHouseDatabase) -> None:
    with pytest.raises(TargetError, match="UNKNOWN_TABLE") as refused:
        reading(clickhouse_database.connection, lambda r: r.query("SELECT * FROM nope"))
    assert refused.value.hint


def test_a_server_that_is_away_may_come_back() -> None:
    away = parse_url("ch", f"clickhouse://127.0.0.1:{free_port()}", "the test")
    with pytest.raises(TransientError, match="Connect call failed"):
        reading(away, lambda r: r.query("SELECT 1"))
