"""The Spark configuration of a session: ours, and the user's on top. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping

from millrace.jobs import jvm
from millrace.spec.settings import Settings

_ALWAYS: Mapping[str, str] = {
    "spark.sql.ansi.enabled": "true",
    "spark.scheduler.mode": "FAIR",  # targets are loaded side by side
    "spark.sql.session.timeZone": "UTC",
    "spark.python.sql.dataFrameDebugging.enabled": "false",  # six calls to the JVM for each expression that is written
    "spark.sql.execution.arrow.maxRecordsPerBatch": "32768",
    "spark.sql.execution.arrow.maxBytesPerBatch": str(64 << 20),  # rows of megabytes must not fill a worker
    "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled": "false",  # hangs over Parquet in 4.2.0: SPARK-58241
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.adaptive.coalescePartitions.parallelismFirst": "true",
}
_LOCAL: Mapping[str, str] = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.catalogImplementation": "in-memory",
    "spark.sql.shuffle.partitions": "8",
    "spark.executor.heartbeatInterval": "1s",
    "spark.python.daemon.module": "millrace.jobs.worker_daemon",
    "spark.executorEnv.SPARK_SIMPLIFIED_TRACEBACK": "1",  # as SQL's workers have it: all come from one daemon then
}


def configuration(settings: Settings, channels: int) -> dict[str, str]:
    """The session's Spark configuration: ours below, the user's `spark_conf` on top. Pure."""
    master = settings.spark_master
    if master == "local[*]" and channels:
        master = f"local[{max(channels, os.cpu_count() or 1)}]"
    conf = {**_ALWAYS, **(_LOCAL if master.startswith("local") else {})}
    jars = jvm.extra_jars()
    if jars:
        conf["spark.jars" if not master.startswith("local") else "spark.driver.extraClassPath"] = (
            "," if not master.startswith("local") else ":"
        ).join(str(jar) for jar in jars)
    return {**conf, "spark.master": master, **settings.spark_conf}
