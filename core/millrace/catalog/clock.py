"""Where the catalog's times come from: one function, so that a test can own the time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def utc_now() -> datetime:
    return datetime.now(UTC)


def to_epoch_us(moment: datetime) -> int:
    """Microseconds since 1970-01-01T00:00:00Z, exactly. Raises ValueError for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError(f"a time without a zone can't be kept: {moment.isoformat()}")
    return (moment - _EPOCH) // _MICROSECOND


def from_epoch_us(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def shown(moment: datetime) -> str:
    """For messages: to the second, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
