"""A spec for one data interval: its templates filled in, or a plain refusal when there is no interval."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from millrace.connectors.base import Window
from millrace.errors import SpecError
from millrace.spec import Spec
from millrace.spec.interval import Interval, fill_in, has_template

_EXAMPLE = "e.g. `millrace run SPEC --interval 2026-03-01/2026-03-02`"


def for_window(spec: Spec, window: Window) -> Spec:
    """The spec as a run of this interval uses it. Raises SpecError when it needs an interval and there is none."""
    if not has_template((spec.source.options, spec.transform)):
        return spec
    if window.start is None or window.end is None:
        raise SpecError(
            f"the spec of {spec.asset} depends on the run's data interval ({{{{ ds }}}} or the like stands in its "
            "source or transform), and this run has none",
            hint=f"give one, {_EXAMPLE}; runs that a schedule starts have one by themselves",
        )
    interval = Interval(window.start, window.end)
    source = replace(spec.source, options=fill_in(spec.source.options, interval))
    return replace(spec, source=source, transform=fill_in(spec.transform, interval), interval=interval)


def parse_window(text: str) -> Window:
    """`START/END`, each a date or a time in ISO 8601, in UTC unless it says otherwise. Raises SpecError."""
    start, separator, end = text.partition("/")
    try:
        window = Window(_time(start), _time(end)) if separator else None
    except ValueError:
        window = None
    if window is None or window.start is None or window.end is None:
        raise SpecError(f"the interval '{text}' is not START/END", hint=f"dates or times in ISO 8601, {_EXAMPLE}")
    if window.start >= window.end:
        raise SpecError(f"the interval '{text}' ends before it starts", hint=f"the end is not part of it, {_EXAMPLE}")
    return window


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text.strip())
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
