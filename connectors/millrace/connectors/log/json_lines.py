"""JSON lines by Arrow's JSON reader, held to one object a line and to the declared types.

Arrow accepts what isn't an object a line (two objects in one line) and crashes on some lines that aren't objects at all
(`null`), so lines are looked at before, and rows counted afterwards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json as arrow_json

from millrace.connectors.log.arrays import ArrowArray, Flags, pc, to_arrow_array, to_flags
from millrace.connectors.log.json_shape import read_same_shape
from millrace.connectors.log.lines import joined
from millrace.connectors.log.salvage import Refused, salvage
from millrace.connectors.log.time_layout import EPOCHS
from millrace.connectors.log.typed import EPOCH_DIGITS, ParsedLines, TypedField, assemble
from millrace.connectors.wire.arrow_types import to_arrow
from millrace.spec.types import Kind

_SMALLEST_BLOCK = 1 << 12
_TRIES = 8  # lines that are not all of one shape will hardly be so later
_READ_AS_TEXT = frozenset({Kind.STRING, Kind.BINARY, Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMP_NTZ})
_SHAPES: Mapping[Kind, tuple[type, ...]] = {
    **dict.fromkeys(_READ_AS_TEXT, (str,)),
    **dict.fromkeys((Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT), (int,)),
    **dict.fromkeys((Kind.FLOAT, Kind.DOUBLE), (int, float)),
    Kind.DECIMAL: (int, float, str),
    Kind.BOOLEAN: (bool,),
    Kind.ARRAY: (list,),
    Kind.STRUCT: (dict,),
}


class JsonParser:
    """Parses one object a line: missing fields are null, others are left out, a value of another type is dirty."""

    def __init__(self, fields: Sequence[TypedField]) -> None:
        self._fields = fields
        self._schema = pa.schema([(field.name, _read_type(field)) for field in fields])
        self._tries = _TRIES

    def parse(self, lines: ArrowArray) -> ParsedLines:
        """`lines`: valid UTF-8 strings without nulls."""
        objects = _look_like_objects(lines)
        numbers = np.flatnonzero(objects)
        if len(numbers) < len(lines):
            lines = lines.take(to_arrow_array(numbers))
        found = salvage(lines, self._read, self._looks_bad, self._reason)
        columns, rows = found.columns(self._schema)
        dirty = [(int(row), "the line is not a JSON object") for row in np.flatnonzero(~objects)]
        dirty += [(int(numbers[row]), reason) for row, reason in found.dirty]
        return assemble(self._fields, columns, numbers[rows], dirty)

    def _read(self, lines: ArrowArray) -> tuple[pa.Table, Refused]:
        if self._tries and (table := read_same_shape(lines, self._schema)) is not None:
            return table, ()
        self._tries = max(0, self._tries - 1)
        return _read_objects(lines, self._schema), ()

    def _looks_bad(self, line: str) -> bool:
        try:
            value = json.loads(line, object_pairs_hook=_unless_twice(self._schema.names))
        except (ValueError, RecursionError):
            return True
        return any(not _fits(value.get(field.name), field) for field in self._fields)

    def _reason(self, line: ArrowArray, error: Exception) -> str:
        """What is wrong with one line. A failed conversion doesn't name its field, so each field is tried by itself."""
        message = re.sub(r" in row \d+$", "", str(error)).removeprefix("JSON parse error: ")
        if not message.startswith("Failed to convert"):
            return re.sub(r"Column\(/([^)]*)\)", r"\1:", message)
        value = json.loads(line[0].as_py())
        for field in sorted(self._fields, key=lambda f: _fits(value.get(f.name), f)):
            try:
                _read_objects(line, pa.schema([(field.name, _read_type(field))]))
            except pa.ArrowInvalid:
                return f"{field.name}: {value.get(field.name)!r} is not a valid {field.type}"
        return message


def _read_objects(lines: ArrowArray, schema: pa.Schema) -> pa.Table:
    text = joined(lines)
    source: Any = pa.BufferReader(text)
    table = arrow_json.read_json(
        source,
        read_options=arrow_json.ReadOptions(use_threads=False, block_size=max(text.size, _SMALLEST_BLOCK)),
        parse_options=arrow_json.ParseOptions(
            explicit_schema=schema, unexpected_field_behavior="ignore", newlines_in_values=False
        ),
    )
    if table.num_rows != len(lines):
        raise pa.ArrowInvalid("more than one JSON value in the line")
    return table


def _unless_twice(names: Sequence[str]) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    known = frozenset(names)

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs) and any(sum(k == name for k, _ in pairs) > 1 for name in known):
            raise ValueError("a field stands there twice")
        return value

    return build


def _fits(value: Any, field: TypedField) -> bool:
    """A quick look at one value, good enough to find the lines that deserve a slow one."""
    if value is None:
        return True
    if isinstance(value, bool):
        return field.type.kind is Kind.BOOLEAN
    return field.format in EPOCHS or isinstance(value, _SHAPES[field.type.kind])


def _look_like_objects(lines: ArrowArray) -> Flags:
    both = pc.and_(pc.starts_with(lines, "{"), pc.ends_with(lines, "}"))
    if not pc.all(both).as_py():
        trimmed = pc.utf8_trim(lines, " \t\r")
        both = pc.and_(pc.starts_with(trimmed, "{"), pc.ends_with(trimmed, "}"))
    return to_flags(both)


def _read_type(field: TypedField) -> pa.DataType:
    if field.format in EPOCHS:
        return EPOCH_DIGITS
    return pa.string() if field.type.kind in _READ_AS_TEXT else to_arrow(field.type)
