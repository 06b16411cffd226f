"""Columns, rows and Arrow shapes for property tests of encoders."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeAlias

import pyarrow as pa
from hypothesis import strategies as st

from millrace.connectors.base import Field
from millrace.connectors.wire.arrow_types import to_arrow
from millrace.spec.types import Column, DataType, Kind

Batch: TypeAlias = "pa.RecordBatch | pa.Table"
Shape: TypeAlias = Callable[[pa.RecordBatch], Batch]

BITS: Mapping[Kind, int] = {Kind.TINYINT: 8, Kind.SMALLINT: 16, Kind.INT: 32, Kind.BIGINT: 64}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
KEY_KINDS = (*BITS, Kind.BOOLEAN, Kind.DECIMAL, Kind.STRING, Kind.BINARY, Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMP_NTZ)


@dataclass(frozen=True)
class Table:
    """Typed rows, and the same rows as a batch in one of the shapes that Arrow allows."""

    fields: tuple[Field, ...]
    rows: tuple[dict[str, Any], ...]
    batch: Batch


def fields_of(types: Mapping[str, DataType]) -> tuple[Field, ...]:
    return tuple(Field(Column(name, type_), number) for number, (name, type_) in enumerate(types.items(), start=1))


def batch_of(fields: Sequence[Field], rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    arrays = [array_of(field.column.type, [row[field.name] for row in rows]) for field in fields]
    return pa.RecordBatch.from_arrays(arrays, names=[field.name for field in fields])


def array_of(type_: DataType, values: Sequence[Any]) -> pa.Array[Any]:
    found: pa.Array[Any] = pa.array([_arrow_value(type_, value) for value in values], to_arrow(type_))
    return found


def record_batch(columns: Mapping[str, Any]) -> pa.RecordBatch:
    """A batch of arrays or lists of any kinds."""
    return pa.record_batch({name: pa.array(c) if isinstance(c, list) else c for name, c in columns.items()})


def batch_without_columns(rows: int) -> pa.RecordBatch:
    found: Any = pa.array([{}] * rows, pa.struct([]))
    return pa.RecordBatch.from_struct_array(found)


def cells_of(column: Any) -> list[Any]:
    """An array's cells as Python values."""
    found: list[Any] = column.to_pylist()
    return found


def same(first: Any, second: Any) -> bool:
    """Equal, of equal types, with NaN equal to itself and -0.0 different from 0.0."""
    if type(first) is not type(second):
        return False
    if isinstance(first, float):
        return (math.isnan(first) and math.isnan(second)) or struct.pack("d", first) == struct.pack("d", second)
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(value, second[key]) for key, value in first.items())
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def unordered(value: Any, type_: DataType) -> Any:
    """The value with its maps sorted: Protobuf keeps no order."""
    if value is None or not type_.nested:
        return value
    if type_.kind is Kind.ARRAY:
        return [unordered(item, type_.fields[0].type) for item in value]
    if type_.kind is Kind.MAP:
        return {key: unordered(value[key], type_.fields[1].type) for key in sorted(value)}
    return {member.name: unordered(value[member.name], member.type) for member in type_.fields}


@st.composite
def tables(draw: st.DrawFn, *, inner_nulls: bool = True, key_kinds: bool = False, shapes: bool = True) -> Table:
    """Up to 5 columns and 6 rows. `inner_nulls`: nulls inside arrays and maps; `key_kinds`: only what keys can hold."""
    types = st.sampled_from(KEY_KINDS).flatmap(scalar_types) if key_kinds else all_types()
    names = draw(st.lists(column_names(), min_size=1, max_size=5, unique=True))
    fields = fields_of({name: draw(types) for name in names})
    row = records({f.name: nullable(values(f.column.type, inner_nulls=inner_nulls)) for f in fields})
    rows = tuple(draw(st.lists(row, max_size=6)))
    batch = batch_of(fields, rows)
    return Table(fields, rows, draw(shaped(batch)) if shapes else batch)


