"""clickhouse-connect takes the local server for a ClickHouse."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import clickhouse_connect
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from tests.servers.clickhouse import ClickHouseDatabase


@pytest.fixture
def client(clickhouse_database: ClickHouseDatabase) -> Iterator[Client]:
    with closing(connect(clickhouse_database)) as client:
        yield client


def connect(database: ClickHouseDatabase, **options: Any) -> Client:
    to = database.connection
    return clickhouse_connect.get_client(
        host=to.host,
        port=to.port or 8123,
        username=to.user,
        password=to.password.value,
        database=database.name,
        **options,
    )


def numbers(rows: int) -> pa.Table:
    return pa.table({"a": pa.array(range(rows), pa.int64()), "s": pa.array([f"row {n}" for n in range(rows)])})


def test_values_go_in_and_come_back(client: Client) -> None:
    client.command(
        "CREATE TABLE t (a Int64, s Nullable(String), at DateTime64(6, 'UTC')) ENGINE = MergeTree ORDER BY a"
    )
    at = dt.datetime(2024, 2, 29, 1, 2, 3, 456789)
    assert client.insert("t", [[1, "x", at], [2, None, at]], ["a", "s", "at"]).written_rows == 2
    assert client.query("SELECT * FROM t").result_rows == [(1, "x", at), (2, None, at)]
    assert client.query("SELECT a FROM t WHERE s = {s:String}", parameters={"s": "x"}).result_rows == [(1,)]
    assert client.query("SELECT a, s FROM t LIMIT 0").column_names == ("a", "s")
    assert client.query("SELECT a FROM t WHERE a > 9").result_rows == []


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_arrow_goes_in_and_comes_back(clickhouse_database: ClickHouseDatabase, compress: Any) -> None:
    with closing(connect(clickhouse_database, compress=compress)) as client:
        client.command("CREATE TABLE t (a Int64, s String) ENGINE = MergeTree ORDER BY a")
        assert client.insert_arrow("t", numbers(100_000)).written_rows == 100_000
        assert client.query_arrow("SELECT * FROM t ORDER BY a").cast(numbers(1).schema) == numbers(100_000)
        with client.query_arrow_stream("SELECT * FROM t") as stream:
            assert sum(table.num_rows for table in stream) == 100_000
        with client.query_row_block_stream("SELECT * FROM t") as stream:
            assert sum(len(block) for block in stream) == 100_000
        assert client.raw_insert("t", ["a", "s"], b"1,x\n2,y\n", fmt="CSV").written_rows == 2


def test_errors_have_their_code_and_name(client: Client) -> None:
    with pytest.raises(DatabaseError) as unknown:
        client.query("SELECT * FROM nope")
    assert (unknown.value.code, unknown.value.name) == (60, "UNKNOWN_TABLE")
    with pytest.raises(DatabaseError) as thrown:
        client.query("SELECT throwIf(number = 3000000) FROM numbers(10000000)")
    assert thrown.value.code == 395
    stream = client.query_row_block_stream("SELECT throwIf(number = 3000000) FROM numbers(10000000)")
    with pytest.raises(StreamFailureError, match="FUNCTION_THROW_IF"), stream:
        for _ in stream:
            pass


def test_a_clients_session_is_kept(client: Client) -> None:
    client.command("CREATE TEMPORARY TABLE mine (a Int8)")
    client.insert("mine", [[5]], ["a"], column_type_names=["Int8"])
    client.command("SET max_threads = 3")
    assert client.query("SELECT a, getSetting('max_threads') AS t FROM mine").result_rows == [(5, 3)]
    assert client.query("SELECT getSetting('max_threads') AS t", settings={"max_threads": 7}).result_rows == [(7,)]
    assert client.query("SELECT getSetting('max_threads') AS t").result_rows == [(3,)]


def test_long_parameters_come_as_a_form(client: Client) -> None:
    many = list(range(20_000))
    found = client.query(
        "SELECT length({many:Array(UInt32)}), arraySum({many:Array(UInt32)})", parameters={"many": many}
    )
    assert found.result_rows == [(20_000, sum(many))]
