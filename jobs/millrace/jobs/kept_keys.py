"""The keys that the runs of a merge line have brought, on disk: a folder a run, and those of many runs in one.

WORK_DIR/_keys/<asset>/<run id>/*.parquet        the keys that a run has merged or deleted, and their `latest_by`
WORK_DIR/_keys/<asset>/many-<run id>/*.parquet   those of many runs, each once: its greatest `latest_by`, or the latest
                                                 end of an interval that brought it
WORK_DIR/_keys/<asset>/many-<run id>/_runs.json  which runs those are; written last: without it, a folder is a draft

Folders that were put together are removed when the next run tidies up, so whoever has begun to read them can go on.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING

from millrace.catalog import VersionRecord
from millrace.jobs.columns import named, quoted
from millrace.jobs.context import RunContext
from millrace.jobs.spark_errors import translate
from millrace.jobs.staged import keep_schema, staged_frame

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MOST_FOLDERS = 64
_FOLDER = "_keys"
_MANY = "many-"
_RUNS = "_runs.json"
_END = "millrace_end"


@dataclass(frozen=True)
class _Many:
    """The keys of many runs of one line, in one folder."""

    name: str
    line: str
    runs: frozenset[str]


def folder(context: RunContext, name: str) -> str:
    """Where the keys of a run are."""
    return context.storage.path(_FOLDER, context.spec.asset, name)


def missing(context: RunContext, versions: Sequence[VersionRecord]) -> list[str]:
    """The runs of these versions whose keys are gone."""
    there = _names(context)
    known = {*there, *(run for many in _complete(context, there) for run in many.runs)}
    return [v.run_id for v in versions if v.run_id not in known]


def keys_of(context: RunContext, versions: Sequence[VersionRecord], after: datetime | None) -> DataFrame:
    """All keys of these versions; of others of the line, those that came with an interval that ends `after`, too."""
    wanted = {v.run_id for v in versions}
    many = [one for one in _complete(context, _names(context)) if one.runs & wanted]
    alone = sorted(wanted.difference(*(one.runs for one in many)))
    frames = [_read(context, alone)] if alone else []
    for one in many:
        frame = _read(context, [one.name])
        if _END in frame.columns and after is not None:
            frame = frame.where(named(_END) > _microseconds(after)).drop(_END)
        frames.append(frame)
    names = [quoted(name) for name in frames[0].columns]
    return reduce(lambda found, frame: found.union(frame.select(names)), frames)


def tidy(context: RunContext, kept: Sequence[VersionRecord], keys: Callable[[], Sequence[str]]) -> None:
    """Remove the keys of runs whose rows are in no store any more, and put those of the others together when they are
    many. `kept` are the versions that are not erased, `keys` gives the key columns of all targets."""
    there = _names(context)
    if not there:
        return
    lines = {rows_id: context.catalog.versions.line(rows_id) for rows_id in {v.rows_id for v in kept}}
    wanted = {v.run_id for line in lines.values() for v in line if v.sequence is not None or v.erased_at is None}
    complete = [one for one in _complete(context, there) if one.line in lines]
    newest = [one for one in complete if not any(one.runs < other.runs for other in complete)]
    covered = {run for one in newest for run in one.runs}
    left = {one.name for one in newest} | ((wanted | {context.run_id}) - covered)
    for name in there:
        if name not in left:
            context.storage.delete(folder(context, name))
    mine = context.version().rows_id
    alone = [v for v in lines.get(mine, ()) if v.sequence is not None and v.run_id in left and v.run_id in there]
    if len(alone) > MOST_FOLDERS:
        try:
            _put_together(context, mine, alone, [one for one in newest if one.line == mine], keys())
        except Exception as error:
            problem = translate(error, f"putting the keys of {len(alone)} runs together")
            context.observer.note(f"{problem.message}; the next run tries again")


def _put_together(
    context: RunContext, line: str, alone: Sequence[VersionRecord], many: Sequence[_Many], keys: Sequence[str]
) -> None:
    from pyspark.sql import functions as f

    latest_by = alone[0].change.latest_by
    by_end: dict[datetime | None, list[str]] = defaultdict(list)
    for version in alone:
        by_end[None if latest_by else version.change.window_end].append(version.run_id)
    frames = [_read(context, [one.name]) for one in many]
    for end, runs in by_end.items():
        frame = _read(context, runs)
        frames.append(frame if end is None else frame.withColumn(_END, f.lit(_microseconds(end)).cast("bigint")))
    names = [quoted(name) for name in frames[-1].columns]
    rows = reduce(lambda found, frame: found.union(frame.select(names)), (frame.select(names) for frame in frames))
    order = latest_by or _END
    grouped = rows.groupBy(*(named(key) for key in dict.fromkeys(keys) if key != order))
    found = rows.distinct() if order in keys else grouped.agg(f.max(named(order)).alias(order))
    to = f"{_MANY}{context.run_id}"
    found.write.mode("overwrite").option("compression", "zstd").parquet(folder(context, to))
    keep_schema(context.storage, folder(context, to), found.schema)
    covered = sorted({version.run_id for version in alone}.union(*(one.runs for one in many)))
    told = json.dumps({"line": line, "runs": covered}).encode()
    context.storage.write(f"{folder(context, to)}/{_RUNS}", told)


def _complete(context: RunContext, there: Sequence[str]) -> list[_Many]:
    """The folders of many runs, without drafts."""
    found = []
    for name in there:
        marker = f"{folder(context, name)}/{_RUNS}"
        if name.startswith(_MANY) and context.storage.exists(marker):
            try:
                told = json.loads(context.storage.read(marker))
            except ValueError:
                continue  # a crash has cut it short
            found.append(_Many(name, told["line"], frozenset(told["runs"])))
    return found


def _names(context: RunContext) -> list[str]:
    return context.storage.names(context.storage.path(_FOLDER, context.spec.asset))


def _read(context: RunContext, names: Sequence[str]) -> DataFrame:
    paths = [folder(context, name) for name in names]
    schema = staged_frame(context, paths[0]).schema
    return context.spark().read.schema(schema).parquet(*paths)


def _microseconds(time: datetime) -> int:
    return int(time.timestamp() * 1_000_000)
