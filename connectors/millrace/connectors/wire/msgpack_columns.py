"""MessagePack of whole columns, as `msgpack` declares it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
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
from millrace.connectors.wire.refusals import Encoded, Refusals
from millrace.connectors.wire.rows import Cells, Integers, Mask, RowBuilder, from_matrix, grouped
from millrace.connectors.wire.text_columns import scalar_texts
from millrace.spec.types import Column, DataType, Kind

_NIL = b"\xc0"
_INTEGERS = frozenset({Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT})
_FLOATS = {Kind.FLOAT: ("<f4", b"\xca"), Kind.DOUBLE: ("<f8", b"\xcb")}
_TIMESTAMP_HEAD = b"\xc7\x0c\xff"  # ext 8, 12 bytes, type -1
_TIMESTAMP = np.dtype([("head", "S3"), ("nanoseconds", ">u4"), ("seconds", ">i8")])
_MICROSECONDS = 1_000_000
_INTEGER_HEAD = 0xCC  # uint8; then uint16, 32, 64 and int8 to 64
_WIDTHS = np.array([0, 1, 2, 4, 8])
_SHIFTS = np.array([0, 56, 48, 32, 0])
_MAX_LENGTH = (1 << 32) - 1


def encode_rows(batch: Batch, fields: Sequence[Field]) -> Encoded:
    """See `millrace.connectors.wire.msgpack.encode`."""
    refusals = Refusals()
    columns = [field.column for field in fields]
    arrays = [conform(named(batch, column.name), column.type, refusals, column.name) for column in columns]
    return refusals.encoded(_maps_of(columns, arrays, batch.num_rows, refusals, ""))


@dataclass(frozen=True)
class _Head:
    """The head of something with a length: fixed form up to `fixed_max`, then 8, 16 and 32 bits where they exist."""

    fixed: int
    fixed_max: int
    bits8: int | None
    bits16: int
    bits32: int

    def __call__(self, length: int) -> bytes:
        if length <= self.fixed_max:
            return bytes([self.fixed | length])
        if length < 1 << 8 and self.bits8 is not None:
            return bytes([self.bits8, length])
        if length < 1 << 16:
            return struct.pack(">BH", self.bits16, length)
        return struct.pack(">BI", self.bits32, length)


_STR = _Head(0xA0, 31, 0xD9, 0xDA, 0xDB)
_BIN = _Head(0, -1, 0xC4, 0xC5, 0xC6)
_ARRAY = _Head(0x90, 15, None, 0xDC, 0xDD)
_MAP = _Head(0x80, 15, None, 0xDE, 0xDF)


def _maps_of(
    columns: Sequence[Column], arrays: Sequence[AnyArray], rows: int, refusals: Refusals, where: str
) -> pa.LargeBinaryArray:
    builder = RowBuilder(rows)
    builder.constant(_MAP(len(columns)))
    for column, array in zip(columns, arrays, strict=True):
        name = column.name.encode()
        builder.constant(_STR(len(name)) + name)
        _value(builder, array, column.type, refusals, f"{where}{column.name}")
    return builder.build()


def _value(builder: RowBuilder, array: AnyArray, type_: DataType, refusals: Refusals, where: str) -> None:
    """The value, or nil."""
    if type_.kind is Kind.ARRAY:
        cells, counts = _elements(array, type_, refusals, where)
        builder.head(_ARRAY, counts, cells.present)
    elif type_.kind is Kind.MAP:
        cells, counts = _entries(array, type_, refusals, where)
        builder.head(_MAP, counts, cells.present)
    elif type_.kind is Kind.STRUCT:
        arrays = [
            conform(part, member.type, refusals, f"{where}.{member.name}")
            for part, member in zip(members(array, type_), type_.fields, strict=True)
        ]
        cells = Cells(_maps_of(type_.fields, arrays, len(array), refusals, f"{where}."), present_rows(array))
    else:
        cells = _scalars(builder, array, type_, refusals, where)
    builder.cells(cells)
    if cells.present is not None:
        builder.constant(_NIL, ~cells.present)


def _elements(array: AnyArray, type_: DataType, refusals: Refusals, where: str) -> tuple[Cells, Integers]:
    inner = Refusals()
    present, offsets, elements = list_parts(array)
    element = type_.fields[0].type
    builder = RowBuilder(len(elements))
    _value(builder, conform(elements, element, inner, f"{where}[]"), element, inner, f"{where}[]")
    refusals.lift(inner, offsets)
    return grouped(builder.build(), offsets, present), np.diff(offsets)


def _entries(array: AnyArray, type_: DataType, refusals: Refusals, where: str) -> tuple[Cells, Integers]:
    key, value = (field.type for field in type_.fields)
    if key.nested:
        raise ValueError(f"column '{where}' is {type_}: a map's keys can't be {key}, no reader could look them up")
    inner = Refusals()
    present, offsets, keys, values = map_parts(array)
    builder = RowBuilder(len(keys))
    _value(builder, conform(keys, key, inner, f"{where}.key"), key, inner, f"{where}.key")
    _value(builder, conform(values, value, inner, f"{where}.value"), value, inner, f"{where}.value")
    refusals.lift(inner, offsets)
    return grouped(builder.build(), offsets, present), np.diff(offsets)


def _scalars(builder: RowBuilder, array: AnyArray, type_: DataType, refusals: Refusals, where: str) -> Cells:
    """Cells with their own heads; for text and bytes the heads go to the builder."""
    present = present_rows(array)
    if type_.kind is Kind.BOOLEAN:
        return from_matrix((integers(array) + 0xC2).astype(np.uint8).reshape(-1, 1), present=present)
    if type_.kind in _INTEGERS:
        return _integers(integers(array), present)
    if type_.kind is Kind.TIMESTAMP:
        return _timestamps(integers(array), present)
    if type_.kind in _FLOATS:
        native, head = _FLOATS[type_.kind]
        return _headed(numbers(array, native).byteswap(), head, present)
    cells = scalar_texts(array, type_)
    _refuse_huge(cells.lengths, refusals, where)
    builder.head(_BIN if type_.kind is Kind.BINARY else _STR, cells.lengths, cells.present)
    return cells


def _headed(big_endian: npt.NDArray[Any], head: bytes, present: Mask | None) -> Cells:
    matrix = np.empty((len(big_endian), 1 + big_endian.itemsize), np.uint8)
    matrix[:, 0] = head[0]
    matrix[:, 1:] = big_endian.view(np.uint8).reshape(len(big_endian), big_endian.itemsize)
    return from_matrix(matrix, present=present)


def _integers(values: Integers, present: Mask | None) -> Cells:
    """The shortest form of each: one byte for -32 to 127, else a head and 1, 2, 4 or 8 bytes, big-endian."""
    if present is not None:
        values = np.where(present, values, 0)
    negative = values < 0
    magnitude = np.where(negative, (~values << 1) | 1, values).view(np.uint64)  # both signs need the same widths
    class_ = np.where((values >= -32) & (values < 128), 0, 1)
    for bits in (8, 16, 32):
        class_ += magnitude >= np.uint64(1 << bits)
    widths = _WIDTHS[class_]
    matrix = np.empty((len(values), 1 + int(widths.max(initial=0))), np.uint8)
    matrix[:, 0] = np.where(class_ == 0, values, _INTEGER_HEAD - 1 + class_ + 4 * negative)
    payload = (values << _SHIFTS[class_]).astype(">i8").view(np.uint8).reshape(-1, 8)
    matrix[:, 1:] = payload[:, : matrix.shape[1] - 1]
    return from_matrix(matrix, widths + 1, present)


def _timestamps(microseconds: Integers, present: Mask | None) -> Cells:
    found = np.empty(len(microseconds), _TIMESTAMP)
    seconds = microseconds // _MICROSECONDS
    found["head"] = _TIMESTAMP_HEAD
    found["seconds"] = seconds
    found["nanoseconds"] = (microseconds - seconds * _MICROSECONDS) * 1000
    return from_matrix(found.view(np.uint8).reshape(-1, _TIMESTAMP.itemsize), present=present)


def _refuse_huge(lengths: Integers, refusals: Refusals, where: str) -> None:
    if lengths.max(initial=0) > _MAX_LENGTH:
        rows = np.flatnonzero(lengths > _MAX_LENGTH).tolist()
        refusals.add(rows, f"{where}: MessagePack can't hold more than {_MAX_LENGTH} bytes")
