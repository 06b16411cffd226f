"""Avro's binary form by column (https://avro.apache.org/docs/1.12.0/specification/#binary-encoding).

A value has no names and no marks in it, so all messages of a batch are read side by side, field after field. A value
must end exactly where its schema ends: a message of another schema is hardly ever taken for one of this.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.connectors.kafka.cursors import Cursors, decimals_of, struct_of
from millrace.connectors.kafka.texts import decoded
from millrace.connectors.log.arrays import ArrowArray, Ints, to_arrow_array
from millrace.connectors.log.typed import ParsedLines
from millrace.connectors.wire.arrow_types import to_arrow
from millrace.spec.types import Column, DataType, Kind

_MS = 1000
_LAST_MS = 253_402_300_799_999
_PLAIN: Mapping[str, Kind] = {
    "boolean": Kind.BOOLEAN, "int": Kind.INT, "long": Kind.BIGINT, "float": Kind.FLOAT, "double": Kind.DOUBLE,
    "bytes": Kind.BINARY, "string": Kind.STRING, "fixed": Kind.BINARY, "enum": Kind.STRING,
}  # fmt: skip
_LOGICAL: Mapping[tuple[str, str], Kind] = {
    ("int", "date"): Kind.DATE,
    ("long", "timestamp-millis"): Kind.TIMESTAMP,
    ("long", "timestamp-micros"): Kind.TIMESTAMP,
    ("long", "local-timestamp-millis"): Kind.TIMESTAMP_NTZ,
    ("long", "local-timestamp-micros"): Kind.TIMESTAMP_NTZ,
}


@dataclass(frozen=True)
class Node:
    """A part of a schema: how it is written (`avro`), and our type of it. `null_at` is null's place in its union."""

    avro: str
    type: DataType
    parts: tuple[tuple[str, Node], ...] = ()
    size: int = 0  # of `fixed`, in bytes
    symbols: tuple[str, ...] = ()
    millis: bool = False
    null_at: int | None = None


def parse_schema(text: bytes) -> Node:
    """The record that a schema file describes. Raises ValueError for what can't be a row."""
    node = _Schema().node(json.loads(text))
    if node.avro != "record" or node.null_at is not None:
        raise ValueError("the schema is no record, which a row needs")
    return node


def columns_of(node: Node) -> tuple[Column, ...]:
    return tuple(Column(name, part.type) for name, part in node.parts)


@dataclass(frozen=True)
class AvroParser:
    """Parses whole messages; see `ValueParser`. The first `skip` bytes of each are left out."""

    schema: Node
    skip: int = 0

    def parse(self, values: ArrowArray) -> ParsedLines:
        cursors = Cursors.over(values, self.skip)
        rows = np.arange(len(values))
        columns = [_read(part, cursors, rows, name) for name, part in self.schema.parts]
        left = cursors.end - cursors.at
        for count in np.unique(left[left > 0]):
            cursors.refuse(np.flatnonzero(left == count), f"bytes left over after its last field: {count:,}")
        batch = pa.RecordBatch.from_arrays(columns, [name for name, _ in self.schema.parts])
        if not cursors.bad.any():
            return ParsedLines(batch, ())
        reasons = {row: f"not a message of the Avro schema: {why}" for row, why in cursors.reasons.items()}
        return ParsedLines(batch.filter(to_arrow_array(~cursors.bad)), sorted(reasons.items()))


