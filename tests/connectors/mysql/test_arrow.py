"""Reading by column: what a task does when the server fails it, and how much it holds."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from millrace.connectors.base import DirtyRow
from millrace.connectors.mysql.arrow import ArrowTask, batch_rows
from millrace.connectors.mysql.endpoint import endpoint
from millrace.errors import SourceError, TransientError
from millrace.jobs.spark_errors import translate
from millrace.spec.connection import parse_url
from millrace.spec.types import column
from tests.servers.mariadb import Database, MariaDb

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class OpenGate:
    """Admits everything, and counts."""

    def __init__(self) -> None:
        self.rows = 0

    def admit(self, rows: int, size: int) -> None:
        assert rows > 0 < size

    def done(self, rows: int, size: int, dirty: Sequence[DirtyRow] = (), waited: float = 0.0) -> None:
        self.rows += rows


class Stopping(OpenGate):
    """Stops a process when the first rows have come."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self._pid = pid

    def done(self, rows: int, size: int, dirty: Sequence[DirtyRow] = (), waited: float = 0.0) -> None:
        if not self.rows:
            os.kill(self._pid, signal.SIGSTOP)
        super().done(rows, size, dirty, waited)


@pytest.fixture(scope="module")
def own() -> Iterator[MariaDb]:
    with MariaDb() as server:
        yield server


@pytest.fixture
def database(own: MariaDb) -> Iterator[Database]:
    found = own.new_database()
    found.execute("CREATE TABLE users (id INT PRIMARY KEY, name TEXT)")
    found.execute("INSERT INTO users SELECT seq, REPEAT('x', 100) FROM seq_1_to_20000")
    yield found
    found.drop()


def task(database: Database, sql: str, params: str = "", rows: int = 100) -> ArrowTask:
    end = endpoint(parse_url("db", f"{database.url}{params}", "the test"))
    return ArrowTask(end, {}, (sql,), (column("id", "int"), column("name", "string")), rows, OpenGate())


def read(of: ArrowTask) -> Iterator[pa.RecordBatch]:
    return of(iter([pa.RecordBatch.from_pydict({"id": [0]})]))


def names(database: Database, more: str = "") -> str:
    return f"SELECT id AS c0, name AS c1 FROM {database.name}.users {more}"


def test_rows_come_in_batches_through_the_gate(database: Database) -> None:
    of = task(database, names(database, "ORDER BY id"), rows=8000)
    batches = list(read(of))
    assert [batch.num_rows for batch in batches] == [8000, 8000, 4000]
    assert batches[2].slice(3999).to_pylist() == [{"id": 20000, "name": "x" * 100}]
    assert of.gate.rows == 20000  # type: ignore[attr-defined]  # the test's own gate


def endless(database: Database) -> str:
    return names(database, f"JOIN {database.name}.seq_1_to_1000")


def test_a_slow_target_may_make_the_server_wait(database: Database) -> None:
    of = task(database, "SELECT @@net_write_timeout AS c0, @@time_zone AS c1")
    [batch] = read(of)
    assert batch.to_pylist() == [{"id": 600, "name": "+00:00"}]
    [batch] = read(replace(of, session={"net_write_timeout": 3600}))
    assert batch.to_pylist() == [{"id": 3600, "name": "+00:00"}]


@pytest.mark.parametrize("what", ["QUERY", "CONNECTION"])
def test_a_read_that_is_killed_in_the_middle_fails_and_is_never_taken_for_whole(database: Database, what: str) -> None:
    found = read(task(database, endless(database)))
    next(found)
    [(number,)] = database.execute(
        "SELECT id FROM information_schema.processlist WHERE info LIKE '%seq_1_to_1000%' AND id <> CONNECTION_ID()"
    )
    database.execute(f"KILL {what} {number}")
    with pytest.raises((SourceError, TransientError), match=r"interrupted|stream|lost"):
        list(found)


def test_a_server_that_falls_silent_is_given_up_after_the_read_timeout(
    database: Database, own: MariaDb, spark: SparkSession
) -> None:
    of = task(database, endless(database), params="?read-timeout=2")
    stopping = replace(of, gate=Stopping(own.pid))
    try:
        with pytest.raises(Exception, match=r".") as caught:
            spark.range(0, 1, 1, 1).mapInArrow(stopping, "id int, name string").count()
    finally:
        os.kill(own.pid, signal.SIGCONT)
    error = translate(caught.value, "staging users")
    assert isinstance(error, TransientError), caught.value
    assert "read-timeout" in error.hint


@pytest.mark.parametrize(
    ("params", "sql", "error", "words"),
    [
        ("", "SELECT nothing AS c0, 1 AS c1", SourceError, "Unknown column 'nothing'"),
        ("", "SELECT 1 AS c0, name AS c1 FROM nowhere.t", SourceError, r"doesn't exist|Unknown database"),
    ],
)
def test_what_the_server_refuses_is_told_in_its_words(
    database: Database, params: str, sql: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        list(read(task(database, sql, params)))


def test_nobody_listening_is_a_reason_to_try_again_at_once(database: Database) -> None:
    end = endpoint(parse_url("db", "mysql://u:p@127.0.0.1:1/x", "the test"))
    of = task(database, names(database))
    with pytest.raises(TransientError, match="Connection refused"):
        list(read(ArrowTask(end, {}, of.statements, of.columns, 10, of.gate)))


def test_a_reader_that_stops_early_ends_its_statement(database: Database) -> None:
    found = read(task(database, endless(database)))
    next(found)
    found.close()  # type: ignore[attr-defined]  # it is a generator
    assert _gone(database)


def _gone(database: Database) -> bool:
    for _ in range(600):
        running = database.execute(
            "SELECT id FROM information_schema.processlist WHERE info LIKE '%seq_1_to_1000%' AND id <> CONNECTION_ID()"
        )
        if not running:
            return True
        database.execute("DO SLEEP(0.1)")
    return False


@pytest.mark.parametrize(("size", "rows"), [(0, 16_384), (100, 16_384), (1 << 20, 4), (10 << 20, 1)])
def test_a_batch_is_smaller_the_larger_the_rows(size: int, rows: int) -> None:
    assert batch_rows(size) == rows


def test_the_password_never_shows(database: Database) -> None:
    of: Any = task(database, names(database))
    assert database.server.password not in repr(of)
