"""What a manual run's parameters mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from millrace.dags.choices import Choices, choices
from millrace.dags.windows import of_run
from millrace.errors import SpecError

SPEC_LIMITS = {"channels": 4, "rows_per_second": 200_000, "bytes_per_second": None}
NINE, TEN = datetime(2026, 1, 1, 9, tzinfo=UTC), datetime(2026, 1, 1, 10, tzinfo=UTC)


def test_what_is_left_as_it_is_changes_nothing() -> None:
    left = {"full_refresh": False, "dry_run": False, "interval": None, "limits": SPEC_LIMITS}
    assert choices(left, SPEC_LIMITS) == Choices()
    assert choices({}, SPEC_LIMITS) == Choices()


def test_only_limits_that_differ_are_chosen_and_a_rate_can_be_lifted() -> None:
    chosen = choices({"limits": {**SPEC_LIMITS, "channels": 1, "rows_per_second": None}}, SPEC_LIMITS)
    assert chosen.limits == {"channels": 1, "rows_per_second": None}


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-01-01/2026-01-02", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)),
        ("2026-01-01T09:00/2026-01-01T10:00Z", NINE, TEN),
        ("2026-01-01T10:00:00+01:00/2026-01-01T10:00", NINE.astimezone(timezone(timedelta(hours=1))), TEN),
    ],
)
def test_an_interval_is_in_utc_unless_it_says_otherwise(text: str, start: datetime, end: datetime) -> None:
    assert choices({"interval": text}, {}).interval == (start, end)


@pytest.mark.parametrize(
    "text", ["2026-01-02/2026-01-01", "2026-01-01/2026-01-01", "2026-13-01/2026-14-01", "today", "a/b"]
)
def test_an_interval_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="the parameter 'interval'"):
        choices({"interval": text}, {})


def run_of(start: datetime | None, end: datetime | None, *windows: Any) -> Any:
    events = {"asset": [SimpleNamespace(extra=window) for window in windows]}
    run = SimpleNamespace(data_interval_start=start, data_interval_end=end)
    return {"dag_run": run, "triggering_asset_events": events}


def test_the_window_of_a_run_is_its_data_interval() -> None:
    assert of_run(run_of(NINE, TEN)) == (NINE, TEN)
    assert of_run(run_of(TEN, TEN)) == (None, None), "Airflow's manual runs without a schedule have an empty one"


def test_a_run_after_others_covers_all_their_windows() -> None:
    later = {"window": {"start": TEN.isoformat(), "end": (TEN + timedelta(hours=1)).isoformat()}}
    earlier = {"window": {"start": NINE.isoformat(), "end": TEN.isoformat()}}
    without: list[Any] = [None, {}, {"window": {"start": None, "end": None}}, {"window": "x"}]
    assert of_run(run_of(None, None, later, earlier, *without)) == (NINE, TEN + timedelta(hours=1))
    assert of_run(run_of(None, None, *without)) == (None, None)
