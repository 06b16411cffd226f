"""One canonical text for each value: fields of a hash, parts of a key, map keys in JSON.

| type | text |
|---|---|
| boolean | `true`, `false` |
| tinyint … bigint | decimal digits |
| decimal | plain notation with the column's scale, `-0.50`; never an exponent, never a negative zero |
| float, double | the shortest digits that give the same value, `0.1`, `1e+20`, `-0`, `nan`, `inf`; not in keys |
| string, binary | the bytes themselves, UTF-8 for strings |
| date | `2024-02-29`, years 0001 to 9999 |
| timestamp | `2024-02-29T12:00:00.000000Z`, always UTC and microseconds; `timestamp_ntz` without the `Z` |
| array, map, struct | JSON as in `millrace.connectors.wire.json`; not in keys |
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation, localcontext
from typing import TYPE_CHECKING, Any

from millrace.connectors.base import Field
from millrace.connectors.wire.values import readable
from millrace.spec.types import DataType, Kind

if TYPE_CHECKING:
    import pyarrow as pa

#: Types that can't be part of a key: they have several texts for one value, or none.
UNFIT_FOR_KEYS = frozenset({Kind.FLOAT, Kind.DOUBLE, Kind.ARRAY, Kind.MAP, Kind.STRUCT})

_BITS: Mapping[Kind, int] = {Kind.TINYINT: 7, Kind.SMALLINT: 15, Kind.INT: 31, Kind.BIGINT: 63}
_BOOLEANS: Mapping[Any, bytes] = {True: b"true", False: b"false", "true": b"true", "false": b"false"}
_DIGITS = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
_DECIMAL_DIGITS = 80


@dataclass(frozen=True)
class TextColumns:
    """Binary columns in the order of the fields, null where a cell is; `refused` maps a row to its reason."""

    columns: tuple[pa.LargeBinaryArray, ...]
    refused: Mapping[int, str]


def encode(batch: pa.RecordBatch | pa.Table, fields: Sequence[Field]) -> TextColumns:
    """The text of every cell, column by column. Raises ValueError when a column is missing or of another type."""
    from millrace.connectors.wire.text_columns import encode_columns

    return encode_columns(batch, fields)


def decoder(fields: Sequence[Field]) -> Callable[[Mapping[bytes, bytes]], dict[str, Any]]:
    """A function from texts by field name (a hash as Redis returns it) to Python values by name, in the fields' order.

    A missing text is None, an unknown name is ignored. Raises UnreadableValue for a text that is none of its type.
    """
    parsers = [(field.name, field.name.encode(), parser(field.column.type)) for field in fields]

    def decode(texts: Mapping[bytes, bytes]) -> dict[str, Any]:
        get = texts.get
        return {name: None if (text := get(key)) is None else parse(text) for name, key, parse in parsers}

    return readable(decode, "a hash")


def parser(type_: DataType) -> Callable[[bytes], Any]:
    """The way back from a text to the Python value. Raises ValueError for a text that is none of the type."""
    if type_.nested:
        from millrace.connectors.wire.json import parser as json_parser

        return json_parser(type_)
    return _PARSERS[type_.kind]


def text_of(type_: DataType, value: Any) -> bytes:
    """The canonical text of a value that can be part of a key: of the type's Python type, or a text to be parsed.

    Raises ValueError naming the type and the value, also for None and for types that can't be part of a key.
    """
    try:
        return _text(type_, value)
    except (ValueError, TypeError, KeyError, InvalidOperation, OverflowError):
        raise ValueError(f"{value!r} is not a {type_}") from None


def single(value: float) -> float:
    """The double that a 32-bit float column holds for this value."""
    found: float = struct.unpack("f", struct.pack("f", value))[0]
    return found


def _text(type_: DataType, value: Any) -> bytes:
    if type_.kind in _BITS:
        return _integer(value, _BITS[type_.kind])
    match type_.kind:
        case Kind.STRING:
            return str.encode(value)
        case Kind.BINARY:
            return value.encode() if isinstance(value, str) else bytes(memoryview(value))
        case Kind.BOOLEAN if isinstance(value, bool | str):
            return _BOOLEANS[value]
        case Kind.DECIMAL:
            return _decimal(type_, value)
        case Kind.DATE:
            return _date(value)
        case Kind.TIMESTAMP | Kind.TIMESTAMP_NTZ:
            return _timestamp(value, utc=type_.kind is Kind.TIMESTAMP)
        case _:
            raise TypeError


def _integer(value: Any, bits: int) -> bytes:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise ValueError
    found = int(value)
    if not -(1 << bits) <= found < 1 << bits:
        raise OverflowError
    return b"%d" % found


def _decimal(type_: DataType, value: Any) -> bytes:
    if isinstance(value, bool | float):
        raise TypeError
    with localcontext(prec=_DECIMAL_DIGITS):
        given = Decimal(value)
        found = given.quantize(Decimal(1).scaleb(-type_.scale))
        if found != given or abs(found.scaleb(type_.scale)) >= Decimal(10) ** type_.precision:
            raise OverflowError
    return format(found if found else abs(found), "f").encode()


def _date(value: Any) -> bytes:
    found = date.fromisoformat(value) if isinstance(value, str) else value
    if isinstance(found, datetime):
        raise TypeError
    return date.isoformat(found).encode()


def _timestamp(value: Any, *, utc: bool) -> bytes:
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(found, datetime):
        raise TypeError
    if utc:
        found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    elif found.tzinfo is not None:
        raise ValueError
    return found.replace(tzinfo=None).isoformat(timespec="microseconds").encode() + (b"Z" if utc else b"")


_PARSERS: Mapping[Kind, Callable[[bytes], Any]] = {
    Kind.BOOLEAN: {b"true": True, b"false": False}.__getitem__,
    Kind.TINYINT: int,
    Kind.SMALLINT: int,
    Kind.INT: int,
    Kind.BIGINT: int,
    Kind.FLOAT: lambda text: single(float(text)),
    Kind.DOUBLE: float,
    Kind.DECIMAL: lambda text: Decimal(text.decode()),
    Kind.STRING: bytes.decode,
    Kind.BINARY: bytes,
    Kind.DATE: lambda text: date.fromisoformat(text.decode()),
    Kind.TIMESTAMP: lambda text: datetime.fromisoformat(text.decode()),
    Kind.TIMESTAMP_NTZ: lambda text: datetime.fromisoformat(text.decode()),
}
