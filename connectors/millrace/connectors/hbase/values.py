"""The reading half of `layout`: keys from what a caller gives, and rows from cells. No Arrow here.

Typed cells hold what HBase's `Bytes.toBytes` writes: big-endian numbers, one byte for a boolean (FF is true), a decimal
as its scale (4 bytes) and its unscaled number in the fewest bytes; besides, a date as days (4 bytes) and a timestamp as
microseconds (8 bytes) since 1970. Strings, binaries and nested values (JSON) are the same in both kinds of cells.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any, TypeAlias

from millrace.connectors.hbase.layout import Manifest
from millrace.connectors.hbase.options import Cells
from millrace.connectors.wire import text
from millrace.connectors.wire.values import readable
from millrace.spec.types import DataType, Kind

Row = dict[str, Any]
#: The value of a key's one column, or of all its columns: in the template's order, or by name.
Key: TypeAlias = Any | Sequence[Any] | Mapping[str, Any]

_SEVERAL = (list, tuple, Mapping)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)
_DECIMAL_DIGITS = 80
_NUMBERS: Mapping[Kind, struct.Struct] = {
    Kind.TINYINT: struct.Struct(">b"),
    Kind.SMALLINT: struct.Struct(">h"),
    Kind.INT: struct.Struct(">i"),
    Kind.BIGINT: struct.Struct(">q"),
    Kind.FLOAT: struct.Struct(">f"),
    Kind.DOUBLE: struct.Struct(">d"),
}
_DAYS, _MICROSECONDS = struct.Struct(">i"), struct.Struct(">q")
_BOOLEANS = {b"\xff": True, b"\0": False}


def as_parts(key: Key) -> Sequence[Any] | Mapping[str, Any]:
    return key if isinstance(key, _SEVERAL) else (key,)


def key_maker(manifest: Manifest) -> Callable[[Key], bytes]:
    """A function from a key, as a caller gives it, to the row key. It raises ValueError for a key that doesn't fit."""
    row_key, types = manifest.row_key, manifest.types

    def make(key: Key) -> bytes:
        return row_key.fill(types, as_parts(key))

    return make


def prefix_maker(manifest: Manifest) -> Callable[[Sequence[Any]], bytes]:
    """From the values of the first key columns to what all their row keys start with, behind the salt.

    It raises ValueError for more values than there are key columns, or one that doesn't fit.
    """
    row_key, types = manifest.row_key, manifest.types
    names = row_key.template.names

    def make(values: Sequence[Any]) -> bytes:
        if len(values) > len(names):
            raise ValueError(f"the key '{row_key.template.text}' has {len(names)} parts; got {len(values)}")
        return row_key.part(types, dict(zip(names, values, strict=False)), len(values))

    return make


def row_decoder(manifest: Manifest) -> Callable[[Mapping[bytes, bytes]], Row]:
    """From a row's cells to the row, in the order of the fields; a missing cell is None, an unknown one is ignored.

    It raises UnreadableValue for a cell that holds no value of its type.
    """
    parse = text.parser if manifest.cells is Cells.TEXT else typed_parser
    parsers = [(place.field.name, place.column, parse(place.field.column.type)) for place in manifest.places]

    def decode(cells: Mapping[bytes, bytes]) -> Row:
        get = cells.get
        return {name: None if (raw := get(column)) is None else parse(raw) for name, column, parse in parsers}

    return readable(decode, "a row", (struct.error,))


def typed_parser(type_: DataType) -> Callable[[bytes], Any]:
    """The way back from a typed cell to the Python value."""
    number = _NUMBERS.get(type_.kind)
    if number is not None:
        unpack = number.unpack
        return lambda raw: unpack(raw)[0]
    match type_.kind:
        case Kind.BOOLEAN:
            return _BOOLEANS.__getitem__
        case Kind.DECIMAL:
            return _decimal
        case Kind.DATE:
            return lambda raw: date.fromordinal(_EPOCH_DAY + _DAYS.unpack(raw)[0])
        case Kind.TIMESTAMP:
            return lambda raw: _EPOCH + timedelta(microseconds=_MICROSECONDS.unpack(raw)[0])
        case Kind.TIMESTAMP_NTZ:
            return lambda raw: _NAIVE_EPOCH + timedelta(microseconds=_MICROSECONDS.unpack(raw)[0])
        case _:
            return text.parser(type_)


def _decimal(raw: bytes) -> Decimal:
    with localcontext(prec=_DECIMAL_DIGITS):
        return Decimal(int.from_bytes(raw[4:], "big", signed=True)).scaleb(-_DAYS.unpack(raw[:4])[0])
