"""The transform steps of a spec, applied to a Spark DataFrame, with every row that they drop counted.

Expressions are Spark SQL in ANSI mode: an overflow or an impossible cast in `where`, `derive` or `sql` stops the run
and says so. Only the step `cast` sets single rows aside as dirty records.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as f
from pyspark.sql.window import Window

from millrace.connectors.base import DirtyRow, Gate
from millrace.jobs.batches import map_batches
from millrace.jobs.columns import named
from millrace.spec.model import Cast, Dedupe, Derive, Mask, Rename, Select, Sql, Step, Where

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, Observation
    from pyspark.sql.column import Column

BAD_COLUMN = "_millrace_bad_column"
REDACTED = "***"


@dataclass(frozen=True)
class StepCounter:
    """How many rows went into and came out of one step that drops rows; read it after the job."""

    name: str
    before: Observation
    after: Observation

    @property
    def filtered(self) -> int:
        """Rows dropped; negative when a free `sql` made more of them."""
        return int(self.before.get["rows"]) - int(self.after.get["rows"])


@dataclass(frozen=True)
class Transformed:
    frame: DataFrame
    counters: tuple[StepCounter, ...]


def transform(frame: DataFrame, steps: Sequence[Step], gate: Gate) -> Transformed:
    """Apply `steps` in order. Lazy: nothing is read until the frame is written."""
    counters: list[StepCounter] = []
    for number, step in enumerate(steps):
        match step:
            case Where() | Dedupe() | Sql():
                name = f"{type(step).__name__.lower()}#{number}"
                before, after = new_observation(f"{name}-before"), new_observation(f"{name}-after")
                counters.append(StepCounter(name, before, after))
                frame = observed(_dropping(observed(frame, before), step), after)
            case Cast():
                frame = _cast(frame, step, gate)
            case Select():
                frame = frame.select(*[named(c) for c in step.columns])
            case Derive():
                for name, expression in step.columns.items():
                    frame = frame.withColumn(name, f.expr(expression))
            case Rename():
                frame = frame.select(*[named(c).alias(step.columns.get(c, c)) for c in frame.columns])
            case Mask():
                for name in step.columns:
                    frame = frame.withColumn(name, _masked(named(name), step.method))
    return Transformed(frame, tuple(counters))


def only_columns(columns: Sequence[str], steps: Sequence[Step]) -> Mapping[str, str] | None:
    """For steps that choose and name columns and do nothing else: what is left, in order, and which column it was."""
    left = {name: name for name in columns}
    for step in steps:
        match step:
            case Select() if all(name in left for name in step.columns):
                left = {name: left[name] for name in step.columns}
            case Rename() if all(name in left for name in step.columns):
                left = {step.columns.get(name, name): before for name, before in left.items()}
            case _:
                return None
    return left


_serial = itertools.count()


def new_observation(name: str) -> Observation:
    """An observation with a name of its own in the session."""
    from pyspark.sql import Observation

    return Observation(f"{name}-{next(_serial)}")


def observed(frame: DataFrame, observation: Observation) -> DataFrame:
    """Count the rows that pass this point of the frame's plan, under the name `rows`."""
    return frame.observe(observation, f.count(f.lit(1)).alias("rows"))


def _dropping(frame: DataFrame, step: Where | Dedupe | Sql) -> DataFrame:
    match step:
        case Where():
            return frame.filter(f.expr(step.expression))
        case Dedupe():
            return _dedupe(frame, step)
        case Sql():
            frame.createOrReplaceTempView("input")
            return frame.sparkSession.sql(step.query)


def _dedupe(frame: DataFrame, step: Dedupe) -> DataFrame:
    """One row a key. Among equals the row with the smallest hash of all its columns stays, so that reruns agree."""
    keys = [named(c) for c in step.key]
    whole_row = f.xxhash64(*[named(c) for c in frame.columns])
    order: list[Column] = [whole_row]
    if step.by is not None:
        by = named(step.by)
        order.insert(0, by.asc_nulls_last() if step.keep == "earliest" else by.desc_nulls_last())
    rank = f.row_number().over(Window.partitionBy(*keys).orderBy(*order))
    return frame.withColumn("_millrace_rank", rank).filter("_millrace_rank = 1").drop("_millrace_rank")


def _masked(column: Column, method: str) -> Column:
    if method == "hash":
        return f.sha2(column.cast("string"), 256)
    return f.when(column.isNotNull(), f.lit(REDACTED))


def _cast(frame: DataFrame, step: Cast, gate: Gate) -> DataFrame:
    """Cast columns; a row in which a value can't be cast is set aside whole, with its values before the cast."""
    casts = {name: named(name).try_cast(str(type_)) for name, type_ in step.columns.items()}
    bad: Column = f.lit(None).cast("string")
    for name, cast in casts.items():
        bad = f.when(named(name).isNotNull() & cast.isNull(), f.lit(name)).otherwise(bad)
    before = f.when(bad.isNotNull(), f.to_json(f.struct(*[named(c) for c in frame.columns])))
    marked = frame.select(
        *[casts.get(c, named(c)).alias(c) for c in frame.columns],
        bad.alias(BAD_COLUMN),
        before.alias(BAD_COLUMN + "_row"),
    )
    types = {name: str(type_) for name, type_ in step.columns.items()}
    schema = marked.drop(BAD_COLUMN, BAD_COLUMN + "_row").schema
    return map_batches(marked, _setting_aside(gate, types), schema)


def _setting_aside(gate: Gate, types: dict[str, str]) -> Callable[[Any], Any]:
    def divide(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow.compute as pc

        for batch in batches:
            marks = batch.column(batch.num_columns - 2)
            good = batch.select(batch.schema.names[:-2])
            if marks.null_count < batch.num_rows:
                aside = batch.filter(pc.is_valid(marks)).select(batch.schema.names[-2:])
                gate.done(0, 0, [_dirty_cast(row, types) for row in aside.to_pylist()])
                good = good.filter(pc.is_null(marks))
            yield good

    return divide


def _dirty_cast(row: dict[str, Any], types: dict[str, str]) -> DirtyRow:
    column = row[BAD_COLUMN]
    text = row[BAD_COLUMN + "_row"]
    return DirtyRow(f"column '{column}' can't be cast to {types[column]}", "transform.cast", text.encode())
