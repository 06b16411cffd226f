"""Quantities with units, as a spec writes them: `30m`, `50MiB`, `0.1%`.

`Duration`, `Size` and `Ratio` are pydantic field types. They parse to `timedelta`, to `int` bytes and to `float`, and
carry their own JSON Schema. Bounds go on top: `Annotated[Duration, Field(gt=timedelta(0))]`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

_MICROSECONDS: Mapping[str, int] = {
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
_BYTES: Mapping[str, int] = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
}
_DURATION_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("day", "days"), "d"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("msec", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("µs", "usec", "micros", "microsecond", "microseconds"), "us"),
}
_SIZE_WORDS: Mapping[str, str] = {
    **{unit.lower(): unit for unit in ("B", "KiB", "MiB", "GiB", "TiB", "KB", "MB", "GB", "TB")},
    **{f"{letter}i": f"{letter.upper()}iB" for letter in "kmgt"},
    **{letter: f"{letter.upper()}iB" for letter in "kmgt"},
    "byte": "B",
    "bytes": "B",
}
_NUMBER = r"[0-9]{1,19}(?:\.[0-9]{1,9})?"
_PART = re.compile(rf"({_NUMBER}) ?([^\W\d_]*)")
_DURATION_PATTERN = rf"^({_NUMBER} ?(d|h|ms|m|us|s))+$"
_SIZE_PATTERN = rf"^{_NUMBER} ?({'|'.join(sorted(_BYTES, key=len, reverse=True))})$"
_RATIO_PATTERN = rf"^{_NUMBER} ?%$"
_MAX_DURATION_US = 3650 * _MICROSECONDS["d"]
_MAX_SIZE = 1 << 60


def parse_duration(text: str) -> timedelta:
    """`30m`, `7d`, `500ms`, `1h30m` as a timedelta, exact to the microsecond.

    Raises ValueError naming the text, the units and, for a unit that is nearly right, the unit that was meant.
    """
    total, rest = Decimal(0), text.strip()
    if not rest:
        raise _bad_duration(text)
    while rest:
        match = _PART.match(rest)
        if match is None:
            raise _bad_duration(text)
        number, unit = match.groups()
        if unit not in _MICROSECONDS:
            raise _bad_duration(text, number, _DURATION_WORDS.get(unit.lower(), ""))
        total += Decimal(number) * _MICROSECONDS[unit]
        rest = rest[match.end() :]
    if total > _MAX_DURATION_US:
        raise ValueError(f"the duration '{text}' is longer than 3650d")
    if total != int(total):
        raise ValueError(f"the duration '{text}' is finer than a microsecond")
    return timedelta(microseconds=int(total))


def format_duration(value: timedelta) -> str:
    """The text form that `parse_duration` reads back to the same value, e.g. `1h30m`. Not for negative values."""
    rest, parts = value // timedelta(microseconds=1), []
    for unit, size in _MICROSECONDS.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_size(text: str) -> int:
    """`50MiB`, `1.5GB`, `512B` as bytes; powers of 1024 with an `i`, of 1000 without.

    Raises ValueError naming the text, the units and, for a unit that is nearly right, the unit that was meant.
    """
    match = _PART.fullmatch(text.strip())
    if match is None:
        raise _bad_size(text)
    number, unit = match.groups()
    if unit not in _BYTES:
        raise _bad_size(text, number, _SIZE_WORDS.get(unit.lower(), ""))
    size = Decimal(number) * _BYTES[unit]
    if size != int(size):
        raise ValueError(f"the size '{text}' is not a whole number of bytes")
    if size > _MAX_SIZE:
        raise ValueError(f"the size '{text}' is larger than 1048576TiB")
    return int(size)


def format_size(value: int) -> str:
    """The shortest exact text form that `parse_size` reads back to the same value, e.g. `50MiB`."""
    forms = [f"{value // size}{unit}" for unit, size in _BYTES.items() if value % size == 0]
    return min(forms, key=len)


def parse_ratio(text: str) -> float:
    """`0.1%` as 0.001; may be more than 100 %. Raises ValueError naming the text and the form."""
    match = re.fullmatch(rf"({_NUMBER}) ?%", text.strip())
    if match is None:
        raise ValueError(f"bad ratio '{text}', expected a percentage such as '0.1%', or a number from 0 to 1")
    return float(Decimal(match.group(1)) / 100)


def format_ratio(value: float) -> str:
    """The text form that `parse_ratio` reads back, e.g. `0.1%`; nine decimals at most."""
    text = f"{Decimal(repr(value)) * 100:.9f}"
    return text.rstrip("0").rstrip(".") + "%"


def _bad_duration(text: str, number: str = "", meant: str = "") -> ValueError:
    hint = f", did you mean '{number}{meant}'?" if meant else ""
    return ValueError(f"bad duration '{text}', expected a number with a unit (d, h, m, s, ms, us) such as '30m'{hint}")


def _bad_size(text: str, number: str = "", meant: str = "") -> ValueError:
    hint = f", did you mean '{number}{meant}'?" if meant else ""
    return ValueError(
        f"bad size '{text}', expected a number with a unit (B, KB, KiB, MB, MiB, …) such as '50MiB'{hint}"
    )


def _from_text(kind: str, parse: Callable[[str], Any], number: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def validate(value: Any) -> Any:
        if isinstance(value, str):
            try:
                return parse(value)
            except ValueError as error:
                raise PydanticCustomError(kind, "{reason}", {"reason": str(error)}) from None
        return number(value)

    return validate


def _duration_number(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        reason = f"the duration {value} has no unit, expected one of d, h, m, s, ms, us, such as '{value}s'"
        raise PydanticCustomError("duration", "{reason}", {"reason": reason})
    return value


def _size_number(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, int) and not 0 <= value <= _MAX_SIZE) or isinstance(value, float):
        reason = f"bad size {value}, expected a whole number of bytes, or a number with a unit such as '50MiB'"
        raise PydanticCustomError("size", "{reason}", {"reason": reason})
    return value


def _ratio_number(value: Any) -> Any:
    if isinstance(value, bool):
        reason = "expected a percentage such as '0.1%', or a number from 0 to 1"
        raise PydanticCustomError("ratio", "{reason}", {"reason": reason})
    if isinstance(value, int | float) and not (math.isfinite(value) and 0 <= value <= 1):
        meant = f", did you mean '{value}%'?" if math.isfinite(value) and value > 1 else ""
        reason = f"bad ratio {value}, expected a percentage such as '0.1%', or a number from 0 to 1{meant}"
        raise PydanticCustomError("ratio", "{reason}", {"reason": reason})
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(_from_text("duration", parse_duration, _duration_number)),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": _DURATION_PATTERN, "examples": ["30s", "10m", "7d"], "x-type": "duration"}
    ),
]
Size = Annotated[
    int,
    BeforeValidator(_from_text("size", parse_size, _size_number)),
    PlainSerializer(format_size, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _SIZE_PATTERN}],
            "examples": ["50MiB", "1GB"],
            "x-type": "size",
        }
    ),
]
Ratio = Annotated[
    float,
    BeforeValidator(_from_text("ratio", parse_ratio, _ratio_number)),
    PlainSerializer(format_ratio, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "pattern": _RATIO_PATTERN}],
            "examples": ["0.1%", 0.001],
            "x-type": "ratio",
        }
    ),
]
