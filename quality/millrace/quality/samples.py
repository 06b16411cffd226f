"""Rows and observed values as JSON: exact where JSON can be, readable where it can't, and never large."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from millrace.spec.model import JsonValue

if TYPE_CHECKING:
    from pyspark.sql import Column, Row
    from pyspark.sql.types import DataType, StructType

MAX_ROWS = 20
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
MAX_TEXT = 200  # characters of a text, or bytes of a binary value


def as_json(value: Any) -> JsonValue:
    """Any value that Spark or Great Expectations gives, as JSON. Texts beyond MAX_TEXT are cut and end in `…`.

    Times are in ISO 8601, instants in UTC; decimals, NaN and infinity are texts; binary values are `base64:…`.
    """
    match value:
        case None | bool() | int():
            return value
        case str():
            return value if len(value) <= MAX_TEXT else value[:MAX_TEXT] + "…"
        case float():
            return value if math.isfinite(value) else _NOT_FINITE[str(value)]
        case Decimal():
            return format(value, "f") if value.is_finite() else str(value)
        case bytes() | bytearray() | memoryview():
            cut = bytes(value[:MAX_TEXT])
            return "base64:" + base64.b64encode(cut).decode("ascii") + ("…" if len(value) > MAX_TEXT else "")
        case datetime():
            return value.isoformat() if value.tzinfo is None else value.astimezone(UTC).isoformat()
        case date() | time():
            return value.isoformat()
        case timedelta():
            return str(value)
        case _:
            return _composite(value)


def _composite(value: Any) -> JsonValue:
    if hasattr(value, "asDict"):  # a Spark Row, which is a tuple too
        value = value.asDict()
    if isinstance(value, Mapping):
        return {str(as_json(key)): as_json(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(member) for member in value]
    if isinstance(value, set | frozenset):
        return [as_json(member) for member in sorted(value, key=repr)]
    if hasattr(value, "item"):  # a NumPy scalar
        return as_json(value.item())
    return as_json(str(value))


def row_as_json(row: Row, schema: StructType) -> dict[str, JsonValue]:
    """A collected row as JSON. PySpark gives instants as the driver's own wall clock, so the types are needed here."""
    return {
        field.name: as_json(_in_utc(value, field.dataType)) for field, value in zip(schema.fields, row, strict=True)
    }


def _in_utc(value: Any, type_: DataType) -> Any:
    from pyspark.sql.types import ArrayType, MapType, StructType, TimestampType

    match type_, value:
        case _, None:
            return None
        case TimestampType(), datetime():
            return value.astimezone(UTC)
        case ArrayType(), _:
            return [_in_utc(member, type_.elementType) for member in value]
        case MapType(), _:
            return {_in_utc(k, type_.keyType): _in_utc(v, type_.valueType) for k, v in value.items()}
        case StructType(), _:
            return {f.name: _in_utc(member, f.dataType) for f, member in zip(type_.fields, value, strict=True)}
        case _:
            return value


def shortened(schema: StructType) -> list[Column]:
    """Expressions for every column, long texts and binary values cut in Spark already: a value may have 10 MB."""
    from pyspark.sql import functions as f
    from pyspark.sql.types import BinaryType, StringType

    expressions = []
    for field in schema.fields:
        column = f.col("`" + field.name.replace("`", "``") + "`")
        if isinstance(field.dataType, StringType | BinaryType):
            column = f.substring(column, 1, MAX_TEXT + 1).alias(field.name)
        expressions.append(column)
    return expressions
