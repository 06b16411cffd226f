"""A row as one MessagePack map (https://github.com/msgpack/msgpack/blob/master/spec.md); every column is written.

Integers take their shortest form. Binary is bin, timestamp the timestamp extension (-1, of 12 bytes). What MessagePack
lacks is text as in `millrace.connectors.wire.text`: decimal, date, timestamp_ntz. A map's keys may be any scalar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from millrace.connectors.base import Field
from millrace.connectors.wire.values import Convert, readable, row_of
from millrace.spec.types import DataType, Kind

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.connectors.wire.refusals import Encoded


def encode(batch: pa.RecordBatch | pa.Table, fields: Sequence[Field]) -> Encoded:
    """One map a row, of the batch's columns that the fields name, in their order.

    A row is refused for text that is not UTF-8, for a date outside of the years 1 to 9999 and for more than 2^32 - 1
    bytes or elements. Raises ValueError when a column is missing, of another type, or a map whose keys are nested.
    """
    from millrace.connectors.wire.msgpack_columns import encode_rows

    return encode_rows(batch, fields)


def decoder(fields: Sequence[Field]) -> Callable[[bytes], dict[str, Any]]:
    """A function from a map's bytes to Python values by name, in the fields' order.

    What is missing is None, other names are ignored. Raises UnreadableValue for bytes that are no such map.
    """
    import ormsgpack

    row = row_of([field.column for field in fields], _leaf, _leaf)
    option = ormsgpack.OPT_NON_STR_KEYS | ormsgpack.OPT_DATETIME_AS_TIMESTAMP_EXT
    unpack = ormsgpack.unpackb

    def decode(data: bytes) -> dict[str, Any]:
        found = unpack(data, option=option)
        if not isinstance(found, dict):
            raise ValueError(f"expected a map, got {type(found).__name__}")
        return row(found)

    return readable(decode, "a MessagePack value")


def _leaf(type_: DataType) -> Convert | None:
    match type_.kind:
        case Kind.DECIMAL:
            return Decimal
        case Kind.DATE:
            return date.fromisoformat
        case Kind.TIMESTAMP_NTZ:
            return datetime.fromisoformat
        case _:
            return None
