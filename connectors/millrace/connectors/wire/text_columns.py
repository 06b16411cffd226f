"""The texts of whole columns, as `text` and `key_template` declare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.connectors.base import Field
from millrace.connectors.wire.arrow_types import from_arrow
from millrace.connectors.wire.columns import AnyArray, Batch, binary_cells, conform, named, numbers, present_rows
from millrace.connectors.wire.refusals import Encoded, Refusals
from millrace.connectors.wire.rows import Cells, RowBuilder, from_matrix
from millrace.connectors.wire.text import TextColumns
from millrace.spec.types import DataType, Kind

if TYPE_CHECKING:
    from millrace.connectors.wire.key_template import KeyTemplate

_PLAIN_SCALE = 6  # Arrow writes decimals of a larger scale with an exponent when they are small
_BLANK = 10  # where Arrow writes a space between date and time
_TEXT_BYTES = 26  # 2024-02-29 12:00:00.000000


def encode_columns(batch: Batch, fields: Sequence[Field]) -> TextColumns:
    """See `millrace.connectors.wire.text.encode`."""
    refusals = Refusals()
    found = []
    for field in fields:
        column = named(batch, field.name)
        found.append(cell_texts(conform(column, field.column.type, refusals, field.name), field, refusals).array())
    return TextColumns(tuple(found), refusals.reasons)


def cell_texts(array: AnyArray, field: Field, refusals: Refusals) -> Cells:
    """The texts of a conformed column; nested values as JSON."""
    if not field.column.type.nested:
        return scalar_texts(array, field.column.type)
    from millrace.connectors.wire.json_columns import value_texts

    return value_texts(array, field.column.type, refusals, field.name)


def scalar_texts(array: AnyArray, type_: DataType) -> Cells:
    """The texts of a conformed array of scalars, null where it is."""
    match type_.kind:
        case Kind.STRING | Kind.BINARY:
            return binary_cells(array)
        case Kind.DECIMAL if type_.scale > _PLAIN_SCALE:
            return binary_cells(_plain_decimals(array, type_.scale))
        case Kind.TIMESTAMP | Kind.TIMESTAMP_NTZ:
            return _timestamps(array, utc=type_.kind is Kind.TIMESTAMP)
        case _:
            return binary_cells(array.cast(pa.large_string()))


def render_keys(template: KeyTemplate, batch: Batch, types: Mapping[str, DataType] | None) -> Encoded:
    """See `KeyTemplate.render`."""
    types = types if types is not None else {member.name: from_arrow(member.type) for member in batch.schema}
    template.check(types)
    refusals = Refusals()
    parts = {}
    for name in template.columns:
        cells = scalar_texts(conform(named(batch, name), types[name], refusals, name), types[name])
        if cells.present is not None:
            refusals.add(np.flatnonzero(~cells.present).tolist(), f"{name}: the key can't be made from a null")
        parts[name] = escaped_texts(cells, template.escaped)
    builder = RowBuilder(batch.num_rows)
    builder.constant(template.literals[0].encode())
    for name, literal in zip(template.names, template.literals[1:], strict=True):
        builder.cells(parts[name])
        builder.constant(literal.encode())
    return refusals.encoded(builder.build())


def escaped_texts(cells: Cells, characters: Sequence[str]) -> Cells:
    """Texts with some characters percent-encoded."""
    from millrace.connectors.wire.key_template import percent

    stored = bytes(cells.data()) if characters else b""
    for character in characters:
        if character.encode() in stored:
            array: Any = cells.array()
            cells = binary_cells(pc.replace_substring(array, character.encode(), percent(character)))
    return cells


def _plain_decimals(array: AnyArray, scale: int) -> AnyArray:
    """Plain notation of 128-bit decimals: their unscaled digits, padded, with the point set by hand."""
    unscaled = pa.Array.from_buffers(pa.decimal128(38, 0), len(array), array.buffers(), -1, array.offset)
    digits = unscaled.cast(pa.large_string())
    padded = pc.utf8_lpad(pc.utf8_ltrim(digits, "-"), scale + 1, "0").cast(pa.large_binary())
    pointed = pc.binary_replace_slice(padded, -scale, -scale, b".")
    signs = pc.if_else(pc.starts_with(digits, "-"), pa.scalar(b"-", pa.large_binary()), b"")
    found: AnyArray = pc.binary_join_element_wise(signs, pointed, pa.scalar(b"", pa.large_binary()))
    return found


def _timestamps(array: AnyArray, *, utc: bool) -> Cells:
    """ISO 8601 of 26 bytes, or 27 with the zone; Arrow's own text of a zoned timestamp is 30 times slower."""
    present = present_rows(array)
    microseconds = numbers(array, np.int64)
    if present is not None:
        microseconds = np.where(present, microseconds, 0)
    rows = len(array)
    naive = pa.array(microseconds).view(pa.timestamp("us"))
    matrix = np.empty((rows, _TEXT_BYTES + utc), np.uint8)
    matrix[:, :_TEXT_BYTES] = binary_cells(naive.cast(pa.large_string())).data().reshape(rows, _TEXT_BYTES)
    matrix[:, _BLANK] = ord("T")
    if utc:
        matrix[:, _TEXT_BYTES] = ord("Z")
    return from_matrix(matrix, present=present)
