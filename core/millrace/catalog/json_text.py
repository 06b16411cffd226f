"""JSON as the catalog keeps it: plain ASCII text, so that every database gives back what was put in.

A database's own JSON type would reorder keys, refuse NUL characters (PostgreSQL) or round numbers (MySQL).
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID


def dumps(value: Any) -> str:
    """Compact JSON with sorted keys.

    Sample rows hold what a column holds: dates and times become ISO text, durations seconds, decimals and UUIDs text,
    bytes base64, and numbers that JSON lacks "NaN", "Infinity" and "-Infinity". Raises TypeError, with the place, for
    anything else.
    """
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def loads(text: str) -> Any:
    return json.loads(text)


def plain(value: Any, place: str = "$") -> Any:
    """The same value in dicts, lists, strings, numbers, booleans and None only; see `dumps`."""
    match value:
        case Enum():
            return plain(value.value, place)
        case None | bool() | int() | str():
            return value
        case Mapping():
            return {str(plain(key, place)): plain(item, f"{place}.{key}") for key, item in value.items()}
        case list() | tuple():
            return [plain(item, f"{place}[{i}]") for i, item in enumerate(value)]
        case set() | frozenset():
            return sorted((plain(item, place) for item in value), key=str)
    return _scalar(value, place)


def _scalar(value: Any, place: str) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Decimal() | UUID() | PurePath():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode("ascii")
    if hasattr(value, "item"):  # a numpy scalar: its Python value
        return plain(value.item(), place)
    raise TypeError(f"{place} holds a {type(value).__name__}, which can't be kept as JSON")
