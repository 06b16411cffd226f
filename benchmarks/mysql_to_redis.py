"""MySQL → Redis through a whole run, on a real MariaDB and a real Redis.

    python -m benchmarks.mysql_to_redis [--rows 3000000]

`.load`: the load step against `redis-cli --pipe` with a `SET` for each row, encoded beforehand.
`.load_mset`: the same step against `redis-cli --pipe` with the very commands that it sends now, 16 rows an `MSET`.
`.run`: the whole run after the session's start (plan, stage, checks, load, verify, publish, retire) against a script
of pymysql and a redis-py pipeline of 1,000, over a tenth of the rows.
`.memory`: peak resident memory of Spark's driver and of its Python workers, in MiB; the reference is the same with a
quarter of the rows, so a ratio near 1 says that it does not grow with the table.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pymysql
import redis

from benchmarks.harness import print_measure, rows_argument, timed
from benchmarks.memory import Peak, watched_memory
from millrace.catalog import Catalog
from millrace.connectors.base import Field
from millrace.connectors.redis.columns import ROWS_PER_MSET
from millrace.connectors.wire import json as json_values
from millrace.connectors.wire.arrow_types import columns_of
from millrace.connectors.wire.key_template import render_template
from millrace.connectors.wire.resp import Commands, mset_commands, set_commands
from millrace.jobs import runner
from millrace.jobs.launch import end_jvm
from millrace.jobs.session import SessionHolder
from millrace.spec import load_spec
from millrace.spec.settings import Settings
from tests.servers.mariadb import MariaDb
from tests.servers.redis import RedisServer

SPEC = """
version: 1
asset: users
source:
  mysql: {{connection: bench_mysql, table: {table}, split_by: id}}
checks:
  - not_null: [id, name]
  - unique: [id]
  - between: {{column: age, min: 0, max: 150}}
  - row_count: {{min: 1}}
targets:
  - redis: {{connection: bench_redis, key: "{{id}}", value: json}}
limits: {{channels: {channels}}}
versions: {{keep: 2}}
"""
COLUMNS = """
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY, name VARCHAR(40), city VARCHAR(20), age INT, score DOUBLE,
  updated_at DATETIME, note VARCHAR(80)
"""


def main() -> None:
    rows = rows_argument(__doc__, 3_000_000)
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder, MariaDb() as mysql, RedisServer() as store:
        database = mysql.new_database()
        for table, count in (("small", rows // 4), ("users", rows)):
            database.execute(f"CREATE TABLE {table} ({COLUMNS})")
            database.execute(fill(table, count))
        os.environ |= {"MILLRACE_CONNECTION_BENCH_MYSQL": database.url, "MILLRACE_CONNECTION_BENCH_REDIS": store.url}
        with open_session(Path(folder)) as (settings, session):
            small = run_table(settings, session, "small")
            store.flush()
            run_table(settings, session, "users")
            store.flush()
            report, memory = run_table(settings, session, "users")
            stage = settings.home / "work" / "users" / report.run_id / "stage"
            set_s = _pipe(store, stage, Path(folder) / "commands", set_commands)
            mset_s = _pipe(store, stage, Path(folder) / "commands", partial(mset_commands, per_command=ROWS_PER_MSET))
        load_s = report.statistics.targets["redis"].seconds
        print_measure("mysql_to_redis.load", rows / load_s, rows / set_s, "rows/s")
        print_measure("mysql_to_redis.load_mset", rows / load_s, rows / mset_s, "rows/s")
        script = _script(database.connect(), store, rows // 10)
        print_measure("mysql_to_redis.run", rows / report.statistics.seconds, script, "rows/s")
        for part in ("driver_mib", "workers_mib"):
            full, quarter = getattr(memory, part), getattr(small[1], part)
            print_measure(f"mysql_to_redis.memory.{part.removesuffix('_mib')}", full, quarter, "MiB")


def fill(table: str, rows: int) -> str:
    return f"""INSERT INTO {table} SELECT seq, CONCAT('user ', seq), CONCAT('city ', seq % 1000), seq % 90, seq * 0.5,
        '2026-01-01' + INTERVAL seq SECOND, CONCAT('a note about user number ', seq) FROM seq_1_to_{rows}"""


@contextmanager
def open_session(folder: Path) -> Iterator[tuple[Settings, SessionHolder]]:
    settings = Settings.from_env({**os.environ, "MILLRACE_HOME": str(folder)})
    session = SessionHolder(settings)
    session.get()
    try:
        yield settings, session
    finally:
        session.stop()
        end_jvm()


def run_table(settings: Settings, session: SessionHolder, table: str) -> tuple[runner.RunReport, Peak]:
    path = settings.home / f"{table}.yaml"
    path.write_text(SPEC.format(table=table, channels=os.cpu_count()))
    with watched_memory() as memory, Catalog.open(settings.catalog_url) as catalog:
        report = runner.run(load_spec(path), settings, catalog, session)
    if report.error is not None:
        raise report.error
    return report, memory


def _pipe(store: RedisServer, stage: Path, file: Path, encode: Callable[..., Commands]) -> float:
    """Seconds that `redis-cli --pipe` takes for the stage's rows as commands, encoded into a file beforehand."""
    with file.open("wb") as out:
        for path in sorted(stage.glob("*.parquet")):
            table = pq.read_table(path)
            fields = [Field(column, number) for number, column in enumerate(columns_of(table.schema), start=1)]
            for batch in table.to_batches():
                keys = render_template("users:abcdefghij:{id}", batch).values
                out.write(encode(keys, json_values.encode(batch, fields).values).data)
    store.flush()
    with file.open("rb") as commands:
        command = ["redis-cli", "-p", str(store.port), "--pipe"]
        return timed(lambda: subprocess.run(command, stdin=commands, check=True, stdout=subprocess.DEVNULL))


def _script(connection: pymysql.Connection, store: RedisServer, rows: int) -> float:
    """Rows a second of the script that one would write by hand."""
    client = redis.Redis(port=store.port)
    started = time.perf_counter()
    with connection.cursor(pymysql.cursors.SSDictCursor) as cursor:
        cursor.execute(f"SELECT * FROM users LIMIT {rows}")
        pipeline = client.pipeline(transaction=False)
        for number, row in enumerate(cursor, start=1):
            pipeline.set(f"script:{row['id']}", json.dumps(row, default=str))
            if number % 1000 == 0:
                pipeline.execute()
        pipeline.execute()
    return rows / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
