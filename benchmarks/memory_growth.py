"""What a run holds in memory, when a table is twenty times as long: MySQL → Redis, on real servers.

    python -m benchmarks.memory_growth [--rows 20000000]

Peaks of resident memory in MiB: `.driver` is Spark's JVM, here with a heap of 1 GiB, which it fills before it collects;
`.workers` are all Python workers together; `.process` is the run itself. `.heap` is what the JVM still holds after the
run and a collection. The reference is the shorter table, read in the same session right before, so a ratio near 1 says
that nothing grows. Redis takes 6 GB for 20 M rows.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness import print_measure, rows_argument
from benchmarks.mysql_to_redis import COLUMNS, fill, open_session, run_table
from millrace.jobs.session import SessionHolder
from tests.servers.mariadb import MariaDb
from tests.servers.redis import RedisServer

TIMES = 20


def main() -> None:
    rows = rows_argument(__doc__, 20_000_000)
    os.environ["MILLRACE_SPARK_CONF"] = "spark.driver.memory=1g"
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder, MariaDb() as mysql, RedisServer() as store:
        database = mysql.new_database()
        for table, count in (("few", rows // TIMES), ("many", rows)):
            database.execute(f"CREATE TABLE {table} ({COLUMNS})")
            database.execute(fill(table, count))
        os.environ |= {"MILLRACE_CONNECTION_BENCH_MYSQL": database.url, "MILLRACE_CONNECTION_BENCH_REDIS": store.url}
        with open_session(Path(folder)) as (settings, session):
            peaks, held = {}, {}
            for table in ("few", "few", "many"):
                store.flush()
                _, peaks[table] = run_table(settings, session, table)
                held[table] = _heap_mib(session)
    for part in ("driver", "workers", "process"):
        long, short = (getattr(peaks[table], f"{part}_mib") for table in ("many", "few"))
        print_measure(f"memory_growth.{part}", long, short, "MiB")
    print_measure("memory_growth.heap", held["many"], held["few"], "MiB")


def _heap_mib(session: SessionHolder) -> float:
    """What the JVM's heap holds, after a collection."""
    jvm: Any = session.get().sparkContext._jvm
    jvm.System.gc()
    runtime = jvm.Runtime.getRuntime()
    return float(runtime.totalMemory() - runtime.freeMemory()) / (1 << 20)


if __name__ == "__main__":
    main()
