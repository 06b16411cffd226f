"""Whether an asset is late: pure, with the time as an argument."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from millrace.spec.model import Schedule

USUAL_WITH_CRON = timedelta(hours=1)
USUAL_WITHOUT = timedelta(days=1)


@dataclass(frozen=True)
class Lateness:
    """A late asset: `due` is when it should have been published at the latest."""

    due: datetime


def lateness(
    schedule: Schedule | None,
    late_after: timedelta | None,
    *,
    published: datetime | None,
    known_since: datetime | None,
    now: datetime,
) -> Lateness | None:
    """Whether a publish is overdue: by the cron line's last time that was `late_after` ago, else by the last publish.

    An asset that never published counts from `known_since`, when its first run began, or from the schedule's start
    when that is later; one that is not known yet and has no start isn't late.
    """
    allowed = late_after or (USUAL_WITH_CRON if schedule and schedule.cron else USUAL_WITHOUT)
    begin = _begin(schedule, known_since)
    if schedule is not None and schedule.cron:
        wanted = _last_time(schedule.cron, schedule.timezone, now - allowed)
        done = published is not None and published >= wanted
        return None if done or begin is None or begin > wanted else Lateness(wanted + allowed)
    last = published or begin
    return Lateness(last + allowed) if last is not None and now - last > allowed else None


def _begin(schedule: Schedule | None, known_since: datetime | None) -> datetime | None:
    if schedule is None or schedule.start is None:
        return known_since
    zone = ZoneInfo(schedule.timezone)
    start = datetime.combine(schedule.start, datetime.min.time(), zone).astimezone(UTC)
    return start if known_since is None else max(start, known_since)


def _last_time(cron: str, timezone: str, before: datetime) -> datetime:
    """The cron line's last time at or before a moment."""
    from croniter import croniter

    local = before.astimezone(ZoneInfo(timezone)) + timedelta(microseconds=1)
    found: datetime = croniter(cron, local).get_prev(datetime)
    return found.astimezone(UTC)
