"""Column types as Arrow types, both ways. What Spark sends, and what encoders expect, is `to_arrow` of the column."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.types as pt

from millrace.spec.types import Column, DataType, Kind

_PLAIN: dict[Kind, pa.DataType] = {
    Kind.BOOLEAN: pa.bool_(),
    Kind.TINYINT: pa.int8(),
    Kind.SMALLINT: pa.int16(),
    Kind.INT: pa.int32(),
    Kind.BIGINT: pa.int64(),
    Kind.FLOAT: pa.float32(),
    Kind.DOUBLE: pa.float64(),
    Kind.STRING: pa.string(),
    Kind.BINARY: pa.binary(),
    Kind.DATE: pa.date32(),
    Kind.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    Kind.TIMESTAMP_NTZ: pa.timestamp("us"),
}
_KINDS: dict[pa.DataType, Kind] = {
    **{arrow: kind for kind, arrow in _PLAIN.items()},
    pa.uint8(): Kind.SMALLINT,
    pa.uint16(): Kind.INT,
    pa.uint32(): Kind.BIGINT,
    pa.float16(): Kind.FLOAT,
    pa.large_string(): Kind.STRING,
    pa.string_view(): Kind.STRING,
    pa.large_binary(): Kind.BINARY,
    pa.binary_view(): Kind.BINARY,
    pa.date64(): Kind.DATE,
}
_MAX_PRECISION = 38


def to_arrow(type_: DataType) -> pa.DataType:
    """The Arrow type of a column type; timestamps are `timestamp('us', tz='UTC')`, `timestamp_ntz` without `tz`."""
    members = [to_arrow(member.type) for member in type_.fields]
    match type_.kind:
        case Kind.DECIMAL:
            return pa.decimal128(type_.precision, type_.scale)
        case Kind.ARRAY:
            return pa.list_(members[0])
        case Kind.MAP:
            return pa.map_(members[0], members[1])
        case Kind.STRUCT:
            return pa.struct([pa.field(m.name, arrow) for m, arrow in zip(type_.fields, members, strict=True)])
        case _:
            return _PLAIN[type_.kind]


def from_arrow(type_: pa.DataType) -> DataType:
    """The column type that holds every value of an Arrow type: unsigned integers become the next wider signed one.

    Raises ValueError for types that no column can hold: times, durations, intervals, unions, nulls, decimals beyond
    38 digits.
    """
    if type_ in _KINDS:
        return DataType(_KINDS[type_])
    if pt.is_uint64(type_):
        return DataType(Kind.DECIMAL, 20, 0)
    if isinstance(type_, pa.TimestampType):
        return DataType(Kind.TIMESTAMP if type_.tz is not None else Kind.TIMESTAMP_NTZ)
    if pt.is_decimal(type_) and type_.precision <= _MAX_PRECISION and 0 <= type_.scale <= type_.precision:
        return DataType(Kind.DECIMAL, type_.precision, type_.scale)
    if isinstance(type_, pa.DictionaryType):
        return from_arrow(type_.value_type)
    if pt.is_fixed_size_binary(type_) and not pt.is_decimal(type_):
        return DataType(Kind.BINARY)
    if isinstance(type_, pa.BaseExtensionType):
        return from_arrow(type_.storage_type)
    return _nested(type_)


def columns_of(schema: pa.Schema) -> tuple[Column, ...]:
    """The columns of an Arrow schema. Raises ValueError, naming the column, for a type that none can have."""
    found = []
    for member in schema:
        try:
            found.append(Column(member.name, from_arrow(member.type)))
        except ValueError as error:
            raise ValueError(f"column '{member.name}': {error}") from None
    return tuple(found)


def schema_of(columns: Iterable[Column]) -> pa.Schema:
    """The Arrow schema of columns, every one of them nullable."""
    return pa.schema([pa.field(column.name, to_arrow(column.type)) for column in columns])


def _nested(type_: pa.DataType) -> DataType:
    if isinstance(type_, pa.MapType):
        return DataType(
            Kind.MAP, fields=(Column("key", from_arrow(type_.key_type)), Column("value", from_arrow(type_.item_type)))
        )
    if isinstance(type_, pa.StructType):
        return DataType(Kind.STRUCT, fields=tuple(Column(m.name, from_arrow(m.type)) for m in type_.fields))
    if pt.is_list(type_) or pt.is_large_list(type_) or pt.is_fixed_size_list(type_) or pt.is_list_view(type_):
        return DataType(Kind.ARRAY, fields=(Column("element", from_arrow(type_.value_type)),))
    if pt.is_large_list_view(type_):
        return DataType(Kind.ARRAY, fields=(Column("element", from_arrow(type_.value_type)),))
    raise ValueError(f"no column type holds Arrow's {type_}")
