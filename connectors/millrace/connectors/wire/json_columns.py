"""JSON of whole columns, as `json` declares it."""

from __future__ import annotations

import binascii
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.connectors.base import Field
from millrace.connectors.wire.columns import (
    AnyArray,
    Batch,
    binary_cells,
    conform,
    list_parts,
    map_parts,
    members,
    named,
    numbers,
    present_rows,
)
from millrace.connectors.wire.refusals import Encoded, Refusals
from millrace.connectors.wire.rows import Cells, Integers, Mask, RowBuilder, buffer_of, from_offsets, grouped, view
from millrace.connectors.wire.text_columns import scalar_texts
from millrace.spec.types import Column, DataType, Kind

_BARE = frozenset({Kind.BOOLEAN, Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT, Kind.FLOAT, Kind.DOUBLE})
_FLOATS = {Kind.FLOAT: np.float32, Kind.DOUBLE: np.float64}
_SPECIAL_NUMBERS = ((b"nan", b'"NaN"'), (b"inf", b'"Infinity"'), (b"-inf", b'"-Infinity"'), (b"-0", b"-0.0"))
_BLANK, _QUOTE, _BACKSLASH = b' "\\'


def encode_rows(batch: Batch, fields: Sequence[Field]) -> Encoded:
    """See `millrace.connectors.wire.json.encode`."""
    refusals = Refusals()
    columns = [field.column for field in fields]
    arrays = [conform(named(batch, column.name), column.type, refusals, column.name) for column in columns]
    return refusals.encoded(_objects(columns, arrays, batch.num_rows, refusals, ""))


def value_texts(array: AnyArray, type_: DataType, refusals: Refusals, where: str) -> Cells:
    """The JSON of each cell of a conformed column; null where it is null."""
    builder = RowBuilder(len(array))
    _value(builder, array, type_, b"", refusals, where)
    return Cells(builder.build(), present_rows(array))


def _objects(
    columns: Sequence[Column], arrays: Sequence[AnyArray], rows: int, refusals: Refusals, where: str
) -> pa.LargeBinaryArray:
    builder = RowBuilder(rows)
    before = b"{"
    for column, array in zip(columns, arrays, strict=True):
        before += json.dumps(column.name, ensure_ascii=False).encode() + b":"
        _value(builder, array, column.type, before, refusals, f"{where}{column.name}")
        before = b","
    builder.constant(b"}" if columns else b"{}")
    return builder.build()


def _value(
    builder: RowBuilder, array: AnyArray, type_: DataType, before: bytes, refusals: Refusals, where: str
) -> None:
    """`before`, then the value or `null`."""
    if type_.kind in _BARE:
        cells, left, right = _bare(array, type_), b"", b""
    elif not type_.nested:
        cells, left, right = _quoted(array, type_), b'"', b'"'
    elif type_.kind is Kind.ARRAY:
        cells, left, right = _lists(array, type_, refusals, where), b"[", b"]"
    elif type_.kind is Kind.MAP:
        cells, left, right = _maps(array, type_, refusals, where), b"{", b"}"
    else:
        cells, left, right = _structs(array, type_, refusals, where), b"", b""
    builder.choice(cells.present, before + left, before + b"null")
    builder.cells(cells)
    if right:
        builder.constant(right, cells.present)


def _bare(array: AnyArray, type_: DataType) -> Cells:
    cells = scalar_texts(array, type_)
    if type_.kind not in _FLOATS:
        return cells
    raw = numbers(array, _FLOATS[type_.kind])
    if not (~np.isfinite(raw) | ((raw == 0) & np.signbit(raw))).any():
        return cells
    texts: Any = cells.array()
    for arrow, ours in _SPECIAL_NUMBERS:
        texts = pc.if_else(
            pc.equal(texts, pa.scalar(arrow, pa.large_binary())), pa.scalar(ours, pa.large_binary()), texts
        )
    return binary_cells(texts)


def _quoted(array: AnyArray, type_: DataType) -> Cells:
    """What stands between the quotation marks."""
    cells = scalar_texts(array, type_)
    if type_.kind is Kind.STRING:
        return _escaped(cells)
    return _base64(cells) if type_.kind is Kind.BINARY else cells


