"""MySQL to Redis and ClickHouse in one run: both stores move together, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from millrace.catalog import Catalog
from millrace.errors import CheckFailed, SourceError
from millrace.jobs.context import Silent, connections_of, open_target
from millrace.jobs.session import SessionHolder
from millrace.jobs.trial import trial
from tests.jobs.conftest import Workspace, make_settings
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.mariadb import Database
from tests.servers.redis import RedisServer

SPEC = """
version: 1
asset: users
source:
  mysql: {connection: mysql_main, table: users, columns: [id, name, city, age, updated_at], split_by: id}
transform:
  - where: "age >= 0"
  - derive: {age_band: "floor(age / 10) * 10"}
  - dedupe: {key: [id], keep: latest, by: updated_at}
checks:
  - not_null: [id, name]
  - unique: [id]
  - row_count: {min: 1, change: 20%}
targets:
  - redis: {connection: store, key: "{id}", value: protobuf, compression: zstd}
  - clickhouse: {connection: warehouse, order_by: [id]}
limits: {channels: 2}
test:
  connections: {mysql_main: mysql_main, store: store, warehouse: warehouse}
"""
ROWS = 1000


@pytest.fixture
def users(mariadb_database: Database) -> Database:
    mariadb_database.execute(
        "CREATE TABLE users (id BIGINT UNSIGNED, name VARCHAR(40), city VARCHAR(20) CHARACTER SET utf8mb4,"
        " age INT, updated_at DATETIME(6), KEY (id))"
    )
    mariadb_database.execute(
        "INSERT INTO users SELECT seq, CONCAT('name ', seq), IF(seq % 10, 'Köln 🏭', NULL),"
        f" CAST(seq % 90 AS SIGNED) - 1, '2026-01-01' + INTERVAL seq SECOND FROM seq_1_to_{ROWS}"
    )
    mariadb_database.execute("INSERT INTO users VALUES (7, 'newer name', 'Rom', 50, '2026-06-01')")
    return mariadb_database


@pytest.fixture(scope="module")
def clickhouse_server() -> Iterator[ClickHouseServer]:
    """A server of this module's own, because one test kills it."""
    with ClickHouseServer() as server:
        yield server


@pytest.fixture
def both(
    tmp_path: Path, users: Database, redis_server: RedisServer, clickhouse_server: ClickHouseServer, spark: SparkSession
) -> Iterator[Workspace]:
    warehouse = clickhouse_server.clickhouse.new_database()
    settings = make_settings(tmp_path, {"mysql_main": users.url, "store": redis_server.url, "warehouse": warehouse.url})
    session = SessionHolder(settings)
    assert session.get().sparkContext is spark.sparkContext
    with Catalog.open(settings.catalog_url) as catalog, ExitStack() as stack:
        yield Workspace(settings, catalog, session, stack)


def currents(workspace: Workspace) -> set[str | None]:
    """What each store's own pointer says."""
    spec = workspace.spec(SPEC)
    found = set()
    for entry in spec.targets:
        target = open_target(spec, entry.name, connections_of(workspace.settings))
        found.add(target.current("users"))
        target.close()
    return found


def test_a_table_is_served_from_both_stores(both: Workspace) -> None:
    report = both.run(SPEC)
    assert report.error is None, report.error
    source = report.statistics.source
    negative = len([n for n in range(1, ROWS + 1) if n % 90 == 0])
    assert (source.rows_read, source.rows_filtered, source.rows_staged) == (
        ROWS + 1, negative + 1, ROWS - negative,
    )  # fmt: skip
    assert {t.rows_loaded for t in report.statistics.targets.values()} == {ROWS - negative}
    assert currents(both) == {report.version}
    users = both.client().kv("users")
    row = users.get(7)
    assert row is not None
    assert (row["name"], row["city"], row["age"], int(row["age_band"])) == ("newer name", "Rom", 50, 50)
    row = users.get(10)
    assert row is not None
    assert row["city"] is None


def test_columns_of_any_name_reach_both_stores(both: Workspace, users: Database) -> None:
    users.execute(
        "ALTER TABLE users ADD (`a.b` INT DEFAULT 1, `odd ``name` INT DEFAULT 2, `Ünï {x}` VARCHAR(9) DEFAULT 'é😀',"
        " `select` BIGINT UNSIGNED DEFAULT 18446744073709551615)"
    )
    text = SPEC.replace(", columns: [id, name, city, age, updated_at]", "").replace(
        "  - derive", "  - cast: {select: string}\n  - derive"
    )
    report = both.run(text)
    assert report.error is None, report.error
    row = both.client().kv("users").get(7)
    assert row is not None
    assert (row["a.b"], row["odd `name"], row["Ünï {x}"], row["select"]) == (1, 2, "é😀", "18446744073709551615")


