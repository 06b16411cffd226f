"""Decoded rows to JSON and MessagePack, in the same forms in which `connectors.wire` stores them."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from millrace.connectors.base import Field
from millrace.connectors.wire.text import text_of
from millrace.connectors.wire.values import Convert, row_of
from millrace.spec.types import DataType, Kind

Plain = Callable[[Mapping[str, Any]], dict[str, Any]]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_TIMESTAMP_EXTENSION = -1


def json_plain(fields: Sequence[Field]) -> Plain:
    """From a row of Python values to what JSON can hold: see `connectors.wire.json`."""
    return row_of([field.column for field in fields], _json_leaf, _json_key)


def msgpack_plain(fields: Sequence[Field]) -> Plain:
    """From a row of Python values to what `ormsgpack` packs: see `connectors.wire.msgpack`."""
    return row_of([field.column for field in fields], _msgpack_leaf, _msgpack_leaf)


def _json_leaf(type_: DataType) -> Convert | None:
    match type_.kind:
        case Kind.FLOAT | Kind.DOUBLE:
            return _json_float
        case Kind.BINARY:
            return lambda value: base64.b64encode(value).decode()
        case Kind.DECIMAL | Kind.DATE | Kind.TIMESTAMP | Kind.TIMESTAMP_NTZ:
            return lambda value: text_of(type_, value).decode()
        case _:
            return None


def _json_key(type_: DataType) -> Convert | None:
    if type_.kind is Kind.STRING:
        return None
    if type_.kind in (Kind.FLOAT, Kind.DOUBLE):
        return repr
    return lambda value: text_of(type_, value).decode()


def _json_float(value: float) -> Any:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _msgpack_leaf(type_: DataType) -> Convert | None:
    match type_.kind:
        case Kind.TIMESTAMP:
            return _msgpack_timestamp
        case Kind.DECIMAL | Kind.DATE | Kind.TIMESTAMP_NTZ:
            return lambda value: text_of(type_, value).decode()
        case _:
            return None


def _msgpack_timestamp(value: datetime) -> Any:
    import ormsgpack

    since = value - _EPOCH
    data = struct.pack(">Iq", since.microseconds * 1000, since // _SECOND)
    return ormsgpack.Ext(_TIMESTAMP_EXTENSION, data)