def records(members: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Dicts with these keys in this order."""
    return st.tuples(*members.values()).map(lambda found: dict(zip(members, found, strict=True)))


def column_names() -> st.SearchStrategy[str]:
    return st.one_of(st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), TEXT.filter(bool))


def nullable(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(strategy, st.none())


def all_types() -> st.SearchStrategy[DataType]:
    scalars = st.sampled_from([kind for kind in Kind if not DataType(kind).nested]).flatmap(scalar_types)
    return st.recursive(scalars, _nested_types, max_leaves=4)


def scalar_types(kind: Kind) -> st.SearchStrategy[DataType]:
    if kind is not Kind.DECIMAL:
        return st.just(DataType(kind))
    sizes = st.integers(1, 38).flatmap(lambda p: st.tuples(st.just(p), st.integers(0, p)))
    return sizes.map(lambda size: DataType(Kind.DECIMAL, *size))


def values(type_: DataType, *, inner_nulls: bool = True) -> st.SearchStrategy[Any]:
    match type_.kind:
        case Kind.ARRAY:
            return st.lists(_inner(type_.fields[0].type, inner_nulls), max_size=4)
        case Kind.MAP:
            key, value = (member.type for member in type_.fields)
            return st.dictionaries(_keys(key), _inner(value, inner_nulls), max_size=4)
        case Kind.STRUCT:
            return records({m.name: nullable(values(m.type, inner_nulls=inner_nulls)) for m in type_.fields})
        case _:
            return _scalars(type_)


def shaped(batch: pa.RecordBatch) -> st.SearchStrategy[Batch]:
    """The batch as it is, sliced out of a longer one, in chunks, with large types, views or dictionaries."""
    shapes: list[Shape] = [_plain, _sliced, _chunked, _large, _views, _dictionaries]
    return st.sampled_from(shapes).map(lambda shape: shape(batch))


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch


def _sliced(batch: pa.RecordBatch) -> pa.RecordBatch:
    longer = pa.Table.from_batches([batch, batch, batch]).combine_chunks().to_batches()
    return longer[0].slice(batch.num_rows, batch.num_rows) if longer else batch


def _chunked(batch: pa.RecordBatch) -> pa.Table:
    half = batch.num_rows // 2
    return pa.Table.from_batches([batch.slice(0, half), batch.slice(half)])


def _large(batch: pa.RecordBatch) -> pa.RecordBatch:
    return _cast(batch, {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()})


def _views(batch: pa.RecordBatch) -> pa.RecordBatch:
    return _cast(batch, {pa.string(): pa.string_view(), pa.binary(): pa.binary_view()})


def _cast(batch: pa.RecordBatch, types: Mapping[pa.DataType, pa.DataType]) -> pa.RecordBatch:
    arrays = [column.cast(types[column.type]) if column.type in types else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _dictionaries(batch: pa.RecordBatch) -> pa.RecordBatch:
    arrays = [c.dictionary_encode() if c.type in (pa.string(), pa.int64()) else c for c in batch.columns]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _nested_types(inner: st.SearchStrategy[DataType]) -> st.SearchStrategy[DataType]:
    keys = st.sampled_from([*KEY_KINDS, Kind.DOUBLE, Kind.FLOAT]).flatmap(scalar_types)
    names = st.lists(st.from_regex(r"[a-z][a-zA-Z0-9_]{0,5}", fullmatch=True), min_size=1, max_size=3, unique=True)
    structs = names.flatmap(lambda found: st.tuples(*(st.tuples(st.just(name), inner) for name in found)))
    return st.one_of(
        inner.map(lambda element: DataType(Kind.ARRAY, fields=(Column("element", element),))),
        st.tuples(keys, inner).map(
            lambda pair: DataType(Kind.MAP, fields=(Column("key", pair[0]), Column("value", pair[1])))
        ),
        structs.map(lambda found: DataType(Kind.STRUCT, fields=tuple(Column(*member) for member in found))),
    )


def _inner(type_: DataType, nulls: bool) -> st.SearchStrategy[Any]:
    found = values(type_, inner_nulls=nulls)
    return nullable(found) if nulls else found


def _keys(type_: DataType) -> st.SearchStrategy[Any]:
    if type_.kind in (Kind.FLOAT, Kind.DOUBLE):
        return _floats(type_).filter(lambda value: not math.isnan(value))
    return _scalars(type_)


def _scalars(type_: DataType) -> st.SearchStrategy[Any]:
    match type_.kind:
        case Kind.BOOLEAN:
            return st.booleans()
        case Kind.FLOAT | Kind.DOUBLE:
            return _floats(type_)
        case Kind.DECIMAL:
            most = 10**type_.precision - 1
            return st.integers(-most, most).map(lambda digits: _decimal(digits, type_.scale))
        case Kind.STRING:
            return TEXT
        case Kind.BINARY:
            return st.binary(max_size=12)
        case Kind.DATE:
            return st.dates()
        case Kind.TIMESTAMP:
            return st.datetimes().map(lambda found: found.replace(tzinfo=UTC))
        case Kind.TIMESTAMP_NTZ:
            return st.datetimes()
        case kind:
            edge = 1 << (BITS[kind] - 1)
            return st.one_of(st.integers(-edge, edge - 1), st.sampled_from([-edge, edge - 1, 0, -1, -33, 127, -128]))


def _floats(type_: DataType) -> st.SearchStrategy[float]:
    return st.floats(width=32 if type_.kind is Kind.FLOAT else 64)


def _decimal(digits: int, scale: int) -> Decimal:
    return Decimal((int(digits < 0), tuple(map(int, str(abs(digits)))), -scale))


def _arrow_value(type_: DataType, value: Any) -> Any:
    """As `pa.array` wants it: maps as pairs."""
    if value is None:
        return None
    if type_.kind is Kind.ARRAY:
        return [_arrow_value(type_.fields[0].type, item) for item in value]
    if type_.kind is Kind.MAP:
        return [(key, _arrow_value(type_.fields[1].type, item)) for key, item in value.items()]
    if type_.kind is Kind.STRUCT:
        return {member.name: _arrow_value(member.type, value[member.name]) for member in type_.fields}
    if isinstance(value, datetime):
        epoch = datetime(1970, 1, 1, tzinfo=value.tzinfo)
        found = value - epoch
        return (found.days * 86_400 + found.seconds) * 1_000_000 + found.microseconds
    return (value - date(1970, 1, 1)).days if isinstance(value, date) else value
