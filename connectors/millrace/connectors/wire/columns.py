"""Arrow columns brought into the few shapes that encoders read, whatever width, chunking or slice they came in.

Spark sends `string` or, with `spark.sql.execution.arrow.useLargeVarTypes`, `large_string`; other programs send views
and dictionaries. A column whose Arrow type is of another family than its declared type is a mistake of the caller and
raises ValueError; a single cell that does not fit its declared type refuses its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millrace.connectors.wire.arrow_types import from_arrow, to_arrow
from millrace.connectors.wire.limits import MAX_DAY, MAX_MICROSECOND, MIN_DAY, MIN_MICROSECOND
from millrace.connectors.wire.refusals import Refusals
from millrace.connectors.wire.rows import Cells, Integers, Mask, from_offsets, offsets_of, view
from millrace.spec.types import DataType, Kind

AnyArray: TypeAlias = "pa.Array[Any]"
Column: TypeAlias = "pa.Array[Any] | pa.ChunkedArray[Any]"
Batch: TypeAlias = "pa.RecordBatch | pa.Table"

_INTEGERS = frozenset({Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT})
_FLOATS = frozenset({Kind.FLOAT, Kind.DOUBLE})
_FAMILIES: tuple[frozenset[Kind], ...] = (_INTEGERS, _FLOATS, *(frozenset({kind}) for kind in Kind))
_ZERO = pa.scalar(0, pa.int64())
_TIMES = frozenset({Kind.TIMESTAMP, Kind.TIMESTAMP_NTZ})


def flat(column: Column) -> AnyArray:
    """One array, of a plain type: chunks joined, dictionaries decoded, extension types as their storage."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    return array.dictionary_decode() if isinstance(array, pa.DictionaryArray) else array


def present_rows(array: AnyArray) -> Mask | None:
    """Where the cells are not null; None when none of them is."""
    if not array.null_count:
        return None
    found: Mask = array.is_valid().to_numpy(zero_copy_only=False)
    return found


def binary_cells(column: Column) -> Cells:
    """The bytes of a binary or string column. Raises ValueError for another type."""
    array = flat(column)
    if kind_of(array.type) not in (Kind.STRING, Kind.BINARY) and not pa.types.is_null(array.type):
        raise ValueError(f"expected a binary or string column, got Arrow's {array.type}")
    present = present_rows(array)
    if pa.types.is_null(array.type):
        return Cells(pa.array([b""] * len(array), pa.large_binary()), present)
    large: Any = array.cast(pa.large_binary())
    return Cells(from_offsets(offsets_of(large), large.buffers()[2]), present)


def kind_of(type_: pa.DataType) -> Kind | None:
    """The kind of column that holds an Arrow type, None when there is none."""
    try:
        return from_arrow(type_).kind
    except ValueError:
        return None


def conform(column: Column, type_: DataType, refusals: Refusals, where: str) -> AnyArray:
    """The column as `to_arrow(type_)`, strings as checked UTF-8 in `large_string`; nested columns stay as they are.

    Cells that don't fit (an integer out of range, a decimal with too many digits, bytes that aren't UTF-8, a date
    outside of the years 1 to 9999) become null, and their rows are refused, with `where` in the reason.
    """
    array = flat(column)
    if pa.types.is_null(array.type):
        return array.cast(to_arrow(type_)) if type_.kind is not Kind.STRING else array.cast(pa.large_string())
    kind = kind_of(array.type)
    if not any(kind in family and type_.kind in family for family in _FAMILIES) and not _unsigned(array.type, type_):
        raise ValueError(f"column '{where}' is declared {type_}, got Arrow's {array.type}")
    if type_.nested:
        return array
    if type_.kind is Kind.STRING:
        return _checked_text(array.cast(pa.large_binary()), refusals, where)
    if type_.kind is Kind.BINARY:
        return array.cast(pa.large_binary())
    wanted = to_arrow(type_)
    if type_.kind in _TIMES:
        wanted = pa.timestamp("us", tz=array.type.tz)
    array = _fitting(array, lambda part: part.cast(wanted), refusals, f"{where}: the value does not fit {type_}")
    return _within_years(array, type_.kind, refusals, where)


