"""Rows as Thrift's `BatchMutation` structs, by column (the encoding of `millrace.connectors.wire.thrift`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from millrace.connectors.hbase import service
from millrace.connectors.hbase.columns import Rows
from millrace.connectors.hbase.layout import Manifest
from millrace.connectors.wire import thrift
from millrace.connectors.wire.rows import Cells, Integers, Mask, RowBuilder, both, offsets_of, view

#: Rows and bytes of one call: enough that the call itself costs little, few enough that both sides have work.
CALL_ROWS = 2000
CALL_BYTES = 1 << 20

_ROW = thrift.field_head(thrift.BINARY, 1)
_MUTATIONS = thrift.field_head(thrift.LIST, 2)
_VALUE = thrift.field_head(thrift.BINARY, 3)
_IS_DELETE = thrift.field_head(thrift.BOOL, 1) + b"\1"
_COLUMN = thrift.field_head(thrift.BINARY, 2)


@dataclass(frozen=True)
class _SizeHead:
    """Some bytes, then a length or a count."""

    before: bytes

    def __call__(self, size: int) -> bytes:
        return self.before + size.to_bytes(4, "big")


@dataclass(frozen=True)
class Call:
    """One mutateRowsTs over the rows `[first, end)` of what was encoded."""

    first: int
    end: int
    payload: bytes


def batch_mutations(manifest: Manifest, rows: Rows, *, erase_nulls: bool) -> pa.LargeBinaryArray:
    """What each row sends: its cells, or the removal of all of them where the row is deleted.

    With `erase_nulls`, a null removes the cell that an earlier version may have left.
    """
    builder = RowBuilder(len(rows))
    alive = None if rows.deleted is None else ~rows.deleted
    empty = rows.empty() if alive is None else rows.empty() & alive
    keys = Cells(rows.keys)
    builder.head(_SizeHead(_ROW), keys.lengths)
    builder.cells(keys)
    builder.head(_SizeHead(_MUTATIONS + bytes([thrift.STRUCT])), _mutations(manifest, rows, empty, erase_nulls))
    for place, cells in zip(manifest.places, rows.columns, strict=True):
        put = both(cells.present, alive)
        builder.head(_SizeHead(_COLUMN + thrift.binary(place.column) + _VALUE), cells.lengths, put)
        builder.cells(cells, alive)
        builder.constant(thrift.STOP, put)
        if erase_nulls and cells.present is not None:
            builder.constant(_IS_DELETE + _column(place.column), both(~cells.present, alive))
    if empty.any():
        builder.constant(_column(manifest.marker, _VALUE + thrift.binary(b"")), empty)
    if rows.deleted is not None:
        for family in manifest.families:
            builder.constant(_IS_DELETE + _column(family.encode()), rows.deleted)
    builder.constant(thrift.STOP)
    return builder.build()


def calls(manifest: Manifest, encoded: pa.LargeBinaryArray) -> Iterator[Call]:
    """The rows in calls of about a megabyte, a row at least in each."""
    offsets, data = offsets_of(encoded), view(encoded.buffers()[2])
    tail = service.mutate_rows_tail(manifest.stamp_ms)
    first = 0
    while first < len(encoded):
        end = _end_of_call(offsets, first)
        head = service.mutate_rows_head(manifest.table, end - first)
        yield Call(first, end, b"".join((head, data[offsets[first] : offsets[end]], tail)))
        first = end


def _end_of_call(offsets: Integers, first: int) -> int:
    by_size = int(np.searchsorted(offsets, offsets[first] + CALL_BYTES, side="right")) - 1
    return min(max(by_size, first + 1), first + CALL_ROWS, len(offsets) - 1)


def _mutations(manifest: Manifest, rows: Rows, empty: Mask, erase_nulls: bool) -> Integers:
    """How many mutations each row has."""
    found = np.full(len(rows), 0, np.int64)
    for cells in rows.columns:
        found += 1 if erase_nulls or cells.present is None else cells.present
    found += empty
    return found if rows.deleted is None else np.where(rows.deleted, len(manifest.families), found)


def _column(name: bytes, value: bytes = b"") -> bytes:
    return _COLUMN + thrift.binary(name) + value + thrift.STOP
