"""The step `stage`: read the plan's rows once, transform them, and keep them as Parquet.

Every row is accounted for: what Spark saw after the source, what each dropping step let through, what the tasks set
aside, and what the Parquet files hold are counted apart from each other and have to agree.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as f

from millrace.connectors.base import Gate, SourceRead
from millrace.connectors.channel import timed
from millrace.connectors.gate import GateClient
from millrace.connectors.wire.arrow_types import schema_of
from millrace.errors import ConservationError, DirtyLimitExceeded, RunFailed
from millrace.jobs.batches import map_batches
from millrace.jobs.columns import named
from millrace.jobs.context import RunContext, Stats
from millrace.jobs.judging import SOURCE, source_checks
from millrace.jobs.lines import refuse_other_columns, refuse_unordered, stored_columns
from millrace.jobs.plan import RunPlan, columns_of
from millrace.jobs.sharing import refuse_private_folder
from millrace.jobs.spark_errors import translate
from millrace.jobs.spark_metrics import waited_s
from millrace.jobs.stage_writer import StageTask, drafts_of, write_by_tasks
from millrace.jobs.staged import keep_schema
from millrace.jobs.statistics import SourceStatistics
from millrace.jobs.storage import LocalStorage
from millrace.jobs.transform import new_observation, only_columns, transform
from millrace.spec.types import Kind

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.column import Column as SparkColumn

_FIXED_BYTES = {
    Kind.BOOLEAN: 1,
    Kind.TINYINT: 1,
    Kind.SMALLINT: 2,
    Kind.INT: 4,
    Kind.BIGINT: 8,
    Kind.FLOAT: 4,
    Kind.DOUBLE: 8,
    Kind.DECIMAL: 16,
    Kind.DATE: 4,
    Kind.TIMESTAMP: 8,
    Kind.TIMESTAMP_NTZ: 8,
}


def stage(context: RunContext) -> Stats:
    """Write the stage; called again it starts anew from the same plan.

    Raises DirtyLimitExceeded, ConservationError, or what reading and transforming raise; the dirty rows are kept in
    the catalog in any case.
    """
    plan = context.plan()
    refuse_private_folder(context.storage, context.spark())
    doing = f"staging {context.spec.asset} from {plan.source_connector}"
    catalog, gate = context.catalog, context.gate
    for step in ("read", "cast"):
        catalog.dirty.clear(context.run_id, step)
    reading = gate.open_step("read", context.limits(expected_rows=plan.source.estimated_rows))
    casting = gate.open_step("cast", context.limits(expected_rows=plan.source.estimated_rows, together_with=("read",)))
    started = time.perf_counter()
    try:
        passed = _write(context, plan, reading, casting)
    except Exception as error:
        raise gate_verdict(context, "cast", translate(error, doing)) from error
    finally:
        for step in ("read", "cast"):
            catalog.dirty.add(context.run_id, step, gate.dirty_rows(step))
    statistics = _count(context, passed, time.perf_counter() - started)
    verdict = gate.verdict("cast")
    if verdict:
        raise DirtyLimitExceeded(verdict, hint=dirty_hint(context))
    if statistics.lost:
        raise ConservationError(
            f"{doing}: {statistics.rows_read:,} rows were read, but {statistics.rows_staged:,} staged + "
            f"{statistics.rows_dirty:,} dirty + {statistics.rows_filtered:,} filtered leave {statistics.lost:,} "
            "unexplained",
            hint="the source may have changed while it was read; run again, and report it when it happens twice",
        )
    return asdict(statistics)


def gate_verdict(context: RunContext, step: str, error: Exception) -> Exception:
    """The dirty limit when that is why the tasks of `step` stopped, otherwise the error itself."""
    verdict = context.gate.verdict(step)
    return DirtyLimitExceeded(verdict, hint=dirty_hint(context)) if verdict else error


def dirty_hint(context: RunContext) -> str:
    return (
        f"look at them with `millrace dirty {context.spec.asset}`; mend the source, or raise limits.dirty in the spec"
    )


def paced(context: RunContext, read: SourceRead, reading: GateClient) -> DataFrame:
    """What is read, no faster than the spec's limits allow."""
    limited = context.spec.limits.rows_per_second or context.spec.limits.bytes_per_second
    if read.gated or not limited:
        return read.frame
    return map_batches(read.frame, _pass(reading), read.frame.schema)


