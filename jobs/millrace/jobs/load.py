"""The steps `load:<target>` and `verify:<target>`: the stage into a store, by column, and a look at what arrived."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from millrace.connectors.base import BatchTask, Loader, Target
from millrace.connectors.channel import run_channel
from millrace.connectors.gate import GateClient
from millrace.errors import ConservationError, DirtyLimitExceeded, VerifyFailed
from millrace.jobs import superseded
from millrace.jobs.columns import quoted
from millrace.jobs.context import RunContext, Stats, store_version
from millrace.jobs.quarantine import rows_to_load, staged_path
from millrace.jobs.spark_errors import translate
from millrace.jobs.stage import dirty_hint, gate_verdict
from millrace.jobs.staged import StagedRows, staged_frame, staged_rows
from millrace.jobs.statistics import TargetStatistics

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

TOTALS = "rows bigint, size bigint, dirty bigint, source_waited_s double, target_waited_s double, sample binary"
SHOWN_MISMATCHES = 5


def load(context: RunContext, name: str) -> Stats:
    """Load the stage into one target as a new version; called again it starts that version anew.

    Raises DirtyLimitExceeded, ConservationError, or what the store raises. Nothing becomes visible to readers.
    """
    step = f"load:{name}"
    doing = f"loading {context.spec.asset} into {name}"
    version = store_version(context.version())
    staged = rows_to_load(context)
    dirty_before = int(context.step_stats("stage")["rows_dirty"])
    context.catalog.dirty.clear(context.run_id, step)
    gate = context.gate.open_step(step, context.limits(dirty_before=dirty_before, expected_rows=staged))
    target = context.target(name)
    started = time.perf_counter()
    try:
        context.spark()  # waits for the session, whose JVM a target may want to use
        older = superseded.leave_out(context, name, staged_path(context), target.key_columns)
        rows = _rows(context, name, older)
        if wanted := target.wanted_keys(version):
            frame = staged_frame(context, staged_path(context))
            target.foresee(version, _some_keys(frame, target, wanted / max(wanted, staged)))
        target.prepare(version)
        totals, sample = _run_channels(rows, target.loader(version), gate)
        target.seal(version)
    except Exception as error:
        raise gate_verdict(context, step, translate(error, doing)) from error
    finally:
        target.close()
        context.catalog.dirty.add(context.run_id, step, context.gate.dirty_rows(step), target=name)
    context.storage.write(context.file("samples", f"{name}.arrow"), sample)
    seconds = round(time.perf_counter() - started, 3)
    verdict = context.gate.verdict(step)
    if verdict:
        raise DirtyLimitExceeded(verdict, hint=dirty_hint(context))
    if totals.rows_loaded + totals.rows_dirty + older != staged:
        raise ConservationError(
            f"{doing}: {staged:,} rows were staged, but {totals.rows_loaded:,} loaded + {totals.rows_dirty:,} dirty"
            f" + {older:,} superseded",
            hint="run again; report it when it happens twice",
        )
    return asdict(totals) | {"rows_superseded": older, "seconds": seconds}


def verify(context: RunContext, name: str) -> Stats:
    """Count what the store holds of the version, and compare a sample of rows with what was staged.

    Raises VerifyFailed with what was got and expected; readers keep the version that they have.
    """
    loaded = TargetStatistics(**context.step_stats(f"load:{name}"))
    version = store_version(context.version())
    target = context.target(name)
    doing = f"verifying {context.spec.asset} in {name}"
    try:
        gone = 0
        if target.probed(version):
            rows = _rows(context, name, loaded.rows_superseded)
            kept, deleted = rows.split(version.deletes) if version.deletes else (rows, None)
            found = run_over_keys(kept, target, target.probe(version))
            gone = deleted.count() if deleted is not None else 0
            left = run_over_keys(deleted, target, target.probe(version)) if deleted is not None and gone else 0
        else:
            found, left = target.count(version), 0
        sample = _read_sample(context.storage.read(context.file("samples", f"{name}.arrow")), version.deletes)
        wrong = target.mismatches(version, sample) if sample is not None else []
    except Exception as error:
        raise translate(error, doing) from error
    finally:
        target.close()
    expected = loaded.rows_loaded - gone
    if not expected <= found <= expected + loaded.rows_dirty:
        raise VerifyFailed(
            f"{doing}: {expected:,} rows were loaded, but the store holds {found:,}",
            hint="see what else writes to or evicts from this store (maxmemory-policy, TTL, a job); then run again",
        )
    if left:
        raise VerifyFailed(
            f"{doing}: the store still holds {left:,} of {gone:,} rows that were to go away",
            hint="a key that is both deleted and written in one run may end either way: add `dedupe` to the transform",
        )
    if wrong:
        shown = "\n    ".join(wrong[:SHOWN_MISMATCHES])
        raise VerifyFailed(
            f"{doing}: {len(wrong)} of {sample.num_rows if sample else 0} sampled rows differ:\n    {shown}",
            hint="rows with equal keys overwrite each other: add `dedupe` or a `unique` check; otherwise report it",
        )
    return {"rows_found": found, "rows_sampled": sample.num_rows if sample is not None else 0}


def run_over_keys(rows: StagedRows, target: Target, task: BatchTask) -> int:
    """Run a batch task over the key columns of a stage; the sum of its answers."""
    keys = rows.select(target.key_columns)
    return sum(int(row["found"]) for row in keys.through(_task(task), "found bigint"))


def _rows(context: RunContext, name: str, older: int) -> StagedRows:
    """What a target gets, split into as many tasks as the spec has channels, or fewer."""
    path = superseded.path(context, name) if older else staged_path(context)
    return staged_rows(context, path, context.plan().channels)


def _some_keys(frame: DataFrame, target: Target, fraction: float) -> pa.Table:
    """The key columns of about this part of the rows."""
    keys = frame.select(*map(quoted, target.key_columns))
    return (keys if fraction == 1 else keys.sample(fraction)).toArrow()


def _run_channels(staged: StagedRows, loader: Loader, gate: GateClient) -> tuple[TargetStatistics, bytes]:
    rows = staged.through(_channel(loader, gate), TOTALS)
    statistics = TargetStatistics(
        rows_loaded=sum(row["rows"] for row in rows),
        bytes_loaded=sum(row["size"] for row in rows),
        rows_dirty=sum(row["dirty"] for row in rows),
        source_waited_s=round(sum(row["source_waited_s"] for row in rows), 3),
        target_waited_s=round(sum(row["target_waited_s"] for row in rows), 3),
    )
    return statistics, _joined(bytes(row["sample"]) for row in rows if row["sample"])


def _channel(loader: Loader, gate: GateClient) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        totals = run_channel(batches, loader, gate)
        gate.close()
        yield pa.RecordBatch.from_pydict(
            {
                "rows": pa.array([totals.rows], pa.int64()),
                "size": pa.array([totals.size], pa.int64()),
                "dirty": pa.array([totals.dirty], pa.int64()),
                "source_waited_s": pa.array([totals.source_waited_s], pa.float64()),
                "target_waited_s": pa.array([totals.target_waited_s], pa.float64()),
                "sample": pa.array([totals.sample_bytes()], pa.binary()),
            }
        )

    return run


def _task(task: BatchTask) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        task.open()
        try:
            found = sum(task.run(batch) for batch in batches if batch.num_rows)
        finally:
            task.close()
        yield pa.RecordBatch.from_pydict({"found": pa.array([found], pa.int64())})

    return run


def _joined(streams: Iterator[bytes]) -> bytes:
    """Several Arrow IPC streams of one schema as one; empty when there are none."""
    import pyarrow as pa

    tables = [pa.ipc.open_stream(stream).read_all() for stream in streams]
    if not tables:
        return b""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
    return sink.getvalue()


def _read_sample(data: bytes, deletes: str | None) -> pa.Table | None:
    """The sampled rows that are to be there, without the column that tells which ones are not."""
    import pyarrow as pa

    if not data:
        return None
    sample = pa.ipc.open_stream(data).read_all()
    if deletes is None:
        return sample
    kept = [not goes for goes in sample[deletes].to_pylist()]
    return sample.filter(pa.array(kept, pa.bool_())).drop_columns([deletes])
