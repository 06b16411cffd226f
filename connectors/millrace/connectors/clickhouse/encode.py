"""Arrow batches as ClickHouse takes them: rows that its types can't hold set aside, the rest as an Arrow stream.

By column; what no type can hold is found before anything is sent, because ClickHouse would refuse the whole batch, or
silently put something else in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.connectors.base import DirtyRow
from millrace.connectors.wire.arrow_types import schema_of, to_arrow
from millrace.connectors.wire.columns import (
    AnyArray,
    failing_rows,
    flat,
    integers,
    list_parts,
    map_parts,
    members,
    named,
    present_rows,
)
from millrace.connectors.wire.dirty import dirty_row
from millrace.connectors.wire.refusals import Refusals
from millrace.spec.types import Column, DataType, Kind

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

_DAY_US = 86_400_000_000
_MIN_DAY, _MAX_DAY = -25_567, 120_529  # 1900-01-01 to 2299-12-31, what Date32 and DateTime64 hold
_CONTAINERS = (Kind.ARRAY, Kind.MAP, Kind.STRUCT)
_DATES = (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMP_NTZ)
_ORIGIN_COLUMNS = 2


def sift(
    batch: pa.RecordBatch, columns: Sequence[Column], filled: AbstractSet[str], key: Sequence[str] = ()
) -> tuple[pa.RecordBatch, list[DirtyRow]]:
    """The rows that ClickHouse's types hold, in the types of `columns`, and those that they don't, with the reason.

    `filled` are columns that hold no nulls; `key` names the columns by which a dirty row is told. Raises ValueError
    when the batch lacks a column or has it in another type.
    """
    refusals = Refusals()
    arrays = [_fit(flat(named(batch, column.name)), column, refusals, column.name in filled) for column in columns]
    found = pa.RecordBatch.from_arrays(arrays, schema=schema_of(columns))
    if not refusals.reasons:
        return found, []
    rows = sorted(refusals.reasons)
    keep = np.ones(batch.num_rows, np.bool_)
    keep[rows] = False
    shown_by = key or [column.name for column in columns[:_ORIGIN_COLUMNS]]
    return found.filter(pa.array(keep)), [dirty_row(batch, row, refusals.reasons[row], shown_by) for row in rows]


def merged(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch of the rows of several (at least one) of one schema."""
    return batches[0] if len(batches) == 1 else pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def arrow_stream(batch: pa.RecordBatch, *, compressed: bool) -> pa.Buffer:
    """A batch as an Arrow IPC stream; `compressed` by LZ4, column by column."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4" if compressed else None)
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def _fit(array: AnyArray, column: Column, refusals: Refusals, is_filled: bool) -> AnyArray:
    if is_filled and array.null_count:
        reason = f"{column.name} is null, but ClickHouse's keys hold no nulls: fill it with `derive`, e.g. coalesce"
        refusals.add(_null_rows(array), reason)
    wanted = to_arrow(column.type)
    try:
        found = array if array.type == wanted else array.cast(wanted)
    except pa.ArrowInvalid:
        bad = list(failing_rows(array, lambda part: part.cast(wanted)))
        refusals.add(bad, f"{column.name}: the value does not fit {column.type}")
        keep = np.ones(len(array), np.bool_)
        keep[bad] = False
        emptied: Any = pc.if_else(pa.array(keep), array, pa.scalar(None, array.type))
        found = emptied.cast(wanted)
    except (pa.ArrowNotImplementedError, pa.ArrowTypeError):
        raise ValueError(f"column '{column.name}' is declared {column.type}, got Arrow's {array.type}") from None
    _check(found, column.type, column.name, refusals)
    return found


def _check(array: AnyArray, type_: DataType, where: str, refusals: Refusals) -> None:
    """Refuse the rows with a value, at any depth, that ClickHouse's type can't hold."""
    if type_.kind in _DATES:
        _check_dates(array, type_.kind, where, refusals)
    elif type_.kind in _CONTAINERS:
        if array.null_count:
            refusals.add(_null_rows(array), _null_reason(where, type_.kind))
        _check_inside(array, type_, where, refusals)


def _check_inside(array: AnyArray, type_: DataType, where: str, refusals: Refusals) -> None:
    if not any(_needs_check(member.type) for member in type_.fields):
        return
    if type_.kind is Kind.STRUCT:
        present = present_rows(array)
        for member, inner in zip(type_.fields, members(array, type_), strict=True):
            found = Refusals()
            _check(inner, member.type, f"{where}.{member.name}", found)
            for row, reason in found.reasons.items():
                if present is None or present[row]:
                    refusals.add([row], reason)
        return
    if type_.kind is Kind.ARRAY:
        _, offsets, *inside = list_parts(array)
    else:
        _, offsets, *inside = map_parts(array)
    for member, inner in zip(type_.fields, inside, strict=True):
        found = Refusals()
        _check(inner, member.type, f"{where}[{member.name}]", found)
        refusals.lift(found, offsets)


def _check_dates(array: AnyArray, kind: Kind, where: str, refusals: Refusals) -> None:
    values = integers(array)
    lowest, highest = (_MIN_DAY, _MAX_DAY) if kind is Kind.DATE else (_MIN_DAY * _DAY_US, (_MAX_DAY + 1) * _DAY_US - 1)
    if not len(values) or (values.min() >= lowest and values.max() <= highest):
        return
    outside = (values < lowest) | (values > highest)
    present = present_rows(array)
    bad = np.flatnonzero(outside if present is None else outside & present)
    refusals.add(bad.tolist(), f"{where}: the {kind} lies outside of the years 1900 to 2299 that ClickHouse holds")


def _needs_check(type_: DataType) -> bool:
    return type_.kind in _DATES or type_.kind in _CONTAINERS


def _null_rows(array: AnyArray) -> list[int]:
    present = present_rows(array)
    return [] if present is None else np.flatnonzero(~present).tolist()


def _null_reason(where: str, kind: Kind) -> str:
    empty = {Kind.ARRAY: "array()", Kind.MAP: "map()"}.get(kind, "named_struct(…)")
    return f"{where} is null, but ClickHouse has no null {kind}: fill it with `derive`, e.g. coalesce({where}, {empty})"
