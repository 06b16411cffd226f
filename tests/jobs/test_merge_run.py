"""What is new in MySQL, merged into Redis, run after run: rows that change, come late, go away; files that grow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from millrace.catalog import Catalog
from millrace.errors import CheckFailed
from millrace.jobs import runner
from millrace.jobs.session import SessionHolder
from tests.jobs.conftest import Workspace, make_settings
from tests.servers.mariadb import Database
from tests.servers.redis import RedisServer

SPEC = """
version: 1
asset: users
source:
  mysql: {connection: mysql_main, table: users, cursor: {column: updated_at, lag: 0s}}
transform:
  - derive: {gone: "state = 'closed'"}
checks:
  - not_null: [name]
targets:
  - redis: {connection: store, key: "{id}", ttl: 1h}
mode: merge
deletes: gone
limits: {channels: 2}
"""


@pytest.fixture
def users(mariadb_database: Database) -> Database:
    mariadb_database.execute(
        "CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR(20), state VARCHAR(9), updated_at TIMESTAMP(6) NULL,"
        " KEY (updated_at))"
    )
    mariadb_database.execute(
        "INSERT INTO users SELECT seq, 'first', 'open', '2026-01-01' + INTERVAL seq SECOND FROM seq_1_to_100"
    )
    return mariadb_database


@pytest.fixture
def place(tmp_path: Path, users: Database, redis_server: RedisServer, spark: SparkSession) -> Iterator[Workspace]:
    settings = make_settings(tmp_path, {"mysql_main": users.url, "store": redis_server.url})
    session = SessionHolder(settings)
    assert session.get().sparkContext is spark.sparkContext
    with Catalog.open(settings.catalog_url) as catalog, ExitStack() as stack:
        yield Workspace(settings, catalog, session, stack)


def staged(report: runner.RunReport) -> int:
    assert report.error is None, report.error
    return report.statistics.source.rows_staged or 0


def names(place: Workspace, *ids: int) -> list[Any]:
    kv = place.client().kv("users")
    return [row and row["name"] for row in map(kv.get, ids)]


def test_changes_are_merged_deleted_rows_go_away_and_failed_runs_lose_nothing(
    place: Workspace, users: Database, redis_server: RedisServer
) -> None:
    assert staged(place.run(SPEC)) == 100
    users.execute("UPDATE users SET name = 'second', updated_at = '2026-01-02' WHERE id = 1")
    users.execute("UPDATE users SET state = 'closed', updated_at = '2026-01-02' WHERE id = 2")
    users.execute("INSERT INTO users VALUES (200, NULL, 'open', '2026-01-03')")
    failed = place.run(SPEC)
    assert isinstance(failed.error, CheckFailed)
    assert names(place, 1, 2, 3, 200) == ["first", "first", "first", None]
    users.execute("UPDATE users SET name = 'new' WHERE id = 200")
    assert staged(place.run(SPEC)) == 4  # the last row of before, which its bound includes, and the three
    assert names(place, 1, 2, 3, 200) == ["second", None, "first", "new"]
    for _ in range(3):  # nothing new: old versions retire, and the rows that they share stay
        assert staged(place.run(SPEC)) == 1
    assert names(place, 1, 2, 3, 200) == ["second", None, "first", "new"]
    with redis_server.client() as client:
        assert len(client.keys("users:*:*")) == 100  # 99 of the first rows, and the new one
