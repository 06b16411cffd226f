"""A program of its own: Spark loads a million wide rows into ClickHouse while its workers are killed, and tries again.

    MILLRACE_CONNECTION_WAREHOUSE=clickhouse://… python spark_program.py WORK_FOLDER

Partition 1 is killed after its first insert, partition 2 right after its loader has finished, partition 3 before it has
written anything; each leaves a file `killed-N` in the folder. Then it writes two versions of an asset `numbers` by
Spark's own `write`. Prints what the store holds as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import SparkSession

from millrace.connectors.base import Field, Version
from millrace.connectors.channel import run_channel
from millrace.connectors.clickhouse.load import ClickHouseTarget
from millrace.connectors.clickhouse.options import ClickHouseOptions
from millrace.connectors.spark_format import register
from millrace.jobs.session import spark_session
from millrace.spec.connection import resolve
from millrace.spec.settings import Settings
from millrace.spec.types import column

ROWS, PARTITIONS, TEXTS = 1_200_000, 4, 8
COLUMNS = [
    column("id", "bigint"),
    *(column(f"text_{n}", "string") for n in range(TEXTS)),
    column("ratio", "double"),
    column("at", "timestamp"),
    column("price", "decimal(12,2)"),
]
EXPRESSIONS = [
    "id",
    *(f"concat('text {n} of row ', id) AS text_{n}" for n in range(TEXTS)),
    "id / 7 AS ratio",
    "timestamp_seconds(id) AS at",
    "cast(id % 1000 / 100 AS decimal(12,2)) AS price",
]


class NoGate:
    """No budget and no limit, and nobody to tell."""

    def admit(self, rows: int, size: int) -> None:
        """There is no budget."""

    def done(self, rows: int, size: int, dirty: Any = (), waited: float = 0.0) -> None:
        assert not dirty


def kill_worker(folder: str, partition: int) -> None:
    """End this process as the kernel would, when it is the first one at work on the partition."""
    context = TaskContext.get()
    assert context is not None
    if context.partitionId() == partition and context.attemptNumber() == 0:
        Path(folder, f"killed-{partition}").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def dying(batches: Iterator[pa.RecordBatch], folder: str) -> Iterator[pa.RecordBatch]:
    """The batches of a task; the worker of partitions 1 and 3 dies on the way."""
    kill_worker(folder, partition=3)
    rows = 0
    for batch in batches:
        rows += batch.num_rows
        yield batch
        if rows > 260_000:  # one insert is done, the next has not begun
            kill_worker(folder, partition=1)


def load(spark: SparkSession, folder: str) -> dict[str, Any]:
    """A version of the asset `wide`, through dying workers; what the tasks have told and what the store holds."""
    frame = spark.range(0, ROWS, 1, PARTITIONS).selectExpr(*EXPRESSIONS)
    target = ClickHouseTarget(ClickHouseOptions(connection="warehouse", order_by=("id",)), resolve("warehouse"))
    version = Version("wide", "v1", tuple(Field(c, n) for n, c in enumerate(COLUMNS, start=1)))
    target.check(version.columns)
    target.prepare(version)
    loader = target.loader(version)

    def channel(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        totals = run_channel(dying(batches, folder), loader, NoGate())
        kill_worker(folder, partition=2)
        sample = pa.array([totals.sample_bytes()], pa.binary())
        yield pa.RecordBatch.from_arrays([pa.array([totals.rows]), sample], names=["rows", "sample"])

    told = frame.mapInArrow(channel, "rows bigint, sample binary").collect()
    target.seal(version)
    samples = pa.concat_tables([pa.ipc.open_stream(row.sample).read_all() for row in told])
    mismatches = target.mismatches(version, samples)
    count = target.count(version)
    target.publish(version)
    target.close()
    return {
        "told": sum(row.rows for row in told),
        "count": count,
        "sampled": samples.num_rows,
        "mismatches": mismatches,
    }


def write(spark: SparkSession) -> None:
    register(spark)
    frame = spark.range(0, 100_000, 1, 3).selectExpr("id", "array(cast(id AS string)) AS tags")
    options = {"connection": "warehouse", "asset": "numbers", "order_by": '["id"]'}
    for _ in range(2):
        frame.write.format("millrace_clickhouse").options(**options).mode("append").save()


def main(folder: str) -> None:
    settings = {"MILLRACE_HOME": folder, "MILLRACE_SPARK_MASTER": "local[2,3]"}
    spark = spark_session(Settings.from_env({**settings, "MILLRACE_SPARK_CONF": "spark.driver.memory=1g"}), "killed")
    found = load(spark, folder)
    write(spark)
    spark.stop()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
