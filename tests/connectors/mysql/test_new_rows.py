"""MySQL as a source of what is new: a cursor with late rows, shards, a snapshot, a replica."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from millrace.connectors.base import PlanRequest, SourcePlan, Window
from millrace.connectors.mysql import replica, splits
from millrace.connectors.mysql.options import MysqlOptions
from millrace.connectors.mysql.shards import count_of, expanded
from millrace.connectors.mysql.source import MysqlSource
from millrace.errors import SourceError, TransientError
from millrace.jobs.gate import GateServer, StepLimits
from millrace.spec.connection import parse_url
from tests.servers.mariadb import Database, MariaDb

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass
class Runs:
    """Runs over one source, each from the watermark that the last one has published."""

    spark: SparkSession
    url: str
    options: Mapping[str, Any]
    watermark: Mapping[str, Any] | None = None
    replica_url: str = ""

    @property
    def source(self) -> MysqlSource:
        others = {"replica": parse_url("replica", self.replica_url, "the test")} if self.replica_url else None
        options = MysqlOptions.model_validate({"connection": "db", "table": "users", **self.options})
        return MysqlSource(options, parse_url("db", self.url, "the test"), others)

    def plan(self) -> SourcePlan:
        return self.source.plan(PlanRequest(2, Window(), self.watermark, lambda: pytest.fail("a plan needs no Spark")))

    def read(self, plan: SourcePlan) -> list[tuple[Any, ...]]:
        with GateServer() as gate:
            found = self.source.read(self.spark, plan, gate.open_step("read", StepLimits()))
            return sorted(tuple(row) for row in found.frame.collect())

    def run(self) -> list[tuple[Any, ...]]:
        plan = self.plan()
        rows = self.read(plan)
        self.watermark = plan.watermark
        return rows

    def ids(self) -> list[int]:
        return [row[0] for row in self.run()]


@pytest.fixture
def users(mariadb_database: Database) -> Database:
    mariadb_database.execute(
        "CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR(20), updated_at TIMESTAMP(6) NULL, KEY (updated_at))"
    )
    return mariadb_database


def put(users: Database, id_: int, updated_at: str | None, name: str = "a") -> None:
    users.execute("REPLACE INTO users VALUES (%s, %s, %s)", (id_, name, updated_at))


def test_a_run_reads_what_was_changed_since_the_last_publish(spark: SparkSession, users: Database) -> None:
    runs = Runs(spark, users.url, {"cursor": {"column": "updated_at", "lag": "0s"}})
    put(users, 1, "2026-01-01 10:00:00")
    put(users, 2, "2026-01-01 11:00:00.5")
    put(users, 3, None)
    assert runs.ids() == [1, 2, 3]
    put(users, 1, "2026-01-01 12:00:00", "changed")
    put(users, 4, "2026-01-01 11:00:00.5")  # at the same instant as the last one: the bound is read again
    assert [row[:2] for row in runs.run()] == [(1, "changed"), (2, "a"), (4, "a")]
    assert runs.ids() == [1]
    users.execute("DELETE FROM users")
    assert runs.ids() == []
    put(users, 5, "2026-01-01 12:00:00.000001")
    assert runs.ids() == [5]


def test_late_rows_are_found_within_the_lag(spark: SparkSession, users: Database) -> None:
    runs = Runs(spark, users.url, {"cursor": {"column": "updated_at", "lag": "10m"}})
    put(users, 1, "2026-01-01 10:00:00")
    runs.ids()
    put(users, 2, "2026-01-01 09:51:00")
    put(users, 3, "2026-01-01 09:49:00")
    assert runs.ids() == [1, 2]


def test_a_plan_is_frozen_rows_that_come_later_wait(spark: SparkSession, users: Database) -> None:
    runs = Runs(spark, users.url, {"cursor": {"column": "id", "lag": 0}})
    put(users, 1, None)
    put(users, 2, None)
    plan = runs.plan()
    put(users, 3, None)
    assert [row[0] for row in runs.read(plan)] == [1, 2]
    assert plan.watermark == {"cursor": "id", "tables": {f"{users.name}.users": 2}}
    runs.watermark = plan.watermark
    assert runs.ids() == [2, 3]
    runs.options = {"cursor": {"column": "updated_at", "lag": "0s"}}
    assert "the cursor is updated_at now, and was id: everything is read" in runs.plan().notes
    assert runs.ids() == [1, 2, 3]


def test_a_row_from_the_future_doesnt_hide_those_of_now(spark: SparkSession, users: Database) -> None:
    runs = Runs(spark, users.url, {"cursor": {"column": "updated_at", "lag": "0s"}})
    put(users, 1, "2037-01-01 10:00:00")
    assert runs.ids() == [1]
    users.execute("INSERT INTO users VALUES (2, 'now', NOW(6) + INTERVAL 1 MINUTE)")
    assert runs.ids() == [1, 2]


def test_the_condition_and_the_cursor_both_hold_and_ranges_are_read_side_by_side(
    spark: SparkSession, users: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splits, "_LEAST_ROWS", 1)
    users.execute(
        "INSERT INTO users SELECT seq, IF(seq % 2, 'odd', 'even'), '2026-01-01' + INTERVAL seq SECOND"
        " FROM seq_1_to_2000"
    )
    users.execute("ANALYZE TABLE users")
    options = {"cursor": {"column": "updated_at", "lag": "0s"}, "where": "name = 'odd' OR id = 2 -- or two"}
    before = {"cursor": "updated_at", "tables": {f"{users.name}.users": 1_767_226_800_000_000}}  # 00:20:00
    runs = Runs(spark, users.url, options, before)
    assert len(runs.plan().splits) > 2
    assert runs.ids() == list(range(1201, 2001, 2))


def test_what_cannot_be_a_cursor_is_refused(spark: SparkSession, users: Database) -> None:
    for cursor, words in (
        ("name", "`cursor: name` is a varchar, which can't tell what is new"),
        ("upated_at", "`cursor` names 'upated_at', .* did you mean 'updated_at'"),
        ({"column": "id", "lag": "10m"}, "`lag: 10m` is a duration, and id is a int"),
        ({"column": "updated_at", "lag": 5}, "`lag: 5` is a number, and updated_at is a timestamp"),
    ):
        with pytest.raises(SourceError, match=words):
            Runs(spark, users.url, {"cursor": cursor}).plan()


@pytest.fixture
def shards(mariadb: MariaDb) -> Iterator[list[Database]]:
    """Two databases of three tables, with ten rows each."""
    found = [mariadb.new_database() for _ in range(2)]
    for i, database in enumerate(found):
        for j in range(3):
            database.execute(f"CREATE TABLE users_{j:02} (id INT PRIMARY KEY, name VARCHAR(20))")
            first = 1000 * i + 100 * j
            database.execute(f"INSERT INTO users_{j:02} SELECT seq, 'a' FROM seq_{first + 1}_to_{first + 10}")
    yield found
    for database in found:
        database.drop()


def test_shards_are_read_as_one_table_with_a_column_that_tells_them(
    spark: SparkSession, shards: list[Database], mariadb: MariaDb
) -> None:
    databases = "{" + ",".join(d.name for d in shards) + "}"
    options = {"database": databases, "table": "users_{00..02}", "shard_column": "shard"}
    found = Runs(spark, mariadb.url(), options).run()
    assert len(found) == 60
    assert found[0] == (1, "a", f"{shards[0].name}.users_00")
    assert found[-1] == (1210, "a", f"{shards[1].name}.users_02")
    for wild in ({"table": "users_*", "database": shards[0].name}, {"table": "users_0?", "database": shards[0].name}):
        assert len(Runs(spark, mariadb.url(), wild).run()) == 30
    snapshot = Runs(spark, mariadb.url(), {**options, "snapshot": True})
    assert len(snapshot.plan().splits) == 6
    assert snapshot.run() == found
    with pytest.raises(SourceError, match=r"no table of .* matches test_\d+\.orders_\*"):
        Runs(spark, shards[0].url, {"table": "orders_*"}).plan()
    shards[1].execute("ALTER TABLE users_01 MODIFY name VARCHAR(30)")
    with pytest.raises(SourceError, match=r"users_01: it has name varchar\(30\) where .*users_00 has name varchar\(20"):
        Runs(spark, mariadb.url(), options).plan()


def test_each_shard_has_a_watermark_of_its_own_and_a_new_one_is_read_whole(
    spark: SparkSession, shards: list[Database]
) -> None:
    one = shards[0]
    runs = Runs(spark, one.url, {"table": "users_*", "cursor": {"column": "id", "lag": 0}})
    assert len(runs.ids()) == 30
    one.execute("INSERT INTO users_00 VALUES (20, 'new')")
    one.execute("CREATE TABLE users_03 AS SELECT 7 AS id, CAST('a' AS CHAR(20)) AS name")
    one.execute("ALTER TABLE users_03 MODIFY id INT NOT NULL, MODIFY name VARCHAR(20)")
    assert runs.ids() == [7, 10, 20, 110, 210]


def test_patterns_of_names_say_what_they_stand_for() -> None:
    assert expanded("t_{08..11}") == ("t_08", "t_09", "t_10", "t_11")
    assert expanded("{a,b}_{0..1}*") == ("a_0*", "a_1*", "b_0*", "b_1*")
    for bad in ("t_{}", "t_{1}", "t_{9..1}", "t_{0..99999}", "{0..99}{0..99}", "t_{a"):
        with pytest.raises(ValueError, match=r"bad|stands for"):
            count_of(bad)


def test_only_what_has_snapshots_can_be_read_as_one(spark: SparkSession, users: Database) -> None:
    put(users, 1, None)
    assert Runs(spark, users.url, {"snapshot": True}).ids() == [1]
    users.execute("CREATE VIEW seen AS SELECT * FROM users")
    users.execute("CREATE TABLE old (id INT PRIMARY KEY) ENGINE = MyISAM")
    for table, what in (("seen", "a view"), ("old", "a MyISAM table")):
        with pytest.raises(SourceError, match=f"only an InnoDB table has snapshots, and this is {what}"):
            Runs(spark, users.url, {"snapshot": True, "table": table}).plan()


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Database, MariaDb]]:
    """A database of a primary, and its replica."""
    with (
        MariaDb({"log-bin": "on", "server-id": "1"}) as primary,
        MariaDb({"server-id": "2", "log-bin": "on"}) as copy,
    ):
        position = primary.execute("SELECT @@gtid_binlog_pos")[0][0]
        copy.execute(f"SET GLOBAL gtid_slave_pos = '{position}'")
        copy.execute(
            f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={primary.port}, MASTER_USER='{primary.user}',"
            f" MASTER_PASSWORD='{primary.password}', MASTER_USE_GTID=slave_pos"
        )
        copy.execute("START SLAVE")
        yield primary.new_database(), copy


def test_a_replica_is_read_in_place_of_its_primary_when_it_is_near_enough(
    spark: SparkSession, pair: tuple[Database, MariaDb], monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, copy = pair
    primary.execute("CREATE TABLE users (id INT PRIMARY KEY)")
    primary.execute("INSERT INTO users VALUES (1)")
    position = primary.execute("SELECT @@gtid_binlog_pos")[0][0]
    assert copy.execute(f"SELECT MASTER_GTID_WAIT('{position}', 60)") == [(0,)]
    copy.execute(f"INSERT INTO {primary.name}.users VALUES (2)")  # which only the replica has
    options = {"replica": {"connection": "replica", "max_lag": "1m"}}
    runs = Runs(spark, primary.url, options, replica_url=copy.url(primary.name))
    assert runs.ids() == [1, 2]
    copy.execute("STOP SLAVE SQL_THREAD")
    with pytest.raises(TransientError, match="isn't replicating"):
        runs.plan()
    copy.execute("START SLAVE")
    monkeypatch.setattr(replica, "_WAIT_S", 0.0)
    monkeypatch.setattr(replica, "_seconds_behind", lambda _: 61)
    with pytest.raises(TransientError, match=r"is 61 s behind its primary, more than max_lag \(1m\)"):
        runs.plan()
    monkeypatch.undo()
    with pytest.raises(SourceError, match="is named as a replica, and replicates nothing"):
        Runs(spark, copy.url(primary.name), options, replica_url=primary.url).plan()