def numbers(array: AnyArray, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """The raw values of a fixed-width array as numpy sees them, without a copy; what lies below nulls is arbitrary."""
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.zeros(len(array), dtype)
    return np.frombuffer(view(buffer), dtype, len(array), array.offset * np.dtype(dtype).itemsize)


def integers(array: AnyArray) -> Integers:
    """Booleans, integers, dates (days) and timestamps (µs) as int64; what lies below nulls is arbitrary."""
    if pa.types.is_boolean(array.type):
        return numbers(array.cast(pa.uint8()), np.uint8).astype(np.int64)
    return numbers(array, f"i{array.type.bit_width // 8}").astype(np.int64, copy=False)


def list_parts(array: AnyArray) -> tuple[Mask | None, Integers, AnyArray]:
    """Of a list of any kind: which rows are present, the n + 1 offsets from 0, and the elements below them."""
    present = present_rows(array)
    lists: Any = array
    zero: Any = _ZERO
    lengths = numbers(pc.coalesce(pc.list_value_length(lists).cast(pa.int64()), zero), np.int64)
    offsets = np.zeros(len(array) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return present, offsets, lists.flatten()


def map_parts(array: AnyArray) -> tuple[Mask | None, Integers, AnyArray, AnyArray]:
    """Of a map: which rows are present, the n + 1 offsets from 0, and the keys and values below them."""
    entry = pa.struct([array.type.key_field, array.type.item_field])
    present, offsets, entries = list_parts(array.cast(pa.list_(entry)))
    keys, values = _members(entries)
    return present, offsets, keys, values


def members(array: AnyArray, type_: DataType) -> Sequence[AnyArray]:
    """The members of a struct in the order of its type, null where the struct is. Raises ValueError when one lacks."""
    found = _members(array)
    if len(found) != len(type_.fields):
        raise ValueError(f"expected the members of {type_}, got Arrow's {array.type}")
    return found


def _members(array: Any) -> Sequence[AnyArray]:
    found: Sequence[AnyArray] = array.flatten()
    return found


def named(batch: Batch, name: str) -> Column:
    """A column by its name. Raises ValueError listing what there is."""
    position = batch.schema.get_field_index(name)
    if position < 0:
        raise ValueError(f"the batch has no column '{name}' (or several); it has {', '.join(batch.schema.names)}")
    return batch.column(position)


def python_rows(batch: Batch) -> list[dict[str, Any]]:
    """The rows as the decoders give them back: dicts for maps and structs, aware datetimes for timestamps."""
    return batch.to_pylist(maps_as_pydicts="strict")


def failing_rows(array: AnyArray, attempt: Callable[[AnyArray], object]) -> Iterator[int]:
    """The rows of which `attempt` raises ArrowInvalid, found by halving: O(k log n) attempts for k of them."""
    pending = [(0, len(array))]
    while pending:
        start, size = pending.pop()
        try:
            attempt(array.slice(start, size))
        except pa.ArrowInvalid:
            if size == 1:
                yield start
            else:
                pending += [(start + size // 2, size - size // 2), (start, size // 2)]


def without(array: AnyArray, rows: Sequence[int]) -> AnyArray:
    """The array with nulls in some rows."""
    keep = np.ones(len(array), np.bool_)
    keep[list(rows)] = False
    found: AnyArray = pc.if_else(pa.array(keep), array, pa.scalar(None, array.type))
    return found


def _unsigned(arrow: pa.DataType, type_: DataType) -> bool:
    return pa.types.is_uint64(arrow) and type_.kind in _INTEGERS | {Kind.DECIMAL}


def _checked_text(array: AnyArray, refusals: Refusals, where: str) -> AnyArray:
    return _fitting(array, lambda part: part.cast(pa.large_string()), refusals, f"{where}: the text is not valid UTF-8")


def _fitting(array: AnyArray, cast: Callable[[AnyArray], AnyArray], refusals: Refusals, reason: str) -> AnyArray:
    try:
        return cast(array)
    except pa.ArrowInvalid:
        bad = list(failing_rows(array, cast))
        refusals.add(bad, reason)
        return cast(without(array, bad))


def _within_years(array: AnyArray, kind: Kind, refusals: Refusals, where: str) -> AnyArray:
    """Refuse dates that no reader's calendar holds."""
    if kind not in _TIMES and kind is not Kind.DATE:
        return array
    lowest, highest = (MIN_DAY, MAX_DAY) if kind is Kind.DATE else (MIN_MICROSECOND, MAX_MICROSECOND)
    values = integers(array)
    outside = (values < lowest) | (values > highest)
    present = present_rows(array)
    bad = np.flatnonzero(outside if present is None else outside & present)
    if not len(bad):
        return array
    refusals.add(bad.tolist(), f"{where}: the {kind} lies outside of the years 1 to 9999")
    return without(array, bad.tolist())