@dataclass
class _Schema:
    """Reads a schema's JSON; `names` are the types that it has named so far."""

    names: dict[str, Node | None] = field(default_factory=dict)

    def node(self, schema: Any, space: str = "") -> Node:
        if isinstance(schema, list):
            return self._union(schema, space)
        if isinstance(schema, str):
            return self._named(schema, space)
        avro = schema["type"]
        if isinstance(avro, dict | list):
            return self.node(avro, space)
        if avro not in ("record", "error", "enum", "fixed", "array", "map"):
            return _logical(self._named(avro, space), schema)
        name = schema.get("name", "")
        space = schema.get("namespace", name.rpartition(".")[0] or space)
        full = name if "." in name or not space else f"{space}.{name}"
        if name:
            self.names[full] = None  # while it is read: a type inside of itself
        found = _logical(self._complex(avro, schema, space), schema)
        if name:
            self.names[full] = found
        return found

    def _complex(self, avro: str, schema: Mapping[str, Any], space: str) -> Node:
        match avro:
            case "array" | "map":
                item = self.node(schema["items" if avro == "array" else "values"], space)
                element = (Column("element", item.type),)
                if avro == "array":
                    return Node("array", DataType(Kind.ARRAY, fields=element), (("element", item),))
                key = Column("key", DataType(Kind.STRING))
                fields = (key, Column("value", item.type))
                return Node("map", DataType(Kind.MAP, fields=fields), (("value", item),))
            case "enum":
                return Node("enum", DataType(Kind.STRING), symbols=tuple(schema["symbols"]))
            case "fixed":
                return Node("fixed", DataType(Kind.BINARY), size=int(schema["size"]))
        parts = tuple((f["name"], self.node(f["type"], space)) for f in schema["fields"])
        if not parts:
            raise ValueError(f"the record '{schema.get('name')}' has no fields")
        struct = DataType(Kind.STRUCT, fields=tuple(Column(name, part.type) for name, part in parts))
        return Node("record", struct, parts)

    def _named(self, name: str, space: str) -> Node:
        if name in _PLAIN:
            return Node(name, DataType(_PLAIN[name]))
        full = name if name in self.names or not space else f"{space}.{name}"
        if full not in self.names:
            raise ValueError(f"the schema names a type '{name}' that it doesn't describe")
        found = self.names[full]
        if found is None:
            raise ValueError(f"the type '{name}' is a part of itself, which no column can hold")
        return found

    def _union(self, branches: Sequence[Any], space: str) -> Node:
        others = [branch for branch in branches if branch != "null"]
        if len(others) == 1 and len(branches) == 1:
            raise ValueError("a union of one type alone")
        if len(others) != 1:
            raise ValueError(f"a union of several types ({json.dumps(branches)[:80]}), which no column can hold")
        node = self.node(others[0], space)
        return Node(node.avro, node.type, node.parts, node.size, node.symbols, node.millis, branches.index("null"))


def _logical(node: Node, schema: Mapping[str, Any]) -> Node:
    name = schema.get("logicalType", "")
    kind = _LOGICAL.get((node.avro, name))
    if kind is not None:
        return Node(node.avro, DataType(kind), millis=name.endswith("-millis"))
    if name == "decimal" and node.avro in ("bytes", "fixed"):
        precision, scale = int(schema["precision"]), int(schema.get("scale", 0))
        if not (1 <= precision <= 38 and 0 <= scale <= precision):
            raise ValueError(f"a decimal({precision},{scale}), which no column can hold")
        return Node(node.avro, DataType(Kind.DECIMAL, precision, scale), size=node.size)
    return node


def _read(node: Node, cursors: Cursors, rows: Ints, place: str) -> ArrowArray:
    """The next value of each row, as an array of the node's type; null where a union says so."""
    cursors.place = place
    if node.null_at is None:
        return _READERS[node.avro](node, cursors, rows, place)
    branches = cursors.zigzags(rows)
    wrong = (branches < 0) | (branches > 1)
    if wrong.any():
        cursors.refuse(rows[wrong], f"no such branch of the union in {place}")
    present = branches == 1 - node.null_at
    if present.all():
        return _READERS[node.avro](node, cursors, rows, place)
    values = _READERS[node.avro](node, cursors, rows[present], place)
    return values.take(to_arrow_array(np.cumsum(present) - 1, ~present))


def _numbers(node: Node, cursors: Cursors, rows: Ints, place: str) -> ArrowArray:
    numbers = cursors.zigzags(rows)
    if node.avro == "int":
        wrong = numbers != numbers.astype(np.int32)
        if wrong.any():
            cursors.refuse(rows[wrong], f"more than 32 bits in {place}")
            numbers = np.where(wrong, 0, numbers)
    if node.type.kind in (Kind.TIMESTAMP, Kind.TIMESTAMP_NTZ):
        limit = _LAST_MS if node.millis else _LAST_MS * _MS
        wrong = np.abs(numbers) > limit
        if wrong.any():
            cursors.refuse(rows[wrong], f"a time after the year 9999 in {place}")
            numbers = np.where(wrong, 0, numbers)
        numbers = numbers * _MS if node.millis else numbers
    found = to_arrow_array(numbers)
    return (found.cast(pa.int32()) if node.avro == "int" else found).cast(to_arrow(node.type))


def _booleans(_node: Node, cursors: Cursors, rows: Ints, place: str) -> ArrowArray:
    found = np.asarray(cursors.fixed(rows, "u1"))
    if (found > 1).any():
        cursors.refuse(rows[found > 1], f"neither true nor false in {place}")
    return to_arrow_array(found == 1)


