"""A row as one JSON object (RFC 8259), in UTF-8 and without blanks; every column is written, null as `null`.

| type | JSON |
|---|---|
| boolean, integers | `true`, `-5`; a bigint with all its digits, which JavaScript rounds beyond 2^53 |
| float, double | a number, or the text `"NaN"`, `"Infinity"`, `"-Infinity"`, as Protobuf's JSON form has it |
| decimal | text, `"12.50"`, so that no client rounds it |
| string | text; only `"`, `\\` and control characters are escaped |
| binary | text in Base64 with padding |
| date, timestamp | ISO 8601 text, `"2024-02-29"`, `"2024-02-29T12:00:00.000000Z"`; `timestamp_ntz` without the `Z` |
| array, struct | an array; an object with every member |
| map | an object; keys that are not text as the text of `millrace.connectors.wire.text` |
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from millrace.connectors.base import Field
from millrace.connectors.wire.text import parser as text_parser
from millrace.connectors.wire.text import single
from millrace.connectors.wire.values import Convert, converter, readable, row_of
from millrace.spec.types import DataType, Kind

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.connectors.wire.refusals import Encoded


def encode(batch: pa.RecordBatch | pa.Table, fields: Sequence[Field]) -> Encoded:
    """One object a row, of the batch's columns that the fields name, in their order.

    A row is refused for text that is not UTF-8 and for a date outside of the years 1 to 9999. Raises ValueError when a
    column is missing, of another type, or a map whose keys are nested.
    """
    from millrace.connectors.wire.json_columns import encode_rows

    return encode_rows(batch, fields)


def decoder(fields: Sequence[Field]) -> Callable[[bytes], dict[str, Any]]:
    """A function from an object's bytes to Python values by name, in the fields' order.

    What is missing is None, other names are ignored. Raises UnreadableValue for bytes that are no such object.
    """
    row = row_of([field.column for field in fields], _leaf, _key)

    def decode(data: bytes) -> dict[str, Any]:
        found = json.loads(data)
        if not isinstance(found, dict):
            raise ValueError(f"expected an object, got {type(found).__name__}")
        return row(found)

    return readable(decode, "a JSON value")


def parser(type_: DataType) -> Callable[[bytes], Any]:
    """The way back from the JSON of a single value. Raises ValueError for bytes that are none."""
    convert = converter(type_, _leaf, _key)

    def parse(data: bytes) -> Any:
        found = json.loads(data)
        return found if convert is None or found is None else convert(found)

    return parse


def _leaf(type_: DataType) -> Convert | None:
    match type_.kind:
        case Kind.FLOAT:
            return lambda value: single(float(value))
        case Kind.DOUBLE:
            return float
        case Kind.DECIMAL:
            return Decimal
        case Kind.BINARY:
            return lambda text: base64.b64decode(text, validate=True)
        case Kind.DATE:
            return date.fromisoformat
        case Kind.TIMESTAMP | Kind.TIMESTAMP_NTZ:
            return datetime.fromisoformat
        case _:
            return None


def _key(type_: DataType) -> Convert | None:
    if type_.kind is Kind.STRING:
        return None
    if type_.kind is Kind.BINARY:
        return _leaf(type_)
    parse = text_parser(type_)
    return lambda text: parse(text.encode())
