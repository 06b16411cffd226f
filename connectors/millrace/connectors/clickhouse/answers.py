"""ClickHouse's answers as values and Arrow arrays of column types. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from millrace.spec.types import DataType, Kind

if TYPE_CHECKING:
    import pyarrow as pa

Convert: TypeAlias = Callable[[Any], Any]


def row_maker(types: Sequence[DataType], *, bytes_for_text: bool) -> Callable[[Sequence[Any]], tuple[Any, ...]] | None:
    """How a row of the client becomes one of these types; None when it is one already.

    `bytes_for_text`: the client has left all of ClickHouse's strings as bytes.
    """
    converts = [_convert(type_, bytes_for_text) for type_ in types]
    changed = [(index, convert) for index, convert in enumerate(converts) if convert is not None]
    if not changed:
        return None

    def convert_row(row: Sequence[Any]) -> tuple[Any, ...]:
        found = list(row)
        for index, convert in changed:
            if found[index] is not None:
                found[index] = convert(found[index])
        return tuple(found)

    return convert_row


def _convert(type_: DataType, bytes_for_text: bool) -> Convert | None:
    match type_.kind:
        case Kind.STRING if bytes_for_text:
            return lambda value: value.decode(errors="replace")
        case Kind.TIMESTAMP_NTZ:
            return lambda value: value.replace(tzinfo=None)
        case Kind.ARRAY:
            return _each(_convert(type_.fields[0].type, bytes_for_text))
        case Kind.MAP:
            key, value = (_convert(member.type, bytes_for_text) for member in type_.fields)
            return None if key is None and value is None else _entries(key, value)
        case Kind.STRUCT:
            return _members([_convert(member.type, bytes_for_text) for member in type_.fields], type_)
        case _:
            return None


def _optional(convert: Convert | None, value: Any) -> Any:
    return value if convert is None or value is None else convert(value)


def _each(convert: Convert | None) -> Convert | None:
    return None if convert is None else lambda items: [_optional(convert, item) for item in items]


def _entries(key: Convert | None, value: Convert | None) -> Convert:
    return lambda entries: {_optional(key, k): _optional(value, v) for k, v in entries.items()}


def _members(converts: Sequence[Convert | None], type_: DataType) -> Convert:
    """A tuple comes as a mapping or in the members' order."""
    names = [member.name for member in type_.fields]

    def convert(found: Any) -> dict[str, Any]:
        values = found.values() if isinstance(found, dict) else found
        return {name: _optional(c, v) for name, c, v in zip(names, converts, values, strict=True)}

    return convert


def arrow_batch(batch: pa.RecordBatch, types: Sequence[DataType]) -> pa.RecordBatch:
    """A batch of ClickHouse's, its columns as `to_arrow` of these types; text that isn't UTF-8 raises ArrowInvalid."""
    import pyarrow as pa

    from millrace.connectors.wire.arrow_types import to_arrow

    wanted = [to_arrow(type_) for type_ in types]
    columns = [_cast(column, type_) for column, type_ in zip(batch.columns, wanted, strict=True)]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _cast(column: pa.Array[Any], wanted: pa.DataType) -> pa.Array[Any]:
    import pyarrow as pa

    if column.type == wanted:
        return column
    if pa.types.is_timestamp(wanted) and pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", tz=column.type.tz)).view(pa.timestamp("us"))
        return column.view(wanted)
    return column.cast(wanted)
