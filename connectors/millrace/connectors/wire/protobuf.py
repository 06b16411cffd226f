"""A row as one proto3 message: written by column, read one value at a time, declared by a generated `.proto` file.

Null is absent; everything that is not null is written, zero and empty text too (proto3's `optional`). Integers are
`int32` or `int64`, decimals text, dates days and timestamps microseconds since 1970 UTC, arrays `repeated` (packed
where proto3 packs), maps `map`, structs nested messages. proto3 can't tell an empty repeated field from a null one, so
each message lists its empty ones in one more field, which other clients may ignore.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from millrace.connectors.base import Field
from millrace.connectors.wire.protobuf_schema import (
    PACKAGE,
    Member,
    Message,
    Shape,
    descriptor_of,
    message_of,
    proto_text,
)
from millrace.connectors.wire.speedups import RowReader, row_reader
from millrace.connectors.wire.values import Convert, readable
from millrace.spec.types import DataType, Kind

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.connectors.wire.refusals import Encoded

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_NTZ = datetime(1970, 1, 1)
_EPOCH_ORDINAL = _EPOCH.toordinal()
_Read = Callable[[Any], Any]


def encode(batch: pa.RecordBatch | pa.Table, fields: Sequence[Field]) -> Encoded:
    """One message a row, of the batch's columns that the fields name.

    A row is refused for text that is not UTF-8, a date outside of the years 1 to 9999, a null inside an array or as a
    map's value. Raises ValueError when a column is missing, of another type, or can't be stored at all.
    """
    from millrace.connectors.wire.protobuf_columns import encode_rows

    return encode_rows(batch, fields)


def proto_file(asset: str, fields: Sequence[Field]) -> str:
    """The `.proto` file for clients in other languages. Raises ValueError for types that can't be stored."""
    return proto_text(asset, message_of(asset, fields))


def decoder(fields: Sequence[Field]) -> Callable[[bytes], dict[str, Any]]:
    """A function from a message's bytes to Python values by name, in the fields' order.

    What is absent is None, fields of other numbers are ignored. Raises UnreadableValue for bytes that are no message.
    """
    from google.protobuf import message_factory
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message import DecodeError

    message = message_of("row", fields)
    pool = DescriptorPool()
    pool.Add(descriptor_of(message, "row.proto"))
    parse = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{message.name}")).FromString
    read, quick = _message_reader(message), _row_reader(message)

    def decode(data: bytes) -> dict[str, Any]:
        row: dict[str, Any] | None = None if quick is None else quick(data)
        return read(parse(data)) if row is None else row

    return readable(decode, "a Protobuf value", (DecodeError,))


def _row_reader(message: Message) -> RowReader | None:
    """The quick way to read most messages of scalars, where there is one."""
    if any(member.shape is not Shape.SINGLE or member.message is not None for member in message.members):
        return None
    return row_reader([(member, _scalar_reader(member.item)) for member in message.members])


def _message_reader(message: Message) -> _Read:
    """From a parsed message to a dict by column."""
    names = [member.column.name for member in message.members]
    scalars, submessages, repeated = [], [], []
    for m in message.members:
        if m.shape is not Shape.SINGLE:
            repeated.append((m.column.name, m.name, m.number, _repeated_reader(m)))
        elif m.message is not None:
            submessages.append((m.column.name, m.name, _message_reader(m.message)))
        else:
            scalars.append((m.column.name, m.name, _scalar_reader(m.item)))
    empties = message.empties
    plain = attrgetter(*(name for _, name, _ in scalars)) if len(scalars) == len(names) > 1 else None
    if any(convert is not None for _, _, convert in scalars):
        plain = None

    def read(found: Any) -> dict[str, Any]:
        if plain is not None and all(values := plain(found)):  # whatever is not zero is there
            return dict(zip(names, values, strict=True))
        row: dict[str, Any] = dict.fromkeys(names)
        has = found.HasField
        for column, name, convert in scalars:
            value = getattr(found, name)
            if value or has(name):
                row[column] = value if convert is None else convert(value)
        for column, name, read_submessage in submessages:
            if has(name):
                row[column] = read_submessage(getattr(found, name))
        for column, name, number, read_items in repeated:
            items = getattr(found, name)
            if items or empties is None or number in getattr(found, empties):
                row[column] = read_items(items)
        return row

    return read


def _repeated_reader(member: Member) -> _Read:
    item = _item_reader(member)
    if member.shape is Shape.REPEATED:
        return list if item is None else lambda items: [item(value) for value in items]
    if member.shape is Shape.PAIRS:
        return lambda pairs: {pair["key"]: pair["value"] for pair in map(item or dict, pairs)}
    key = _scalar_reader(member.key) or _same
    value = item or _same
    return lambda items: {key(k): value(v) for k, v in items.items()}


def _item_reader(member: Member) -> Convert | None:
    """How one stored item becomes its Python value; None when it already is one."""
    if member.message is None:
        return _scalar_reader(member.item)
    read = _message_reader(member.message)
    if member.item.kind is Kind.STRUCT or member.shape is Shape.PAIRS:
        return read
    return lambda wrapper: read(wrapper)["items"]


def _scalar_reader(type_: DataType) -> Convert | None:
    match type_.kind:
        case Kind.DECIMAL:
            return Decimal
        case Kind.DATE:
            return lambda days: date.fromordinal(_EPOCH_ORDINAL + days)
        case Kind.TIMESTAMP:
            return lambda microseconds: _EPOCH + timedelta(microseconds=microseconds)
        case Kind.TIMESTAMP_NTZ:
            return lambda microseconds: _EPOCH_NTZ + timedelta(microseconds=microseconds)
        case _:
            return None


def _same(value: Any) -> Any:
    return value
