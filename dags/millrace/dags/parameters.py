"""The parameters of a manual run, typed: Airflow shows a form for them and refuses what doesn't fit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Param

from millrace.dags.outline import Outline
from millrace.errors import SpecError

_TIME = r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?)?"
_INTERVAL = re.compile(f"({_TIME})/({_TIME})", re.ASCII)
_LIMITS = ("channels", "rows_per_second", "bytes_per_second")
_MAX_CHANNELS, _MAX_RATE = 1024, (1 << 63) - 1


@dataclass(frozen=True)
class Choices:
    """What a person chose for one run. `limits` holds only what differs from the spec."""

    full_refresh: bool = False
    dry_run: bool = False
    interval: tuple[datetime, datetime] | None = None
    limits: Mapping[str, int] = field(default_factory=dict)


def parameters(outline: Outline) -> dict[str, Param]:
    """Airflow's parameters of a spec's DAG, with the spec's own values as defaults."""
    rate = {"type": ["null", "integer"], "minimum": 1, "maximum": _MAX_RATE}
    schema = {
        "channels": {"type": "integer", "minimum": 1, "maximum": _MAX_CHANNELS},
        "rows_per_second": rate,
        "bytes_per_second": rate,
    }
    return {
        "full_refresh": Param(
            False, type="boolean", title="Full refresh",
            description="Read everything anew, whatever an earlier run has read already.",
        ),
        "dry_run": Param(
            False, type="boolean", title="Dry run",
            description="Plan, read and check, but load and publish nothing.",
        ),
        "interval": Param(
            None, type=["null", "string"], pattern=f"^{_TIME}/{_TIME}$", title="Interval",
            description="The data interval in place of the schedule's own: start/end, the end excluded, in UTC unless "
            "an offset is given, e.g. 2026-01-01/2026-01-02 or 2026-01-01T06:00/2026-01-01T07:00.",
        ),
        "limits": Param(
            _limits(outline), type="object", properties=schema, additionalProperties=False, title="Limits",
            description="What this run may use: tasks side by side, and the most rows and bytes a second over all.",
        ),
    }  # fmt: skip


def choices(params: Mapping[str, Any], defaults: Mapping[str, Any]) -> Choices:
    """The choices that a run's parameters make; `defaults` are the limits of the spec.

    Raises SpecError for an interval that doesn't end after its start or is no time at all.
    """
    given = params.get("limits") or {}
    return Choices(
        full_refresh=bool(params.get("full_refresh")),
        dry_run=bool(params.get("dry_run")),
        interval=_interval(params.get("interval")),
        limits={
            name: int(given[name])
            for name in _LIMITS
            if given.get(name) is not None and given[name] != defaults.get(name)
        },
    )


def _limits(outline: Outline) -> dict[str, int | None]:
    return {name: getattr(outline, name) for name in _LIMITS}


def _interval(text: str | None) -> tuple[datetime, datetime] | None:
    if not text:
        return None
    match = _INTERVAL.fullmatch(text)
    try:
        if match is None:
            raise ValueError("it is not start/end")
        start, end = _time(match.group(1)), _time(match.group(5))
        if start >= end:
            raise ValueError("it ends before it starts")
    except ValueError as error:
        raise SpecError(
            f"the parameter 'interval' is {text!r}, which can't be used: {error}",
            hint="write start/end, e.g. 2026-01-01/2026-01-02",
        ) from None
    return start, end


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
