"""A stage that is written by the tasks that read the source: their batches go to Parquet without a way through the JVM.

Each attempt of a task writes a draft of its own. The driver keeps those that Spark's answer names, and removes the
rest: a task that was killed, was run again or raced a copy of itself leaves each of its rows once.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.connectors.gate import task_identity

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyspark.sql import DataFrame

    Batches = Iterator[pa.RecordBatch]

_WRITTEN = "draft string, rows bigint, task string, attempt bigint"
_DRAFTS = "_drafts-{}"  # Spark reads nothing that begins so
#: Of values before compression: what a task holds of its rows, and what is read at once of a stage at least.
_GROUP_BYTES = 32 << 20


@dataclass(frozen=True)
class StageTask:
    """What a task does: the batches of a source's own task, written to a draft below `drafts`.

    `places` says which of a batch's columns are those of `schema`, in its order and of its types.
    """

    task: Callable[[Batches], Batches]
    places: Sequence[int]
    schema: pa.Schema
    drafts: str

    def __call__(self, given: Batches) -> Batches:
        import pyarrow as pa

        name, attempt = task_identity()
        draft = f"{self.drafts}/{secrets.token_hex(8)}.parquet"
        try:
            rows = self._write(self.task(given), draft)
        except BaseException:
            with suppress(OSError):
                os.unlink(draft)
            raise
        yield pa.RecordBatch.from_pydict(
            {
                "draft": pa.array([draft if rows else None], pa.string()),
                "rows": pa.array([rows], pa.int64()),
                "task": pa.array([name], pa.string()),
                "attempt": pa.array([attempt], pa.int64()),
            }
        )

    def _write(self, batches: Batches, draft: str) -> int:
        """The rows that were written; without any, the draft is gone again."""
        import pyarrow as pa

        rows = 0
        with _writer(draft, self.schema) as file:
            for group in _groups(self._staged(batch) for batch in batches if batch.num_rows):
                table = pa.Table.from_batches(group)
                file.write_table(table, row_group_size=table.num_rows)
                rows += table.num_rows
        if not rows:
            os.unlink(draft)
        return rows

    def _staged(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        import pyarrow as pa

        columns = [batch.column(place) for place in self.places]
        return pa.RecordBatch.from_arrays(columns, names=self.schema.names).cast(self.schema)


@dataclass(frozen=True)
class Written:
    """How many rows the tasks got from their source and wrote, and which attempt of each task they came from."""

    rows: int
    attempts: Mapping[str, int]


def write_by_tasks(given: DataFrame, task: StageTask, stage: Path) -> Written:
    """Run the tasks over `given`, and have in the folder `stage` what they wrote: at least one file, and no other.

    What the folder held before is gone from the start on; when a task fails, it stays without any file.
    """
    if stage.exists():
        shutil.rmtree(stage)
    Path(task.drafts).mkdir(parents=True)
    try:
        written = given.mapInArrow(task, _WRITTEN).collect()
        for number, row in enumerate(row for row in written if row.draft is not None):
            os.rename(row.draft, stage / f"part-{number:05d}.parquet")
        if not any(row.rows for row in written):
            _writer(str(stage / "part-00000.parquet"), task.schema).close()
    finally:
        shutil.rmtree(task.drafts, ignore_errors=True)
    return Written(sum(row.rows for row in written), {row.task: row.attempt for row in written})


def drafts_of(stage: Path) -> str:
    """A place for the drafts of one call: what still runs of an earlier one does not find it."""
    return str(stage / _DRAFTS.format(secrets.token_hex(8)))


def _writer(path: str, schema: pa.Schema) -> pq.ParquetWriter:
    """As Spark writes a stage, but for dictionaries: zstd makes values as small, and they cost a third of the time."""
    import pyarrow.parquet as pq
    from pyspark.version import __version__ as spark_version

    as_spark = schema.with_metadata({"org.apache.spark.version": spark_version})  # of its calendar
    return pq.ParquetWriter(path, as_spark, compression="zstd", use_dictionary=False, store_decimal_as_integer=True)


def _groups(batches: Batches) -> Iterator[list[pa.RecordBatch]]:
    """Batches that together are worth a row group."""
    group: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        group.append(batch)
        size += batch.nbytes
        if size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
