"""The writing half of `layout`: Arrow batches as row keys and cells. By column; needs pyarrow."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millrace.connectors.base import DirtyRow, Field
from millrace.connectors.hbase.layout import INTEGER_BYTES, MAX_ROW_KEY_BYTES, Manifest, RowKey
from millrace.connectors.hbase.options import Cells as CellForm
from millrace.connectors.hbase.options import RowKeyForm
from millrace.connectors.wire.columns import AnyArray, conform, flat, integers, named, numbers, present_rows
from millrace.connectors.wire.dirty import dirty_row
from millrace.connectors.wire.refusals import Encoded, Refusals
from millrace.connectors.wire.rows import (
    Cells,
    Integers,
    Mask,
    RowBuilder,
    buffer_of,
    from_matrix,
    from_offsets,
    offsets_of,
    view,
)
from millrace.connectors.wire.text_columns import cell_texts, escaped_texts, scalar_texts
from millrace.spec.types import DataType, Kind

MAX_CELL_BYTES = (10 << 20) - 1024  # hbase.client.keyvalue.maxsize and hbase.server.keyvalue.maxsize, less the key
MAX_ROW_BYTES = 64 << 20  # of one call to the Thrift server, which takes 100 MiB
Hashes = npt.NDArray[np.uint32]

_CRC_TABLE = np.array(  # CRC-32 is affine: what a byte changes is the same whatever stands around it
    [zlib.crc32(bytes([byte])) ^ zlib.crc32(b"\0") for byte in range(256)], np.uint32
)
_FIXED: Mapping[Kind, str] = {
    Kind.TINYINT: "i1",
    Kind.SMALLINT: "i2",
    Kind.INT: "i4",
    Kind.BIGINT: "i8",
    Kind.FLOAT: "f4",
    Kind.DOUBLE: "f8",
    Kind.DATE: "i4",
    Kind.TIMESTAMP: "i8",
    Kind.TIMESTAMP_NTZ: "i8",
}
_DECIMAL_BYTES = 16
_SCALE_BYTES = 4


@dataclass(frozen=True)
class Rows:
    """The rows of a batch that can be stored: `keys[i]`, and cell i of each of `columns`, are row `index[i]` of it."""

    batch: pa.RecordBatch
    index: Integers
    keys: pa.LargeBinaryArray
    columns: tuple[Cells, ...]  # one for each place of the manifest
    deleted: Mask | None = None  # rows that go away instead; none has one in a `replace`

    def __len__(self) -> int:
        return len(self.index)

    def empty(self) -> Mask:
        """The rows of nothing but nulls, which get a marker; None of them is deleted."""
        found = np.ones(len(self), np.bool_)
        for cells in self.columns:
            if cells.present is None:
                return np.zeros(len(self), np.bool_)
            found &= ~cells.present
        return found


def encode_rows(manifest: Manifest, batch: pa.RecordBatch, deletes: str | None = None) -> tuple[Rows, list[DirtyRow]]:
    """The rows as keys and cells, and those that can't be stored, with the reason.

    A key that is null in part or too long, a value that doesn't fit its type or its cell, a row too long.
    """
    keys = encode_keys(manifest.row_key, manifest.types, batch)
    refusals = Refusals()
    columns = [_cells(manifest, batch, place.field, refusals) for place in manifest.places]
    reasons = {**_too_long(columns), **refusals.reasons, **keys.refused}
    found = Rows(batch, np.arange(batch.num_rows), keys.values, tuple(columns), _deleted(batch, deletes))
    if not reasons:
        return found, []
    kept = np.delete(found.index, list(reasons))
    dirty = [dirty_row(batch, row, reasons[row], manifest.row_key.template.columns) for row in sorted(reasons)]
    return take(found, kept), dirty


def take(rows: Rows, positions: Integers) -> Rows:
    """Some of the rows, in any order."""
    chosen = pa.array(positions, pa.int64())
    return Rows(
        rows.batch,
        rows.index[positions],
        rows.keys.take(chosen),
        tuple(_taken(cells, positions) for cells in rows.columns),
        None if rows.deleted is None else rows.deleted[positions],
    )


def encode_keys(row_key: RowKey, types: Mapping[str, DataType], batch: pa.RecordBatch | pa.Table) -> Encoded:
    """The row key of each row, as `RowKey.fill` makes it; `refused` says which have none, and why."""
    ordered = row_key.form is RowKeyForm.ORDERED
    found = _ordered_keys(row_key, types, batch) if ordered else row_key.template.render(batch, types)
    reasons = dict(found.refused)
    keys = from_offsets(offsets_of(found.values), found.values.buffers()[2])
    if row_key.form is RowKeyForm.REVERSE:
        keys = reversed_bytes(keys)
    if row_key.form is RowKeyForm.HASH:
        keys = _joined(_big_endian(crc32(keys), "u4", None), Cells(keys))
    if row_key.salt_buckets is not None:
        salts = crc32(keys) % np.uint32(row_key.salt_buckets)
        keys = _joined(from_matrix(salts.astype(np.uint8).reshape(-1, 1)), Cells(keys))
    lengths = np.diff(offsets_of(keys))
    for row in np.flatnonzero((lengths > MAX_ROW_KEY_BYTES) | (lengths == 0)).tolist():
        reasons.setdefault(row, f"the row key has {lengths[row]:,} bytes, and HBase takes 1 to {MAX_ROW_KEY_BYTES:,}")
    return Encoded(keys, reasons)


def even_splits(row_key: RowKey, types: Mapping[str, DataType], keys: pa.Table, regions: int) -> list[bytes]:
    """Where to split a table so that each region gets about as many of these keys; at fewer places for fewer keys."""
    encoded = encode_keys(row_key, types, keys)
    kept = np.delete(np.arange(len(encoded.values)), list(encoded.refused))
    found = pc.unique(encoded.values.take(kept)).sort()
    places = {len(found) * region // regions for region in range(1, regions)} - {0, len(found)}
    return [found[place].as_py() for place in sorted(places)]


def crc32(keys: pa.LargeBinaryArray) -> Hashes:
    """The CRC-32 of each key, as zlib has it; computed byte column by byte column, the longest keys first."""
    offsets = offsets_of(keys)
    lengths = np.diff(offsets)
    data = np.frombuffer(view(keys.buffers()[2]), np.uint8)
    order = np.argsort(-lengths, kind="stable")
    starts, ascending = offsets[:-1][order], lengths[order][::-1]
    found = np.full(len(keys), 0xFFFF_FFFF, np.uint32)
    for position in range(int(lengths.max(initial=0))):
        longer = len(keys) - int(np.searchsorted(ascending, position, side="right"))
        part = found[:longer]
        part[:] = _CRC_TABLE[(part ^ data[starts[:longer] + position]) & 0xFF] ^ (part >> np.uint32(8))
    hashes = np.empty_like(found)
    hashes[order] = ~found
    return hashes


def reversed_bytes(keys: pa.LargeBinaryArray) -> pa.LargeBinaryArray:
    """Each key back to front: the whole memory back to front, and then the rows in their order again."""
    offsets = offsets_of(keys)
    data = np.frombuffer(view(keys.buffers()[2]), np.uint8)[offsets[0] : offsets[-1]]
    backwards = from_offsets(np.ascontiguousarray((offsets[-1] - offsets)[::-1]), buffer_of(data[::-1].copy()))
    return backwards.take(pa.array(np.arange(len(keys) - 1, -1, -1), pa.int64()))


def _ordered_keys(row_key: RowKey, types: Mapping[str, DataType], batch: pa.RecordBatch | pa.Table) -> Encoded:
    template, refusals = row_key.template, Refusals()
    builder = RowBuilder(batch.num_rows)
    builder.constant(template.literals[0].encode())
    for name, literal in zip(template.names, template.literals[1:], strict=True):
        array, kind = conform(named(batch, name), types[name], refusals, name), types[name].kind
        present = present_rows(array)
        if present is not None:
            refusals.add(np.flatnonzero(~present).tolist(), f"{name}: the key can't be made from a null")
        if kind in INTEGER_BYTES:
            size = INTEGER_BYTES[kind]
            flipped = numbers(array, f"u{size}") ^ np.array(1 << 8 * size - 1, f"u{size}")
            builder.cells(_big_endian(flipped, f"u{size}", present))
        else:
            builder.cells(escaped_texts(scalar_texts(array, types[name]), template.escaped))
        builder.constant(literal.encode())
    return Encoded(builder.build(), refusals.reasons)


def _cells(manifest: Manifest, batch: pa.RecordBatch, field: Field, refusals: Refusals) -> Cells:
    array = conform(named(batch, field.name), field.column.type, refusals, field.name)
    if manifest.cells is CellForm.TYPED:
        found = typed_cells(array, field.column.type)
        if found is not None:
            return found
    return cell_texts(array, field, refusals)


def typed_cells(array: AnyArray, type_: DataType) -> Cells | None:
    """A conformed column as `millrace.connectors.hbase.values` says; None for types that are written as their text."""
    present = present_rows(array)
    if type_.kind in _FIXED:
        return _big_endian(numbers(array, _FIXED[type_.kind]), _FIXED[type_.kind], present)
    if type_.kind is Kind.BOOLEAN:
        octets = (integers(array) * 0xFF).astype(np.uint8)
        return from_matrix(octets.reshape(-1, 1), present=present)
    return _decimals(array, type_.scale, present) if type_.kind is Kind.DECIMAL else None


def _big_endian(values: npt.NDArray[Any], dtype: str, present: Mask | None) -> Cells:
    octets = np.ascontiguousarray(values.astype(f">{dtype}")).view(np.uint8)
    return from_matrix(octets.reshape(len(values), np.dtype(dtype).itemsize), present=present)


def _decimals(array: AnyArray, scale: int, present: Mask | None) -> Cells:
    """Scale, then the unscaled number without bytes that only repeat its sign: right-aligned in 20 bytes."""
    rows = len(array)
    words = numbers(array, f"V{_DECIMAL_BYTES}")
    unscaled = np.frombuffer(words.tobytes(), np.uint8).reshape(rows, _DECIMAL_BYTES)[:, ::-1]
    signs = np.where(unscaled[:, :1] & 0x80, np.uint8(0xFF), np.uint8(0))
    differs = unscaled != signs
    first = np.where(differs.any(axis=1), differs.argmax(axis=1), _DECIMAL_BYTES)
    at = np.minimum(first, _DECIMAL_BYTES - 1)
    sign_is_lost = (unscaled[np.arange(rows), at] ^ signs[:, 0]) & 0x80 != 0
    first = np.where(sign_is_lost, at - 1, at)
    width = _SCALE_BYTES + _DECIMAL_BYTES
    matrix = np.zeros((rows, width), np.uint8)
    matrix[:, _SCALE_BYTES:] = unscaled
    matrix[np.arange(rows)[:, None], first[:, None] + np.arange(_SCALE_BYTES)] = np.frombuffer(
        scale.to_bytes(_SCALE_BYTES, "big"), np.uint8
    )
    offsets = np.empty(2 * rows + 1, np.int64)
    ends = np.arange(1, rows + 1, dtype=np.int64) * width
    offsets[0:-1:2] = ends - width + first
    offsets[1::2] = ends
    offsets[-1] = rows * width
    return Cells(from_offsets(offsets, buffer_of(matrix.reshape(-1))), present, step=2)


def _joined(*parts: Cells) -> pa.LargeBinaryArray:
    builder = RowBuilder(len(parts[0]))
    for part in parts:
        builder.cells(part)
    return builder.build()


def _taken(cells: Cells, positions: Integers) -> Cells:
    values = cells.values.take(pa.array(positions * cells.step, pa.int64()))
    return Cells(values, None if cells.present is None else cells.present[positions])


def _deleted(batch: pa.RecordBatch, name: str | None) -> Mask | None:
    if name is None:
        return None
    array = flat(named(batch, name))
    present = present_rows(array)
    found = integers(array).astype(np.bool_)
    return found if present is None else found & present


def _too_long(columns: Sequence[Cells]) -> dict[int, str]:
    found: dict[int, str] = {}
    total: Integers | int = 0
    for cells in columns:
        total = total + cells.lengths
        for row in np.flatnonzero(cells.lengths > MAX_CELL_BYTES).tolist():
            found[row] = f"a value has {int(cells.lengths[row]):,} bytes, and HBase takes at most {MAX_CELL_BYTES:,}"
    for row in np.flatnonzero(np.asarray(total) > MAX_ROW_BYTES).tolist():
        found.setdefault(row, f"the row has over {MAX_ROW_BYTES:,} bytes, more than HBase's Thrift server takes")
    return found