def _lists(array: AnyArray, type_: DataType, refusals: Refusals, where: str) -> Cells:
    inner = Refusals()
    element = type_.fields[0].type
    present, offsets, elements = list_parts(array)
    elements = conform(elements, element, inner, f"{where}[]")
    builder = RowBuilder(len(elements))
    builder.choice(_first(offsets, len(elements)), b"", b",")
    _value(builder, elements, element, b"", inner, f"{where}[]")
    refusals.lift(inner, offsets)
    return grouped(builder.build(), offsets, present)


def _maps(array: AnyArray, type_: DataType, refusals: Refusals, where: str) -> Cells:
    key, value = (field.type for field in type_.fields)
    if key.nested:
        raise ValueError(f"column '{where}' is {type_}: a map's keys can't be {key}, no reader could look them up")
    inner = Refusals()
    present, offsets, keys, values = map_parts(array)
    keys = conform(keys, key, inner, f"{where}.key")
    values = conform(values, value, inner, f"{where}.value")
    builder = RowBuilder(len(keys))
    builder.choice(_first(offsets, len(keys)), b'"', b',"')
    builder.cells(_quoted(keys, key))
    _value(builder, values, value, b'":', inner, f"{where}.value")
    refusals.lift(inner, offsets)
    return grouped(builder.build(), offsets, present)


def _structs(array: AnyArray, type_: DataType, refusals: Refusals, where: str) -> Cells:
    arrays = [
        conform(part, member.type, refusals, f"{where}.{member.name}")
        for part, member in zip(members(array, type_), type_.fields, strict=True)
    ]
    return Cells(_objects(type_.fields, arrays, len(array), refusals, f"{where}."), present_rows(array))


def _first(offsets: Integers, elements: int) -> Mask:
    """Which elements are the first of their list."""
    found = np.zeros(elements, np.bool_)
    found[offsets[:-1][offsets[1:] > offsets[:-1]]] = True
    return found


def _escaped(cells: Cells) -> Cells:
    """Strings with RFC 8259's escapes; only rows that need some are touched."""
    data = cells.data()
    special = (data < _BLANK) | (data == _QUOTE) | (data == _BACKSLASH)
    if not special.any():
        return cells
    places = np.flatnonzero(special)
    rows = np.unique(cells.offsets.searchsorted(places + cells.offsets[0], side="right") - 1)
    texts: Any = cells.values.take(pa.array(rows))
    found = np.unique(data[places]).tolist()
    for octet in sorted(found, key=lambda octet: octet != _BACKSLASH):  # the other escapes hold one, so it goes first
        texts = pc.replace_substring(texts, bytes([octet]), json.dumps(chr(octet))[1:-1].encode())
    return _replaced(cells, rows, texts)


def _replaced(cells: Cells, rows: Integers, texts: pa.LargeBinaryArray) -> Cells:
    builder = RowBuilder(len(cells))
    codes = np.arange(len(cells))
    codes[rows] = len(cells) + np.arange(len(rows))
    builder.table(pa.concat_arrays([cells.values, texts]), codes)
    return Cells(builder.build(), cells.present)


def _base64(cells: Cells) -> Cells:
    """Base64 in one call for the whole column: cells are padded to three bytes each, then their tails set to `=`."""
    padding = -cells.lengths % 3
    builder = RowBuilder(len(cells))
    builder.cells(cells)
    builder.table(pa.array([b"", b"\0", b"\0\0"], pa.large_binary()), padding)
    padded = builder.build()
    text = np.frombuffer(bytearray(binascii.b2a_base64(view(padded.buffers()[2]), newline=False)), np.uint8)
    offsets = np.zeros(len(cells) + 1, np.int64)
    np.cumsum((cells.lengths + padding) // 3 * 4, out=offsets[1:])
    ends = offsets[1:]
    text[ends[padding >= 1] - 1] = ord("=")
    text[ends[padding == 2] - 2] = ord("=")
    return Cells(from_offsets(offsets, buffer_of(text)), cells.present)
