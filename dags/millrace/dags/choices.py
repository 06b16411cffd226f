"""What a person chose for a manual run, from the values of its parameters. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from millrace.errors import SpecError

LIMITS = ("channels", "rows_per_second", "bytes_per_second")
TIME = r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?)?"
_INTERVAL = re.compile(f"({TIME})/({TIME})", re.ASCII)


@dataclass(frozen=True)
class Choices:
    """What a person chose for one run. `limits` holds only what differs from the spec."""

    full_refresh: bool = False
    dry_run: bool = False
    interval: tuple[datetime, datetime] | None = None
    limits: Mapping[str, int | None] = field(default_factory=dict)


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
            name: None if given[name] is None else int(given[name])
            for name in LIMITS
            if name in given and given[name] != defaults.get(name)
        },
    )


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
