"""Staged rows that break a check with `severity: quarantine`: set aside within a limit, and the others kept apart.

WORK_DIR/<asset>/<run id>/checked/*.parquet    the stage without them; only there when there are such rows
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from millrace.connectors.base import DirtyRow
from millrace.errors import ConservationError
from millrace.jobs.budget import DirtyLimit
from millrace.jobs.columns import quoted
from millrace.jobs.context import RunContext
from millrace.jobs.staged import keep_schema

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

STAGE = "stage"
CHECKED = "checked"
STEP = "check"
_SHOWN = 1_000  # rows that are kept for a person to see when there are more than the limit allows
_ROW = "millrace_row"


@dataclass(frozen=True)
class Aside:
    """How many rows were set aside; with a `verdict`, why that is too many, and then nothing is kept apart."""

    rows: int
    verdict: str | None = None


def set_aside(context: RunContext, marked: DataFrame) -> Aside:
    """Move the marked rows (see `Judgement.marked`) to the dirty store, and write the others to CHECKED.

    Called again it does the same anew. Raises ConservationError when rows get lost on the way.
    """
    from pyspark.sql import functions as f

    from millrace.quality import REASON

    limits = context.spec.limits.quarantine
    staged = int(context.step_stats("stage")["rows_staged"])
    bad = marked.filter(f.col(REASON).isNotNull())
    found = bad.count()
    verdict = DirtyLimit(limits.max_rows, limits.max_ratio, "quarantine").verdict(found, staged, staged, final=True)
    aside = context.catalog.dirty.add(context.run_id, STEP, _rows(bad if verdict is None else bad.limit(_SHOWN)))
    if verdict is not None:
        return Aside(found, verdict)
    path = context.file(CHECKED)
    good = marked.filter(f.col(REASON).isNull()).drop(REASON)
    good.write.mode("overwrite").option("compression", "zstd").parquet(path)
    keep_schema(context.storage, path, good.schema)
    kept = context.storage.parquet_rows(path)
    if kept + aside != staged:
        raise ConservationError(
            f"checking {context.spec.asset}: {staged:,} rows were staged, but {kept:,} kept + {aside:,} quarantined",
            hint="run again; report it when it happens twice",
        )
    return Aside(aside)


def rows_to_load(context: RunContext) -> int:
    """The staged rows without those that were set aside."""
    return int(context.step_stats("stage")["rows_staged"]) - int(context.step_stats(STEP).get("quarantined", 0))


def staged_path(context: RunContext) -> str:
    """Where the stage is, without what was set aside."""
    return context.file(CHECKED if context.step_stats(STEP).get("quarantined") else STAGE)


def _rows(bad: DataFrame) -> Iterator[DirtyRow]:
    """With the check as the reason, and the row as it is staged: what `mask` made unreadable stays so."""
    from pyspark.sql import functions as f

    from millrace.quality import REASON

    columns = [quoted(name) for name in bad.columns if name != REASON]
    row = f.to_json(f.struct(*columns), {"ignoreNullFields": "false"}).alias(_ROW)
    for found in bad.select(REASON, row).toLocalIterator():
        yield DirtyRow(found[REASON], STAGE, found[_ROW].encode())