def _check_targets(context: RunContext, frame: DataFrame) -> None:
    """Before anything is read: reach every target, and ask whether it can hold the transform's columns."""
    try:
        columns = columns_of(frame.schema)
    except ValueError as error:
        asset = context.spec.asset
        raise RunFailed(f"analysing the transform of {asset}: {error}", hint="cast it to one of these types") from error
    stored = stored_columns(context.spec.asset, columns, context.spec.deletes)
    refuse_unordered(context.spec.asset, columns, context.spec.latest_by)
    current = context.catalog.versions.current(context.spec.asset)
    if current is not None and current.rows_id == context.plan().line:
        refuse_other_columns(current, stored)
    for entry in context.spec.targets:
        target = context.target(entry.name)
        try:
            target.check(stored)
        finally:
            target.close()


@dataclass(frozen=True)
class _Passed:
    """What came out of the source (dirty rows not among it), and what the transform dropped of it."""

    rows: int
    filtered: int = 0
    size: int | None = None  # None: the gate has counted it


def _write(context: RunContext, plan: RunPlan, reading: GateClient, casting: GateClient) -> _Passed:
    spark = context.spark()
    read = context.source().read(spark, plan.source, reading)
    frame = paced(context, read, reading)
    measured = new_observation("read")
    frame = frame.observe(measured, f.count(f.lit(1)).alias("rows"), *_sizes(read, plan))
    result = transform(frame, context.spec.transform, casting)
    _check_targets(context, result.frame)
    written = _write_by_tasks(context, plan, read, result.frame)
    if written is not None:
        return written
    if source_checks(context.spec):  # they look at the rows that were read, and the source is read only once
        _partitions(spark, frame, plan.channels).write.mode("overwrite").parquet(context.file(SOURCE))
        kept = spark.read.schema(frame.schema).parquet(context.file(SOURCE))
        result = transform(kept, context.spec.transform, casting)
    wanted = _partitions(spark, result.frame, plan.channels)
    wanted.write.mode("overwrite").option("compression", "zstd").parquet(context.file("stage"))
    keep_schema(context.storage, context.file("stage"), result.frame.schema)
    seen = measured.get
    return _Passed(int(seen["rows"]), sum(counter.filtered for counter in result.counters), seen.get("bytes"))


def _write_by_tasks(context: RunContext, plan: RunPlan, read: SourceRead, staged: DataFrame) -> _Passed | None:
    """Have the source's own tasks write the stage, where they can: None where Spark has to, and nothing is done yet."""
    storage, names = context.storage, [column.name for column in plan.source.columns]
    left = only_columns(names, context.spec.transform)
    if read.tasks is None or not isinstance(storage, LocalStorage) or source_checks(context.spec):
        return None
    if left is None or list(left) != staged.columns:
        return None
    stage = Path(storage.local(context.file("stage")))
    places = [names.index(name) for name in left.values()]
    columns = [replace(plan.source.columns[at], name=name) for name, at in zip(left, places, strict=True)]
    task = StageTask(read.tasks.task, places, schema_of(columns), drafts_of(stage))
    written = write_by_tasks(_partitions(context.spark(), read.tasks.given, plan.channels), task, stage)
    context.gate.settle("read", written.attempts)
    keep_schema(storage, context.file("stage"), staged.schema)
    return _Passed(written.rows)


def _partitions(spark: SparkSession, frame: DataFrame, channels: int) -> DataFrame:
    """Hold a step to its channels: no more tasks at once than that, when the cluster has more slots."""
    if channels >= spark.sparkContext.defaultParallelism:
        return frame
    return frame.coalesce(channels)


def _pass(gate: Gate) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def through(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for seconds, batch in timed(batches):
            gate.admit(batch.num_rows, batch.nbytes)
            gate.done(batch.num_rows, batch.nbytes, waited=seconds)
            yield batch

    return through


def _sizes(read: SourceRead, plan: RunPlan) -> list[SparkColumn]:
    """For a source without Python tasks: the bytes of its values, counted where they pass."""
    if read.gated:
        return []
    lengths: SparkColumn = f.lit(sum(_FIXED_BYTES.get(c.type.kind, 0) for c in plan.source.columns)).cast("bigint")
    for column in plan.source.columns:
        if column.type.kind in (Kind.STRING, Kind.BINARY):
            lengths = lengths + f.coalesce(f.octet_length(named(column.name)), f.lit(0))
    return [f.sum(lengths).alias("bytes")]


def _count(context: RunContext, passed: _Passed, seconds: float) -> SourceStatistics:
    reading, casting = context.gate.count("read"), context.gate.count("cast")
    path = context.file("stage")
    return SourceStatistics(
        rows_read=passed.rows + reading.dirty,
        bytes_read=int(passed.size or reading.size),
        rows_filtered=passed.filtered,
        rows_dirty=reading.dirty + casting.dirty,
        rows_staged=context.storage.parquet_rows(path),
        bytes_staged=context.storage.size(path),
        seconds=round(seconds, 3),
        waited_s=round(reading.waited_s or waited_s(context.spark(), context.source().wait_metrics), 3) or None,
    )
