"""The data interval of a DAG run, as the engine takes it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

Interval = tuple[datetime | None, datetime | None]


def of_run(context: Context) -> Interval:
    """The run's data interval; of a run that assets have started, all that their publishes cover. Else none."""
    run: Any = context["dag_run"]
    start, end = run.data_interval_start, run.data_interval_end
    if start is not None and end is not None and start < end:
        return start, end
    return _covered(context.get("triggering_asset_events") or {})


def _covered(events: Any) -> Interval:
    """From the earliest start to the latest end of the windows that publishes carry in their events."""
    windows = [
        event.extra["window"]
        for asset in events
        for event in events[asset]
        if isinstance((event.extra or {}).get("window"), dict)
    ]
    starts = [datetime.fromisoformat(window["start"]) for window in windows if window.get("start")]
    ends = [datetime.fromisoformat(window["end"]) for window in windows if window.get("end")]
    return (min(starts), max(ends)) if starts and ends else (None, None)
