"""Values of a query by the type of their column: from JSON or Python to what is bound, and back to JSON.

Types look in JSON as rows do (`millrace.connectors.wire.json`): decimals, dates, times and binary as text.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from millrace.serving.sql.faults import Path, QueryError
from millrace.spec.diagnostics import shown
from millrace.spec.types import DataType, Kind

_INTEGERS = frozenset({Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT})
_FLOATS = frozenset({Kind.FLOAT, Kind.DOUBLE})
NUMBERS = _INTEGERS | _FLOATS | {Kind.DECIMAL}
_MAX_INT = 1 << 63
_MAX_TEXT = 1 << 20
_DIGITS = 38


def typed(value: Any, type_: DataType, path: Path) -> Any:
    """A value as its column's type has it: bool, int, float, Decimal, str, bytes, date or datetime.

    Raises QueryError for any other, for null, and for what no such column can hold.
    """
    if value is None:
        raise QueryError("null is no value: ask for it with {'column': …, 'null': true}", path)
    found = _READ[type_.kind](value) if type_.kind in _READ else None
    if found is None:
        raise QueryError(f"expected {_EXPECTED.get(type_.kind, 'a single value')}, got {_shown(value)}", path)
    return found


def family(type_: DataType) -> str:
    """Types of one family can be compared with each other."""
    if type_.kind in NUMBERS:
        return "number"
    return str(type_.kind)


def to_json(value: Any) -> Any:
    """A value as JSON holds it; `typed` reads it back."""
    match value:
        case Decimal():
            return format(value, "f")
        case datetime():
            return _instant(value)
        case date():
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode()
        case float():
            return value if math.isfinite(value) else _special(value)
        case list() | tuple():
            return [to_json(item) for item in value]
        case Mapping():
            return {str(key): to_json(item) for key, item in value.items()}
        case None | bool() | int() | str():
            return value
        case _:
            return str(value)


def _special(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _instant(value: datetime) -> str:
    if value.tzinfo is None:
        return value.isoformat(timespec="microseconds")
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, str | int | float) else ""
    return f"'{shown(text, 40)}'" if text else f"a {type(value).__name__}"


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _integer(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if -_MAX_INT <= value < _MAX_INT else None


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    try:
        found = value if isinstance(value, Decimal) else Decimal(str(value)[: _DIGITS * 2 + 3])
    except InvalidOperation:
        return None
    if not found.is_finite() or found.adjusted() >= _DIGITS or -found.as_tuple().exponent > _DIGITS:  # type: ignore[operator]  # an int: it is finite
        return None
    return found


def _text(value: Any) -> str | None:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return None
    return value


def _binary(value: Any) -> bytes | None:
    if isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except (binascii.Error, ValueError):
        return None


def _date(value: Any) -> date | None:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(value) if isinstance(value, str) and len(value) == 10 else None
    except ValueError:
        return None


def _parsed(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _timestamp(value: Any) -> datetime | None:
    found = _parsed(value)
    try:
        return None if found is None or found.tzinfo is None else found.astimezone(UTC)
    except OverflowError:
        return None


def _wall_clock(value: Any) -> datetime | None:
    found = _parsed(value)
    return None if found is None or found.tzinfo is not None else found


_READ: Mapping[Kind, Callable[[Any], Any]] = {
    Kind.BOOLEAN: _boolean,
    **dict.fromkeys(_INTEGERS, _integer),
    **dict.fromkeys(_FLOATS, _float),
    Kind.DECIMAL: _decimal,
    Kind.STRING: _text,
    Kind.BINARY: _binary,
    Kind.DATE: _date,
    Kind.TIMESTAMP: _timestamp,
    Kind.TIMESTAMP_NTZ: _wall_clock,
}
_EXPECTED: Mapping[Kind, str] = {
    Kind.BOOLEAN: "true or false",
    **dict.fromkeys(_INTEGERS, "a whole number of at most 64 bits"),
    **dict.fromkeys(_FLOATS, "a finite number"),
    Kind.DECIMAL: f"a number of at most {_DIGITS} digits, as text when it has a fraction",
    Kind.STRING: "a text",
    Kind.BINARY: "Base64",
    Kind.DATE: "a date, e.g. 2026-01-31",
    Kind.TIMESTAMP: "a time with its zone, e.g. 2026-01-31T12:00:00Z",
    Kind.TIMESTAMP_NTZ: "a time without a zone, e.g. 2026-01-31T12:00:00",
}
