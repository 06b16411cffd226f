"""Arrow batches as lines of JSON that Druid reads, by column: each value in its stored type, the time in ms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.connectors.base import DirtyRow, Field
from millrace.connectors.druid.layout import TIME, is_json, stored_type
from millrace.connectors.wire.arrow_types import to_arrow
from millrace.connectors.wire.columns import AnyArray, conform, flat, named
from millrace.connectors.wire.dirty import dirty_row
from millrace.connectors.wire.json_columns import encode_rows
from millrace.connectors.wire.refusals import Refusals
from millrace.connectors.wire.rows import Cells, RowBuilder, view
from millrace.spec.types import Column, DataType, Kind

_DAY_MS = 86_400_000
_ORIGIN_COLUMNS = 2
_INSTANT = DataType(Kind.BIGINT)


@dataclass(frozen=True)
class Lines:
    """Rows as text, a line each; their number, and their first and last time in ms."""

    text: bytes
    rows: int
    first_ms: int
    last_ms: int
    dirty: tuple[DirtyRow, ...] = ()


def encode(batch: pa.RecordBatch, columns: Sequence[Column], timestamp: str | None) -> Lines:
    """The lines of a batch; rows without a time, and those that have no JSON, are dirty.

    Raises ValueError when a column is missing or of another type.
    """
    refusals = Refusals()
    stored = stored_batch(batch, columns, timestamp, refusals)
    fields = [Field(column, number) for number, column in enumerate(stored_columns(columns, timestamp), start=1)]
    encoded = encode_rows(stored, fields)
    refusals.add(np.flatnonzero(~stored[TIME].is_valid().to_numpy(zero_copy_only=False)), f"{timestamp} is null")
    for row, reason in encoded.refused.items():
        refusals.add([row], reason)
    shown = [column.name for column in columns[:_ORIGIN_COLUMNS]]
    dirty = tuple(dirty_row(batch, row, reason, shown) for row, reason in sorted(refusals.reasons.items()))
    texts, times = encoded.values, stored[TIME]
    if dirty:
        keep = np.ones(batch.num_rows, np.bool_)
        keep[list(refusals.reasons)] = False
        texts, times = texts.filter(pa.array(keep)), times.filter(pa.array(keep))
    if not len(texts):
        return Lines(b"", 0, 0, 0, dirty)
    span: Any = pc.min_max(times)
    return Lines(_joined(texts), len(texts), span["min"].as_py(), span["max"].as_py(), dirty)


def stored_columns(columns: Sequence[Column], timestamp: str | None) -> list[Column]:
    """The columns as they are sent: the time under Druid's own name, then the others in their stored types."""
    others = [Column(c.name, _sent_type(c.type)) for c in columns if c.name != timestamp]
    return [Column(TIME, _INSTANT), *others]


def stored_batch(
    batch: pa.RecordBatch, columns: Sequence[Column], timestamp: str | None, refusals: Refusals
) -> pa.RecordBatch:
    """The batch with its values in their stored types; cells that don't fit their own types refuse their rows."""
    times: AnyArray = pa.array(np.zeros(batch.num_rows, np.int64))
    if timestamp is not None:
        times = time_ms(flat(named(batch, timestamp)))
    others = [_converted(flat(named(batch, c.name)), c, refusals) for c in columns if c.name != timestamp]
    arrays = [times, *others]
    return pa.RecordBatch.from_arrays(arrays, names=[c.name for c in stored_columns(columns, timestamp)])


def time_ms(array: AnyArray) -> AnyArray:
    """Instants or dates as ms since 1970, cut and never rounded."""
    if pa.types.is_date(array.type):
        days: Any = array.cast(pa.date32()).cast(pa.int32()).cast(pa.int64())
        found: AnyArray = pc.multiply(days, _DAY_MS)
        return found
    micros: Any = array.cast(pa.timestamp("us", tz=array.type.tz)).cast(pa.int64())
    whole: Any = pc.divide(micros, 1000)
    below: Any = pc.less(micros, pc.multiply(whole, 1000))
    cut: AnyArray = pc.subtract(whole, below.cast(pa.int64()))
    return cut


def _converted(array: AnyArray, column: Column, refusals: Refusals) -> AnyArray:
    sent = _sent_type(column.type)
    if sent == column.type:
        return array
    if not column.type.nested:
        array = conform(array, column.type, refusals, column.name)
    found: AnyArray = array.cast(to_arrow(sent))
    return found


def _sent_type(type_: DataType) -> DataType:
    return type_ if is_json(type_) else stored_type(type_)


def _joined(texts: pa.LargeBinaryArray) -> bytes:
    builder = RowBuilder(len(texts))
    builder.cells(Cells(texts))
    builder.constant(b"\n")
    built = builder.build()
    return bytes(view(built.buffers()[2]))