def _floats(node: Node, cursors: Cursors, rows: Ints, _place: str) -> ArrowArray:
    untyped: Any = cursors.fixed(rows, "<f4" if node.avro == "float" else "<f8")
    return pa.array(untyped)


def _bytes(node: Node, cursors: Cursors, rows: Ints, place: str) -> ArrowArray:
    lengths = np.full(len(rows), node.size, np.int64) if node.avro == "fixed" else cursors.zigzags(rows)
    values = cursors.spans(rows, lengths)
    if node.type.kind is Kind.DECIMAL:
        decimals, wrong = decimals_of(values, node.type.precision, node.type.scale)
        if wrong.any():
            cursors.refuse(rows[wrong], f"no {node.type} in {place}")
        return decimals
    if node.avro != "string":
        return values
    texts, refused = decoded(values)
    if refused:
        cursors.refuse(rows[refused], f"no valid UTF-8 in {place}")
    return texts


def _enums(node: Node, cursors: Cursors, rows: Ints, place: str) -> ArrowArray:
    numbers = cursors.zigzags(rows)
    wrong = (numbers < 0) | (numbers >= len(node.symbols))
    if wrong.any():
        cursors.refuse(rows[wrong], f"no such symbol in {place}")
    return pa.array(node.symbols, pa.string()).take(to_arrow_array(np.where(wrong, 0, numbers)))


def _records(node: Node, cursors: Cursors, rows: Ints, place: str) -> ArrowArray:
    columns = [_read(part, cursors, rows, f"{place}.{name}") for name, part in node.parts]
    return struct_of(columns, node.type)


def _arrays(node: Node, cursors: Cursors, rows: Ints, place: str) -> ArrowArray:
    ((_, item),) = node.parts
    offsets, (values,) = _blocks(cursors, rows, place, lambda now: [_read(item, cursors, now, place)], [item.type])
    return pa.ListArray.from_arrays(offsets, values)


def _maps(node: Node, cursors: Cursors, rows: Ints, place: str) -> ArrowArray:
    key, ((_, value),) = Node("string", DataType(Kind.STRING)), node.parts
    offsets, (keys, values) = _blocks(
        cursors,
        rows,
        place,
        lambda now: [_read(key, cursors, now, place), _read(value, cursors, now, place)],
        [key.type, value.type],
    )
    return pa.MapArray.from_arrays(offsets, keys, values)


def _blocks(
    cursors: Cursors,
    rows: Ints,
    place: str,
    read: Callable[[Ints], list[ArrowArray]],
    types: Sequence[DataType],
) -> tuple[ArrowArray, list[ArrowArray]]:
    """Items in blocks, each with its count before it, until an empty one: the first of every row, then the second, …

    Gives the offsets of each row's items, and the items in the order of the rows.
    """
    left = np.zeros(len(rows), np.int64)
    going = np.ones(len(rows), np.bool_)
    owners: list[Ints] = []
    items: list[list[ArrowArray]] = [[pa.array([], to_arrow(t))] for t in types]
    while going.any():
        starting = np.flatnonzero(going & (left == 0))
        if len(starting):
            counts = cursors.zigzags(rows[starting])
            sized = counts < 0
            if sized.any():
                cursors.zigzags(rows[starting[sized]])
                counts = np.abs(counts)
            impossible = counts > cursors.end[rows[starting]] - cursors.at[rows[starting]]
            if impossible.any():
                cursors.refuse(rows[starting[impossible]], f"more items than bytes in {place}")
            left[starting] = np.where(impossible | cursors.bad[rows[starting]], 0, counts)
            going[starting] = left[starting] > 0
        now = np.flatnonzero(going)
        if len(now):
            owners.append(now)
            for column, found in zip(items, read(rows[now]), strict=True):
                column.append(found)
            left[now] = np.where(cursors.bad[rows[now]], 0, left[now] - 1)
            going[now] &= ~cursors.bad[rows[now]]
    owner = np.concatenate(owners) if owners else np.zeros(0, np.int64)
    order = to_arrow_array(np.argsort(owner, kind="stable"))
    offsets = np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=len(rows)))))
    return pa.array(offsets, pa.int32()), [pa.concat_arrays(column).take(order) for column in items]


_READERS: Mapping[str, Callable[[Node, Cursors, Ints, str], ArrowArray]] = {
    "int": _numbers, "long": _numbers, "boolean": _booleans, "float": _floats, "double": _floats, "bytes": _bytes,
    "string": _bytes, "fixed": _bytes, "enum": _enums, "record": _records, "array": _arrays, "map": _maps,
}  # fmt: skip
