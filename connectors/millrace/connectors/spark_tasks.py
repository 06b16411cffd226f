"""A source's read by tasks of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from millrace.connectors.base import ArrowTasks, SourceRead
from millrace.connectors.spark_schema import spark_ddl
from millrace.spec.types import Column

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame


def read_by_tasks(
    given: DataFrame, task: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]], columns: Sequence[Column]
) -> SourceRead:
    """The rows that `task`, which passes the gate, makes of a frame: a task for each of the frame's partitions."""
    return SourceRead(given.mapInArrow(task, spark_ddl(columns)), gated=True, tasks=ArrowTasks(given, task))
