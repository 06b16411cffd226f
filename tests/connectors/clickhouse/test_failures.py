"""What a run is told when ClickHouse is away, refuses, or dies in the middle."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest

from millrace.connectors.clickhouse.loader import INSERT_ROWS
from millrace.errors import MillraceError, TargetError, TransientError
from millrace.spec.connection import parse_url
from tests.connectors.clickhouse.stores import ASSET, load, load_whole, people, publish, target, version
from tests.servers.clickhouse import ClickHouse, ClickHouseDatabase, ClickHouseServer
from tests.servers.process import free_port, wait_until


@pytest.fixture
def own_server() -> Iterator[ClickHouseServer]:
    with ClickHouseServer(password="topsecret") as server:
        yield server


def test_a_server_that_is_not_there_may_come_back() -> None:
    store = target(parse_url("ch", f"clickhouse://127.0.0.1:{free_port()}", "the test"))
    with pytest.raises(TransientError, match="Connection refused"):
        store.check(version("v1", people(1)).columns)
    store.close()


def test_a_wrong_password_is_told_and_never_shown(own_server: ClickHouseServer) -> None:
    store = target(parse_url("ch", f"clickhouse://default:notthesecret@127.0.0.1:{own_server.port}", "the test"))
    with pytest.raises(TargetError, match="Authentication failed") as refused:
        store.check(version("v1", people(1)).columns)
    assert "user or password" in refused.value.hint
    assert "notthesecret" not in str(refused.value) + repr(refused.value.__cause__)
    store.close()


def test_an_unknown_database_is_told_with_how_to_make_it(clickhouse: ClickHouse) -> None:
    to = clickhouse.connection
    url = f"{to.scheme}://{to.user or 'default'}:{to.password.value}@{to.host}:{to.port}"
    for store in (target(parse_url("ch", f"{url}/nope", "the test")), target(to, database="nope")):
        with pytest.raises(TargetError, match=r"database '?nope|Database nope") as refused:
            store.check(version("v1", people(1)).columns)
        assert "CREATE DATABASE" in refused.value.hint
        store.close()


def test_a_database_that_can_not_replace_views_atomically_is_refused(clickhouse: ClickHouse) -> None:
    name = clickhouse.new_database().name
    clickhouse.query(f"DROP DATABASE {name}")
    clickhouse.query(f"CREATE DATABASE {name} ENGINE = Memory")
    store = target(clickhouse.connection, database=name)
    with pytest.raises(TargetError, match="has the engine Memory"):
        store.check(version("v1", people(1)).columns)
    store.close()
    clickhouse.query(f"DROP DATABASE {name}")


def test_columns_that_do_not_fit_are_told_before_anything_is_written(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection, order_by=("nope",))
    with pytest.raises(TargetError, match="order_by names the column 'nope', but there are id, name, note"):
        store.check(version("v1", people(1)).columns)
    assert clickhouse_database.tables() == []
    store.close()


def test_a_batch_of_other_columns_is_a_mistake_and_no_dirty_row(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection)
    of = version("v1", people(1))
    store.prepare(of)
    other = pa.RecordBatch.from_pydict({"id": pa.array([[1]]), "name": pa.array(["a"]), "note": pa.array(["b"])})
    with pytest.raises(ValueError, match="column 'id' is declared bigint"):
        load(store, of, [other])
    store.close()


def test_a_server_that_dies_in_the_middle_of_a_load_keeps_the_old_version(own_server: ClickHouseServer) -> None:
    connection = own_server.clickhouse.connection
    store = target(connection, order_by=("id",))
    publish(store, "v1", people(1000, "old"))
    of = version("v2", people(1))
    store.prepare(of)
    errors: list[MillraceError] = []

    def load_many(start: int) -> None:
        try:
            batches = (people(INSERT_ROWS, start=start + n * INSERT_ROWS) for n in range(200))
            load(target(connection), of, batches)
        except MillraceError as error:
            errors.append(error)

    loads = [threading.Thread(target=load_many, args=(start,)) for start in (0, 10**9)]
    for thread in loads:
        thread.start()
    wait_until(lambda: _rows_under_way(own_server) > 3 * INSERT_ROWS, "some inserts")
    own_server.kill()
    for thread in loads:
        thread.join()
    assert [type(error) for error in errors] == [TransientError, TransientError]
    own_server.restart()
    assert store.current(ASSET) == "v1"
    assert own_server.clickhouse.query(f"SELECT count() FROM {ASSET}") == "1000\n"
    assert load_whole(store, of, [people(500, "new")]).rows == 500
    assert store.count(of) == 500
    store.publish(of)
    assert own_server.clickhouse.query(f"SELECT count(), any(note) FROM {ASSET}") == "500\tnew\n"
    store.drop(version("v1", people(1)))
    remaining = own_server.clickhouse.query("SELECT name FROM system.tables WHERE database = 'millrace' ORDER BY name")
    assert remaining.split() == [ASSET, f"{ASSET}__v2"]
    store.close()


def test_a_table_that_somebody_drops_during_the_load_is_told(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection)
    of = version("v1", people(1))
    store.prepare(of)
    clickhouse_database.query(f"DROP TABLE {ASSET}__v1")
    with pytest.raises(TargetError, match="doesn't exist") as told:
        load(store, of, [people(5)])
    assert "run the spec again" in told.value.hint.lower()
    with pytest.raises(TargetError, match="has no table"):
        store.seal(of)
    store.close()


def _rows_under_way(server: ClickHouseServer) -> int:
    rows = server.clickhouse.query("SELECT sum(total_rows) FROM system.tables WHERE name LIKE '%\\_\\_a%'").strip()
    return int(rows) if rows.isdigit() else 0
