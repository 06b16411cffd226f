"""The process that Spark's Python workers are forked from: it has imported, once, what each of them would import anew.

    spark.python.daemon.module = millrace.jobs.worker_daemon

PySpark's own daemon imports nothing, since a fork of a process with threads of its own may hang. What is imported here
starts none: NumPy's linear algebra is told not to, and jemalloc's (in pyarrow) is made to be forked.

A worker collects garbage after every task. What is imported here is none, and is left out of that: to look through it
took 40 ms of each task.
"""

from __future__ import annotations

import gc
import importlib
import os

NEEDED = (
    "pandas",
    "pyarrow.compute",
    "pyarrow.parquet",
    "pyspark.worker",
    "pyspark.sql.pandas.serializers",
    "millrace.connectors.channel",
    "millrace.connectors.gate",
    "millrace.jobs.stage_writer",
)


def main() -> None:
    """Import what workers need, then serve forks to the JVM as PySpark's daemon does."""
    load()
    from pyspark.daemon import manager

    manager()


def load() -> None:
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    for name in NEEDED:
        importlib.import_module(name)
    gc.freeze()


if __name__ == "__main__":
    main()
