"""Whether executors see the folder that stages go to. On one machine they do; on a cluster that is to be shown."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from millrace.errors import ConfigError
from millrace.jobs.storage import LocalStorage, Storage
from millrace.spec.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

_PROBES_PER_SLOT = 2
_HINT = (
    "set MILLRACE_WORK_DIR to a place that every node reaches: hdfs://…, s3a://…, or file:///… of a folder that is "
    "mounted on all of them"
)


def refuse_plain_folder(settings: Settings) -> None:
    """Raise ConfigError when tasks run elsewhere, and nobody has said that they see the work directory."""
    if not settings.spark_master.startswith("local") and not urlsplit(settings.work_dir).scheme:
        raise ConfigError(
            f"the work directory {settings.work_dir} is a folder of this machine, and tasks run on"
            f" {settings.spark_master}",
            hint=_HINT,
        )


def refuse_private_folder(storage: Storage, spark: SparkSession) -> None:
    """Raise ConfigError when executors don't see the folder that is said to be mounted everywhere."""
    if str(spark.sparkContext.master).startswith("local") or not isinstance(storage, LocalStorage):
        return
    probe = storage.path(f".probe-{secrets.token_hex(8)}")
    storage.write(probe, b"")
    try:
        blind = hosts_without(spark, storage.local(probe))
    finally:
        storage.remove(probe)
    if blind:
        raise ConfigError(f"executors on {', '.join(blind)} don't see {storage.path()}", hint=_HINT)


def hosts_without(spark: SparkSession, path: str) -> list[str]:
    """The hosts of executors that don't see a file which the driver has just written."""
    slots = spark.sparkContext.defaultParallelism * _PROBES_PER_SLOT

    def look(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for _ in batches:
            hosts = [] if os.path.exists(path) else [socket.gethostname()]
            yield pa.RecordBatch.from_arrays([pa.array(hosts, pa.string())], ["host"])

    found = spark.range(0, slots, 1, slots).mapInArrow(look, "host string").distinct().collect()
    return sorted(row.host for row in found)
