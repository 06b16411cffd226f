"""Lines of merge and append: which rows a run goes on changing, and what must not have changed for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from millrace.catalog import Catalog, VersionRecord
from millrace.connectors.base import Window
from millrace.errors import RunFailed
from millrace.jobs.plan import target_plans
from millrace.spec import Spec
from millrace.spec.connector import Mode
from millrace.spec.types import ORDINAL, Column, Kind

REFRESH = "load everything anew with `millrace run --full-refresh`"


@dataclass(frozen=True)
class Beginning:
    """Where a run begins: the id of the rows that it changes (None: new ones), and how far the source was read."""

    line: str | None
    watermark: Mapping[str, Any] | None


def beginning(spec: Spec, catalog: Catalog, window: Window, *, full_refresh: bool) -> Beginning:
    """A full refresh, and the first run of a mode, read the source from the start into new rows.

    Raises RunFailed when the spec's targets are not those of the rows that are to be changed, or when `append` has no
    interval to overwrite.
    """
    watermark = catalog.assets.watermark(spec.asset)
    if full_refresh:
        return Beginning(None, None)
    if spec.mode is Mode.REPLACE:
        return Beginning(None, watermark)
    if spec.mode is Mode.APPEND and window.start is None:
        raise RunFailed(
            f"mode 'append' of {spec.asset} overwrites one time interval, and this run has none",
            hint="give one, e.g. `--interval 2026-03-01/2026-03-02`, or load everything with `--full-refresh`",
        )
    current = catalog.versions.current(spec.asset)
    if current is None or current.change.mode != spec.mode:
        return Beginning(None, None)
    _refuse_other_targets(spec, current)
    _refuse_other_order(spec, current)
    return Beginning(current.rows_id, watermark)


def stored_columns(asset: str, columns: Sequence[Column], deletes: str | None) -> tuple[Column, ...]:
    """The columns that targets hold: all but the one of `deletes`. Raises RunFailed when that one isn't a boolean."""
    if deletes is None:
        return tuple(columns)
    found = next((c for c in columns if c.name == deletes), None)
    if found is None or found.type.kind is not Kind.BOOLEAN:
        got = f"it is a {found.type}" if found else "the transform yields no such column"
        raise RunFailed(
            f"the column '{deletes}' of {asset} tells which rows go away, so it must be a boolean: {got}",
            hint="derive it in the transform, e.g. `derive: {is_deleted: status = 'closed'}`",
        )
    return tuple(c for c in columns if c.name != deletes)


def refuse_unordered(asset: str, columns: Sequence[Column], latest_by: str | None) -> None:
    """Raises RunFailed when the column of `latest_by` isn't there, or its values have no order that we keep."""
    if latest_by is None:
        return
    found = next((c for c in columns if c.name == latest_by), None)
    if found is None or found.type.kind not in ORDINAL:
        got = f"it is a {found.type}" if found else "the transform yields no such column"
        raise RunFailed(
            f"the column '{latest_by}' of {asset} tells which of two rows is newer, so it must be a time, a date or an "
            f"integer: {got}",
            hint="cast it in the transform, e.g. `cast: {updated_at: timestamp}`",
        )


def refuse_other_columns(current: VersionRecord, columns: Sequence[Column]) -> None:
    """Rows of a line keep their columns; new ones may be added. Raises RunFailed naming what was dropped or changed."""
    now = {c.name: c.type for c in columns}
    wrong = [
        f"{f.name} was a {f.type} and {f'is a {now[f.name]}' if f.name in now else 'is gone'}"
        for f in current.fields
        if now.get(f.name) != f.column.type
    ]
    if wrong:
        raise RunFailed(
            f"{current.change.mode} can't change the rows of {current.asset} any more: {'; '.join(wrong)}",
            hint=f"{REFRESH}, or mend the transform so that the columns stay",
        )


def _refuse_other_targets(spec: Spec, current: VersionRecord) -> None:
    for target in target_plans(spec):
        known = current.targets.get(target.name)
        if known is None or (known["connector"], known["options"]) != (target.connector, dict(target.options)):
            what = "is new" if known is None else "has other options than the rows that are there"
            raise RunFailed(f"the target '{target.name}' of {spec.asset} {what}", hint=REFRESH)


def _refuse_other_order(spec: Spec, current: VersionRecord) -> None:
    was = current.change.latest_by
    if was != spec.latest_by:
        before = f"the latest by '{was}'" if was else "those of the run with the latest interval"
        raise RunFailed(
            f"the rows of {spec.asset} that are there are {before}, and now `latest_by` is {spec.latest_by or 'gone'}",
            hint=REFRESH,
        )
