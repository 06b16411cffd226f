"""Cron lines and time zones, checked."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from millrace.spec.diagnostics import closest, did_you_mean, shown
from millrace.spec.shape.fields import problem

PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@yearly")
_MAX_LINE = 200
_FIELDS = ("minute", "hour", "day of month", "month", "day of week")
_RANGES = ("0-59", "0-23", "1-31", "1-12 or jan-dec", "0-7 or sun-sat")


def check_cron(value: Any) -> Any:
    """A cron line of five fields, or a preset; raises a pydantic error that names the wrong field."""
    if not isinstance(value, str):
        return value
    line = " ".join(value.split())
    if line.startswith("@"):
        if line not in PRESETS:
            raise problem(f"unknown preset '{shown(line)}'{did_you_mean(line, PRESETS)}")
        return line
    parts = line.split(" ")
    if len(parts) != len(_FIELDS):
        raise problem(
            f"bad cron line '{shown(line)}': it has {len(parts)} fields, expected 5 ({', '.join(_FIELDS)}), "
            f"one of {', '.join(PRESETS)}, or none"
        )
    for position, part in enumerate(parts):
        alone = ["*"] * len(_FIELDS)
        alone[position] = part
        if not _valid(" ".join(alone)):
            raise problem(
                f"bad cron line '{shown(line)}': '{shown(part)}' is no {_FIELDS[position]}, "
                f"expected {_RANGES[position]}, *, lists (1,15), ranges (1-5) or steps (*/10)"
            )
    if not _valid(line):
        raise problem(f"bad cron line '{shown(line)}'")
    return line


def _valid(line: str) -> bool:
    from croniter import croniter

    return len(line) <= _MAX_LINE and bool(croniter.is_valid(line))


def check_zone(value: Any) -> Any:
    """The name of a time zone; raises a pydantic error with the closest one."""
    if not isinstance(value, str):
        return value
    if value != "UTC" and not _is_zone(value):
        found = closest(value, available_timezones()) if len(value) < _MAX_LINE else None
        meant = f", did you mean '{found}'?" if found else ", expected a name such as 'Europe/Berlin' or 'UTC'"
        raise problem(f"unknown time zone '{shown(value)}'{meant}")
    return value


def _is_zone(name: str) -> bool:
    try:
        return ZoneInfo(name).key == name
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return False
