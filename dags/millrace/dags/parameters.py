"""The parameters of a manual run, typed: Airflow shows a form for them and refuses what doesn't fit."""

from __future__ import annotations

from airflow.sdk import Param

from millrace.dags.choices import LIMITS, TIME
from millrace.dags.outline import Outline

_MAX_CHANNELS, _MAX_RATE = 1024, (1 << 63) - 1


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
            None, type=["null", "string"], pattern=f"^{TIME}/{TIME}$", title="Interval",
            description="The data interval in place of the schedule's own: start/end, the end excluded, in UTC unless "
            "an offset is given, e.g. 2026-01-01/2026-01-02 or 2026-01-01T06:00/2026-01-01T07:00.",
        ),
        "limits": Param(
            _limits(outline), type="object", properties=schema, additionalProperties=False, title="Limits",
            description="What this run may use: tasks side by side, and the most rows and bytes a second over all.",
        ),
    }  # fmt: skip


def _limits(outline: Outline) -> dict[str, int | None]:
    return {name: getattr(outline, name) for name in LIMITS}
