"""What a run is told when ClickHouse is away, refuses, or dies in the middle."""

from __future__ import annotations

import pyarrow as pa
import pytest

from millrace.errors import TargetError
from millrace.spec.connection import parse_url
from tests.connectors.clickhouse.stores import ASSET, target, version
from tests.connectors.loads import load, people
from tests.servers.clickhouse import ClickHouse, ClickHouseDatabase


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
