"""When an asset is late."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from millrace.quality.alerts import lateness
from millrace.spec.model import Schedule

HOURLY = Schedule(cron="0 * * * *")
BERLIN = Schedule(cron="0 6 * * *", timezone="Europe/Berlin")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "after", "published", "now", "due"),
    [
        (HOURLY, None, "2026-03-01T10:05", "2026-03-01T11:59", None),
        (HOURLY, None, "2026-03-01T10:05", "2026-03-01T12:00", "2026-03-01T12:00"),
        (HOURLY, None, "2026-03-01T11:00", "2026-03-01T12:30", None),
        (HOURLY, timedelta(hours=3), "2026-03-01T10:05", "2026-03-01T13:59", None),
        (HOURLY, timedelta(hours=3), "2026-03-01T10:05", "2026-03-01T14:00", "2026-03-01T14:00"),
        (BERLIN, timedelta(hours=2), "2026-03-01T05:10", "2026-03-02T06:59", None),
        (BERLIN, timedelta(hours=2), "2026-03-01T05:10", "2026-03-02T07:00", "2026-03-02T07:00"),
        (BERLIN, timedelta(hours=2), "2026-06-01T04:10", "2026-06-02T06:00", "2026-06-02T06:00"),
        (None, None, "2026-03-01T10:00", "2026-03-02T10:00", None),
        (None, None, "2026-03-01T10:00", "2026-03-02T10:01", "2026-03-02T10:00"),
        (Schedule(after=("plays",)), timedelta(hours=1), "2026-03-01T10:00", "2026-03-01T11:01", "2026-03-01T11:00"),
    ],
)
def test_an_asset_is_late_when_its_time_has_passed_without_a_publish(
    schedule: Schedule | None, after: timedelta | None, published: str, now: str, due: str | None
) -> None:
    found = lateness(schedule, after, published=at(published), known_since=LONG_AGO, now=at(now))
    assert (found.due if found else None) == (at(due) if due else None)


def test_an_asset_that_never_published_counts_from_its_first_run_or_its_start() -> None:
    now = at("2026-03-01T12:00")
    assert lateness(HOURLY, None, published=None, known_since=None, now=now) is None
    assert lateness(HOURLY, None, published=None, known_since=at("2026-03-01T11:30"), now=now) is None
    assert lateness(HOURLY, None, published=None, known_since=at("2026-03-01T10:30"), now=now)
    started = Schedule(cron="0 * * * *", start=date(2026, 3, 1))
    assert lateness(started, None, published=None, known_since=None, now=now)
    assert lateness(started, None, published=None, known_since=None, now=at("2026-02-28T12:00")) is None
