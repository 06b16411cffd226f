"""MySQL → Arrow, on a real MariaDB: our source's read, warm, against connectorx with as many parts as we have channels.

    python -m benchmarks.mysql_read [--rows 2000000]

Ours ends in Arrow batches in Spark's Python workers, where the stage takes them; connectorx ends in one Arrow table.
With `MILLRACE_DATAX_HOME` (see benchmarks/datax.py) `.datax` reads the same table by DataX's mysqlreader into nothing.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

import connectorx
import pyarrow as pa

from benchmarks.datax import DataX
from benchmarks.harness import print_measure, rows_argument, side_by_side
from millrace.connectors.base import PlanRequest, Window
from millrace.connectors.mysql.options import MysqlOptions
from millrace.connectors.mysql.source import MysqlSource
from millrace.jobs.gate import GateServer, StepLimits
from millrace.jobs.launch import end_jvm
from millrace.jobs.session import SessionHolder
from millrace.spec.connection import parse_url
from millrace.spec.settings import Settings
from tests.servers.mariadb import Database, MariaDb

CHANNELS = max(4, os.cpu_count() or 1)
ROUNDS = 3
COLUMNS = """
  id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(40), city VARCHAR(20), age INT, score DOUBLE,
  updated_at DATETIME, note VARCHAR(80)
"""


def main() -> None:
    rows = rows_argument(__doc__, 2_000_000)
    with MariaDb({"innodb-buffer-pool-size": "1G"}) as server, tempfile.TemporaryDirectory() as home:
        database = server.new_database()
        database.execute(f"CREATE TABLE users ({COLUMNS})")
        database.execute(
            "INSERT INTO users SELECT seq, CONCAT('user ', seq), CONCAT('city ', seq % 1000), seq % 90, seq * 0.5,"
            f" '2026-01-01' + INTERVAL seq SECOND, CONCAT('a note about user number ', seq) FROM seq_1_to_{rows}"
        )
        session = SessionHolder(
            Settings.from_env({"MILLRACE_HOME": home, "MILLRACE_SPARK_MASTER": f"local[{CHANNELS}]"})
        )
        try:
            seconds = side_by_side(lambda: _ours(session, database, rows), lambda: _connectorx(database, rows), ROUNDS)
            datax = DataX.from_env()
            theirs = [datax.seconds(database, "users", "id", CHANNELS) for _ in range(ROUNDS)] if datax else []
        finally:
            session.stop()
            end_jvm()
    print_measure("mysql_read.connectorx", rows / seconds.ours, rows / seconds.reference, "rows/s")
    if theirs:
        print_measure("mysql_read.datax", rows / seconds.ours, rows / statistics.median(theirs), "rows/s")


def _ours(session: SessionHolder, database: Database, rows: int) -> None:
    """Plan and read the table; the batches are counted where the stage would write them."""
    options = MysqlOptions(connection="bench", table="users")
    source = MysqlSource(options, parse_url("bench", database.url, "the benchmark"))
    plan = source.plan(PlanRequest(CHANNELS, Window(), None, session.get))
    with GateServer() as gate:
        tasks = source.read(session.get(), plan, gate.open_step("read", StepLimits())).tasks
        assert tasks is not None
        counted = tasks.given.mapInArrow(_Counted(tasks.task), "rows bigint").collect()
    assert sum(row.rows for row in counted) == rows


@dataclass(frozen=True)
class _Counted:
    """How many rows a task makes."""

    task: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

    def __call__(self, given: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        rows = sum(batch.num_rows for batch in self.task(given))
        yield pa.RecordBatch.from_pydict({"rows": pa.array([rows], pa.int64())})


def _connectorx(database: Database, rows: int) -> None:
    server = database.server
    url = f"mysql://{server.user}:{quote(server.password, safe='')}@127.0.0.1:{server.port}/{database.name}"
    found = connectorx.read_sql(
        url, "SELECT * FROM users", partition_on="id", partition_num=CHANNELS, return_type="arrow"
    )
    assert found.num_rows == rows


if __name__ == "__main__":
    main()