NASTY = """
version: 1
asset: nasty
source:
  mysql: {connection: mysql_main, table: nasty}
checks:
  - row_count: {min: 1, change: 10%}
targets:
  - redis: {connection: store, key: "{id}"}
  - clickhouse: {connection: warehouse, order_by: [id]}
limits: {channels: 2, dirty: {max_rows: 2}}
"""


def test_a_nasty_table_reaches_both_stores_as_it_is_and_a_bad_version_of_it_does_not(
    both: Workspace, users: Database
) -> None:
    users.execute(
        "CREATE TABLE nasty (id BIGINT, big BIGINT UNSIGNED, exact DECIMAL(38,10), flag BIT(1), bits BIT(12), y YEAR,"
        " d DATE, t DATETIME(6), doc JSON, raw LONGBLOB, word VARCHAR(40) CHARACTER SET utf8mb4, f DOUBLE)"
    )
    full = (
        "18446744073709551615, '-9999999999999999999999999999.9999999999', b'1', b'100000000001', 2155,"
        " '1970-01-01', '2024-03-31 02:30:00.123456', '{\"a\": [1, null]}', X'00FF', 'it''s Köln 🏭\\n', -2.5e-300"
    )
    users.execute(f"INSERT INTO nasty VALUES (1, {full})")
    users.execute("INSERT INTO nasty (id) VALUES (2)")  # nothing but nulls
    users.execute("INSERT INTO nasty (id, raw) VALUES (3, REPEAT(X'AB', 10000000))")
    users.execute("INSERT INTO nasty (big) VALUES (4)")  # without a key
    users.execute("INSERT INTO nasty (id, d) SELECT seq, '0000-00-00' FROM seq_5_to_60")
    report = both.run(NASTY)
    assert report.error is None, report.error
    assert {name: (t.rows_loaded, t.rows_dirty) for name, t in report.statistics.targets.items()} == {
        "redis": (59, 1),
        "clickhouse": (59, 1),
    }
    expected = {
        "big": Decimal(2**64 - 1), "exact": Decimal("-9999999999999999999999999999.9999999999"), "flag": True,
        "bits": 2049, "y": 2155, "d": date(1970, 1, 1), "t": datetime(2024, 3, 31, 2, 30, 0, 123456),
        "raw": b"\x00\xff", "word": "it's Köln 🏭\n", "f": -2.5e-300,
    }  # fmt: skip
    kv = both.client().kv("nasty")
    row, empty, large = kv.get(1), kv.get(2), kv.get(3)
    assert row is not None
    assert empty is not None
    assert large is not None
    assert {name: row[name] for name in expected} == expected
    assert set(empty.values()) == {2, None}
    assert large["raw"] == b"\xab" * 10_000_000
    assert (kv.get(5) or {})["d"] is None

    users.execute("DELETE FROM nasty WHERE id > 30")
    bad = both.run(NASTY)
    assert isinstance(bad.error, CheckFailed)
    assert kv.get(60) is not None


def test_bad_data_is_refused_by_both(both: Workspace, users: Database) -> None:
    good = both.run(SPEC)
    users.execute("DELETE FROM users WHERE id > 300")
    bad = both.run(SPEC)
    assert isinstance(bad.error, CheckFailed)
    assert "row_count" in bad.error.message
    assert currents(both) == {good.version}


def test_a_column_dropped_at_the_source_stops_the_run_and_names_it(both: Workspace, users: Database) -> None:
    good = both.run(SPEC)
    users.execute("ALTER TABLE users DROP COLUMN city")
    report = both.run(SPEC)
    assert isinstance(report.error, SourceError)
    assert "city" in report.error.message
    assert currents(both) == {good.version}


def test_a_store_that_dies_during_the_load_stops_both(both: Workspace, clickhouse_server: ClickHouseServer) -> None:
    good = both.run(SPEC)

    class KillInLoad(Silent):
        def step_started(self, step: str) -> None:
            if step == "load:clickhouse":
                clickhouse_server.kill()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("millrace.jobs.actions.RETRY_WAITS_S", (0.1,))
        try:
            report = both.run(SPEC, observer=KillInLoad())
        finally:
            clickhouse_server.restart()
    assert report.error is not None
    assert currents(both) == {good.version}
    again = both.run(SPEC)
    assert again.error is None, again.error
    assert currents(both) == {again.version}


def test_a_trial_touches_nothing_of_the_asset(both: Workspace) -> None:
    good = both.run(SPEC)
    report = trial(both.spec(SPEC), both.settings, Silent(), both.session)
    assert report.error is None, report.error
    assert currents(both) == {good.version}
    assert [v.id for v in both.catalog.versions.list("users")] == [good.version]
