"""Rows of a merge that are older than what is there: left out, so that runs in any order end with the same rows.

WORK_DIR/<asset>/<run id>/newer/<target>/*.parquet  what is loaded of a stage of which some rows were left out

Of rows with equal keys the one with the greatest value in `latest_by` is the newest; without that column, the one of
the run whose data interval ends last, if rows belong to intervals (`RunPlan.by_interval`); else, and among equals, the
one that was loaded last. A run that may bring older rows is compared with the keys of those runs of its line that may
have brought newer ones; all others cost nothing but the writing of their keys (`kept_keys`). No store needs to know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

from millrace.catalog import VersionRecord
from millrace.errors import RunFailed
from millrace.jobs import kept_keys
from millrace.jobs.columns import named, quoted
from millrace.jobs.context import RunContext
from millrace.jobs.lines import REFRESH
from millrace.jobs.staged import keep_schema, staged_frame
from millrace.spec.types import Kind, parse_type

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.column import Column

_NEWEST = "millrace_newest"
_OLDEST_OF_ALL = -(1 << 63)


@dataclass(frozen=True)
class Merged:
    """The least and the greatest value of `latest_by` in a stage, as numbers. A null is less than any."""

    oldest: int | None = None
    newest: int | None = None

    def stats(self) -> Mapping[str, Any]:
        return {} if self.newest is None else {"oldest": self.oldest}


def keep_keys(context: RunContext, stage: str) -> Merged:
    """Keep the keys of a stage that is about to be merged, for runs that come later and bring older rows."""
    from pyspark.sql import functions as f

    from millrace.jobs.transform import new_observation  # it brings Spark, which the step `plan` must not

    plan = context.plan()
    if not plan.by_interval and plan.latest_by is None:
        return Merged()
    frame = staged_frame(context, stage)
    latest_by = () if plan.latest_by is None else (plan.latest_by,)
    names = dict.fromkeys([*_all_keys(context), *latest_by])
    kept = frame.select(*map(quoted, names))
    found = new_observation("keys")
    value = _value(frame, plan.latest_by) if plan.latest_by is not None else f.lit(None).cast("bigint")
    counted = [f.min(value).alias("oldest"), f.max(value).alias("newest"), f.count_if(value.isNull()).alias("nulls")]
    path = kept_keys.folder(context, context.run_id)
    kept.observe(found, *counted).write.mode("overwrite").option("compression", "zstd").parquet(path)
    keep_schema(context.storage, path, kept.schema)
    seen = found.get
    return Merged(None if seen["nulls"] else seen["oldest"], seen["newest"])


def leave_out(context: RunContext, target: str, stage: str, key: Sequence[str]) -> int:
    """How many rows of a stage are older than what is there; the others are written to `path` when there are such.

    Raises RunFailed when the keys of a run that may have brought newer rows are gone.
    """
    later = _later(context)
    if not later:
        return 0
    frame = staged_frame(context, stage)
    newer = frame.join(_newest(context, later, key), _is_older(context, frame, key), "left_anti")
    to = path(context, target)
    newer.write.mode("overwrite").option("compression", "zstd").parquet(to)
    keep_schema(context.storage, to, frame.schema)
    return context.storage.parquet_rows(stage) - context.storage.parquet_rows(to)


def path(context: RunContext, target: str) -> str:
    """Where the rows are that a target gets when some were left out."""
    return context.file("newer", target)


def tidy(context: RunContext, kept: Sequence[VersionRecord]) -> None:
    """Keep no more on disk than later runs need; `kept` are the versions that are not erased."""
    kept_keys.tidy(context, kept, lambda: _all_keys(context))


def _later(context: RunContext) -> list[VersionRecord]:
    """The published versions of this run's line that may have rows newer than its own."""
    change = context.version().change
    if change.rows_id is None or not (change.by_interval or change.latest_by):
        return []
    line = [v for v in context.catalog.versions.line(change.rows_id) if v.sequence is not None]
    if change.latest_by is None:
        end = change.window_end
        found = [v for v in line if v.change.by_interval and end and v.change.window_end and v.change.window_end > end]
    else:
        oldest = context.step_stats("check").get("oldest")
        found = [v for v in line if v.change.newest is not None and (oldest is None or v.change.newest > oldest)]
    gone = kept_keys.missing(context, found)
    if gone:
        raise RunFailed(
            f"loading {context.spec.asset}: run {gone[0]} has merged rows that may be newer, and the keys of these are "
            f"gone from {kept_keys.folder(context, gone[0])}",
            hint=REFRESH,
        )
    return found


def _newest(context: RunContext, versions: Sequence[VersionRecord], key: Sequence[str]) -> DataFrame:
    """The keys that these versions have brought, each once, under names of their own; with `latest_by` its greatest."""
    from pyspark.sql import functions as f

    frame = kept_keys.keys_of(context, versions, context.version().change.window_end)
    names = [named(name).alias(_other(number)) for number, name in enumerate(key)]
    latest_by = context.plan().latest_by
    if latest_by is None:
        return frame.select(*names).distinct()
    values = frame.select(*names, _value(frame, latest_by).alias(_NEWEST))
    return values.groupBy(*map(_other, range(len(key)))).agg(f.max(_NEWEST).alias(_NEWEST))


def _is_older(context: RunContext, frame: DataFrame, key: Sequence[str]) -> Column:
    from pyspark.sql import functions as f

    latest_by = context.plan().latest_by
    same = [named(name) == f.col(_other(number)) for number, name in enumerate(key)]
    if latest_by is not None:
        same.append(f.col(_NEWEST) > f.coalesce(_value(frame, latest_by), f.lit(_OLDEST_OF_ALL)))
    return reduce(and_, same)


def _value(frame: DataFrame, name: str) -> Column:
    """A column of an ordinal type as whole numbers in its order."""
    from pyspark.sql import functions as f

    column = named(name)
    match parse_type(frame.schema[name].dataType.simpleString()).kind:
        case Kind.DATE:
            return f.unix_date(column).cast("bigint")
        case Kind.TIMESTAMP | Kind.TIMESTAMP_NTZ:
            return f.unix_micros(column.cast("timestamp"))
        case _:
            return column.cast("bigint")


def _all_keys(context: RunContext) -> list[str]:
    """The key columns of all targets."""
    found: list[str] = []
    for target in context.plan().targets:
        opened = context.target(target.name)
        try:
            found += opened.key_columns
        finally:
            opened.close()
    return list(dict.fromkeys(found))


def _other(number: int) -> str:
    return f"millrace_key_{number}"
