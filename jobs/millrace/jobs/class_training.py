"""What a run does with Spark, in small: the classes that this loads are those that the archive shares."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.connectors.base import PlanRequest, Window
from millrace.errors import NotFound
from millrace.jobs.gate import GateServer, StepLimits
from millrace.spec import Spec, parse_spec
from millrace.spec.connection import Connection

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType

_PLAIN = """
version: 1
asset: plain
source:
  log: {{path: "{path}", format: json, fields: {{id: bigint, name: string, paid: "decimal(20,2)", at: timestamp}}}}
checks:
  - not_null: [id]
  - unique: [id]
  - between: {{column: id, min: 0}}
  - in_set: {{column: name, values: [a, b]}}
  - row_count: {{min: 1}}
targets:
  - redis: {{connection: nowhere, key: "{{id}}"}}
"""
_TRANSFORMED = """
transform:
  - where: "length(name) > 0 and at is not null"
  - derive: {day: "date_trunc('DAY', at)", band: "floor(paid / 10) * 10"}
  - dedupe: {key: [id], keep: latest, by: at}
  - cast: {band: int}
"""
_LINES = "".join(
    f'{{"id": {n}, "name": "{"ab"[n % 2]}", "paid": "{n}.5", "at": "2026-01-02T03:04:0{n}Z"}}\n' for n in range(3)
)


def work(spark: SparkSession, folder: Path) -> None:
    """Stage, check and load in `folder`: first as the smallest run does, then with all that a transform may need."""
    lines = folder / "lines.json"
    lines.write_text(_LINES)
    plain = _PLAIN.format(path=lines)
    for number, text in enumerate((plain, plain + _TRANSFORMED)):
        _one(spark, parse_spec(text, path=folder / "plain.yaml"), str(folder / f"stage-{number}"))


def _one(spark: SparkSession, spec: Spec, stage: str) -> None:
    staged = spark.read.schema(_stage(spark, spec, stage)).parquet(stage)
    if importlib.util.find_spec("great_expectations") is not None:
        from millrace.quality import Past, judge

        judge(staged, spec.checks, Past())
    staged.coalesce(1).mapInArrow(_same, staged.schema).collect()
    spark.read.parquet(stage).count()


def _stage(spark: SparkSession, spec: Spec, stage: str) -> StructType:
    from pyspark.sql import functions as f

    from millrace.jobs.context import open_source
    from millrace.jobs.transform import new_observation, transform

    source = open_source(spec, _no_connection)
    plan = source.plan(PlanRequest(1, Window(), None, lambda: spark))
    with GateServer("127.0.0.1") as server:
        gate = server.open_step("read", StepLimits())
        read, seen = source.read(spark, plan, gate), new_observation("read")
        frame = transform(read.frame.observe(seen, f.count(f.lit(1)).alias("rows")), spec.transform, gate).frame
        frame.write.mode("overwrite").option("compression", "zstd").parquet(stage)
        assert seen.get["rows"]
    return frame.schema


def _no_connection(name: str) -> Connection:
    raise NotFound(f"no connection is needed here, and '{name}' was asked for", hint="report it")


def _same(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from batches
