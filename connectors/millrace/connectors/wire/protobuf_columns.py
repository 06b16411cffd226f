"""Protobuf messages from whole columns, as `protobuf` and `protobuf_schema` declare them.

Wire format: https://protobuf.dev/programming-guides/encoding/. A message is its fields one after the other, so a row is
put together from one or two pieces a column, and nested messages are rows of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from millrace.connectors.base import Field
from millrace.connectors.wire.columns import (
    AnyArray,
    Batch,
    conform,
    integers,
    list_parts,
    map_parts,
    members,
    named,
    numbers,
    present_rows,
)
from millrace.connectors.wire.protobuf_schema import EMPTY_NUMBER, Member, Message, Shape, message_of
from millrace.connectors.wire.refusals import Encoded, Refusals
from millrace.connectors.wire.rows import Cells, Integers, Mask, RowBuilder, from_matrix, grouped
from millrace.connectors.wire.text_columns import scalar_texts
from millrace.connectors.wire.varint import varint
from millrace.connectors.wire.varints import varint_cells
from millrace.spec.types import DataType, Kind

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED = {Kind.FLOAT: ("<f4", _FIXED32), Kind.DOUBLE: ("<f8", _FIXED64)}
_BYTES = frozenset({Kind.STRING, Kind.BINARY, Kind.DECIMAL})


def encode_rows(batch: Batch, fields: Sequence[Field]) -> Encoded:
    """See `millrace.connectors.wire.protobuf.encode`."""
    message = message_of("row", fields)
    refusals = Refusals()
    arrays = [conform(named(batch, field.name), field.column.type, refusals, field.name) for field in fields]
    return refusals.encoded(_messages(message, arrays, batch.num_rows, refusals, ""))


@dataclass(frozen=True)
class _LengthHead:
    """A tag and the length of what follows."""

    tag: bytes

    def __call__(self, size: int) -> bytes:
        return self.tag + varint(size)


def _messages(
    message: Message, arrays: Sequence[AnyArray], rows: int, refusals: Refusals, where: str
) -> pa.LargeBinaryArray:
    """One message a row, from conformed arrays in the order of its members."""
    builder = RowBuilder(rows)
    for member, array in zip(message.members, arrays, strict=True):
        place = f"{where}{member.column.name}"
        if member.shape is Shape.SINGLE:
            _single(builder, member, array, refusals, place)
        else:
            _repeated(builder, member, array, message.empties is not None, refusals, place)
    return builder.build()


def _single(builder: RowBuilder, member: Member, array: AnyArray, refusals: Refusals, where: str) -> None:
    if member.message is None:
        _scalar(builder, array, member.item, member.number)
        return
    inner = _structs(member.message, array, member.item, refusals, where)
    _delimited(builder, Cells(inner), member.number, present_rows(array))


def _repeated(
    builder: RowBuilder, member: Member, array: AnyArray, nullable: bool, refusals: Refusals, where: str
) -> None:
    inner = Refusals()
    if member.shape is Shape.REPEATED:
        present, offsets, items = list_parts(array)
        items = _items(items, member.item, inner, f"{where}[]")
        if _packs(member.item):
            payload = grouped(_scalar_cells(items, member.item, b"").compact(), offsets)
            _delimited(builder, payload, member.number, offsets[1:] > offsets[:-1])
        else:
            elements = RowBuilder(len(items))
            _item(elements, member, items, member.number, inner, f"{where}[]")
            builder.cells(grouped(elements.build(), offsets))
    else:
        present, offsets, keys, values = map_parts(array)
        entries = _entries(member, keys, values, inner, where)
        elements = RowBuilder(len(keys))
        _delimited(elements, Cells(entries), member.number, None)
        builder.cells(grouped(elements.build(), offsets))
    refusals.lift(inner, offsets)
    if nullable:
        _mark_empty(builder, member.number, present, offsets)


def _entries(member: Member, keys: AnyArray, values: AnyArray, refusals: Refusals, where: str) -> pa.LargeBinaryArray:
    keys = conform(keys, member.key, refusals, f"{where}.key")
    if member.shape is Shape.PAIRS and member.message is not None:
        values = conform(values, member.item, refusals, f"{where}.value")
        return _messages(member.message, [keys, values], len(keys), refusals, f"{where}.")
    values = _items(values, member.item, refusals, f"{where}.value")
    entry = RowBuilder(len(keys))
    _scalar(entry, keys, member.key, 1)
    _item(entry, member, values, 2, refusals, f"{where}.value")
    return entry.build()


def _items(array: AnyArray, type_: DataType, refusals: Refusals, where: str) -> AnyArray:
    """Conformed elements; a null among them refuses its row, because proto3 has no way to write it."""
    found = conform(array, type_, refusals, where)
    present = present_rows(found)
    if present is not None:
        refusals.add(np.flatnonzero(~present).tolist(), f"{where}: Protobuf can't hold a null inside an array or a map")
    return found


def _item(builder: RowBuilder, member: Member, array: AnyArray, number: int, refusals: Refusals, where: str) -> None:
    if member.message is None:
        _scalar(builder, array, member.item, number)
        return
    inner = _structs(member.message, array, member.item, refusals, where)
    _delimited(builder, Cells(inner), number, None)


def _structs(message: Message, array: AnyArray, type_: DataType, refusals: Refusals, where: str) -> pa.LargeBinaryArray:
    """The messages of structs, or of wrappers with the one field `items`."""
    if type_.kind is not Kind.STRUCT:
        return _messages(message, [array], len(array), refusals, f"{where}.")
    arrays = [
        conform(part, member.type, refusals, f"{where}.{member.name}")
        for part, member in zip(members(array, type_), type_.fields, strict=True)
    ]
    return _messages(message, arrays, len(array), refusals, f"{where}.")


def _scalar(builder: RowBuilder, array: AnyArray, type_: DataType, number: int) -> None:
    """A tagged scalar, and nothing where it is null."""
    if type_.kind in _BYTES:
        _delimited(builder, scalar_texts(array, type_), number, None)
    else:
        builder.cells(_scalar_cells(array, type_, _tag(number, _FIXED.get(type_.kind, ("", _VARINT))[1])))


def _scalar_cells(array: AnyArray, type_: DataType, tag: bytes) -> Cells:
    """`tag` and the value of a type that proto3 packs."""
    present = present_rows(array)
    if type_.kind in _FIXED:
        raw = numbers(array, _FIXED[type_.kind][0])
        octets = raw.view(np.uint8).reshape(len(raw), raw.itemsize)
        matrix = np.empty((len(raw), len(tag) + raw.itemsize), np.uint8)
        matrix[:, : len(tag)] = np.frombuffer(tag, np.uint8)
        matrix[:, len(tag) :] = octets
        return from_matrix(matrix, present=present)
    return varint_cells(integers(array), tag, present)


def _delimited(builder: RowBuilder, cells: Cells, number: int, present: Mask | None) -> None:
    shown = cells.present if present is None else present
    builder.head(_LengthHead(_tag(number, _LENGTH)), cells.lengths, shown)
    builder.cells(cells, shown)


def _mark_empty(builder: RowBuilder, number: int, present: Mask | None, offsets: Integers) -> None:
    empty = offsets[1:] == offsets[:-1]
    if present is not None:
        empty &= present
    if empty.any():
        builder.constant(_tag(EMPTY_NUMBER, _VARINT) + varint(number), empty)


def _packs(type_: DataType) -> bool:
    return not type_.nested and type_.kind not in _BYTES


def _tag(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)
