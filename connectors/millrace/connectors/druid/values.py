"""From Druid's JSON to values of a column's type: the way back from `layout.stored_type`."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from typing import Any

from millrace.connectors.druid.layout import is_json
from millrace.connectors.wire.json import parser
from millrace.spec.types import DataType, Kind

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS = Context(prec=60)


def converter(type_: DataType) -> Callable[[Any], Any]:
    """A function for values that are not null; floats in the JSON may have been read as decimals."""
    if is_json(type_):
        parse = parser(type_)
        return lambda value: parse(value.encode() if isinstance(value, str) else json.dumps(value).encode())
    match type_.kind:
        case Kind.BOOLEAN:
            return lambda value: value in (True, 1, "true", "1")
        case Kind.TINYINT | Kind.SMALLINT | Kind.INT | Kind.BIGINT:
            return int
        case Kind.FLOAT:
            return lambda value: _single(float(value))
        case Kind.DOUBLE:
            return float
        case Kind.DECIMAL:
            quantum = Decimal(1).scaleb(-type_.scale)
            return lambda value: Decimal(str(value)).quantize(quantum, context=_DIGITS)
        case Kind.STRING:
            return str
        case Kind.BINARY:
            return base64.b64decode
        case Kind.DATE:
            return lambda value: date.fromisoformat(str(value)[:10])
        case Kind.TIMESTAMP:
            return instant
        case Kind.TIMESTAMP_NTZ:
            return lambda value: instant(value).replace(tzinfo=None)
        case _:
            item = converter(type_.fields[0].type)
            return lambda value: [None if one is None else item(one) for one in _listed(value)]


def instant(value: Any) -> datetime:
    """A time as `__time` comes, ISO text, or as other columns do, µs since 1970."""
    if isinstance(value, int | Decimal):
        return _EPOCH + timedelta(microseconds=int(value))
    found = datetime.fromisoformat(str(value))
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _single(value: float) -> float:
    """The float of 32 bits that this text stands for."""
    try:
        found: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return value
    return found


def _listed(value: Any) -> list[Any]:
    """A list as such, as JSON text, or the one value that Druid gives for a multi-value dimension of one."""
    if isinstance(value, list):
        return value
    if isinstance(value, str) and value.startswith("["):
        found: list[Any] = json.loads(value)
        return found
    return [value]
