"""Protobuf's wire form by column (https://protobuf.dev/programming-guides/encoding/).

A message is a run of tagged fields. All messages of a batch are read side by side, tag after tag; the values found are
kept by field, and become columns at the end. Of a field that comes twice the last holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.connectors.kafka.cursors import Cursors, Words, spans_at, struct_of, zigzag
from millrace.connectors.kafka.texts import decoded
from millrace.connectors.log.arrays import ArrowArray, Ints, pc, to_arrow_array, to_buffer
from millrace.connectors.log.typed import ParsedLines
from millrace.connectors.wire.arrow_types import to_arrow
from millrace.spec.types import Column, DataType, Kind

_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5
_TIMESTAMP = "google.protobuf.Timestamp"
_WRAPPERS = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
_FIRST_S, _LAST_S = -62_135_596_800, 253_402_300_799  # the years 1 to 9999


@dataclass(frozen=True)
class Scalar:
    """How values of a scalar type are written, and what they are: the wire type, our kind, and how bits are meant."""

    wire: int
    kind: Kind
    view: str = ""


_SCALARS: Mapping[str, Scalar] = {
    "double": Scalar(_I64, Kind.DOUBLE, "<f8"),
    "float": Scalar(_I32, Kind.FLOAT, "<f4"),
    "int64": Scalar(_VARINT, Kind.BIGINT),
    "int32": Scalar(_VARINT, Kind.INT),
    "uint64": Scalar(_VARINT, Kind.DECIMAL, "unsigned"),
    "uint32": Scalar(_VARINT, Kind.BIGINT),
    "sint64": Scalar(_VARINT, Kind.BIGINT, "zigzag"),
    "sint32": Scalar(_VARINT, Kind.INT, "zigzag"),
    "fixed64": Scalar(_I64, Kind.DECIMAL, "<u8"),
    "fixed32": Scalar(_I32, Kind.BIGINT, "<u4"),
    "sfixed64": Scalar(_I64, Kind.BIGINT, "<i8"),
    "sfixed32": Scalar(_I32, Kind.INT, "<i4"),
    "bool": Scalar(_VARINT, Kind.BOOLEAN),
    "enum": Scalar(_VARINT, Kind.STRING),
    "string": Scalar(_LEN, Kind.STRING),
    "bytes": Scalar(_LEN, Kind.BINARY),
    "message": Scalar(_LEN, Kind.STRUCT),
}
_WIDTHS: Mapping[int, str] = {_I64: "<u8", _I32: "<u4"}


@dataclass(frozen=True)
class Node:
    """A field of a message, or of a map's entries: its number, how one value is written, and the column that it is."""

    name: str
    number: int
    scalar: str
    type: DataType
    repeated: bool = False
    default: bool = False  # whether a message without it has the type's zero, and not null
    names: tuple[tuple[int, str], ...] = ()  # of an enum
    parts: tuple[Node, ...] = ()  # of a message
    shape: str = ""  # of a message: "timestamp", "wrapper", "map" or a plain one

    @property
    def form(self) -> Scalar:
        return _SCALARS[self.scalar]


def parse_descriptor(data: bytes, message: str) -> tuple[Node, ...]:
    """The fields of a message in a descriptor set. Raises ValueError for what isn't there or can't be a column."""
    from google.protobuf import descriptor_pb2, descriptor_pool
    from google.protobuf.message import DecodeError

    files = descriptor_pb2.FileDescriptorSet()
    pool = descriptor_pool.DescriptorPool()
    try:
        files.ParseFromString(data)
        for file in files.file:
            pool.Add(file)
        found = pool.FindMessageTypeByName(message)
    except KeyError:
        known = sorted(f"{f.package}.{m.name}".lstrip(".") for f in files.file for m in f.message_type)
        raise ValueError(f"it has no message '{message}', but {', '.join(known[:12])}") from None
    except (DecodeError, TypeError) as error:
        raise ValueError(f"it is no descriptor set: {error}") from None
    return _nodes(found, ())


def columns_of(nodes: Sequence[Node]) -> tuple[Column, ...]:
    return tuple(Column(node.name, node.type) for node in nodes)


@dataclass(frozen=True)
class ProtobufParser:
    """Parses whole messages; see `ValueParser`. `confluent`: after five bytes and the path of the message's index."""

    nodes: tuple[Node, ...]
    confluent: bool = False

    def parse(self, values: ArrowArray) -> ParsedLines:
        cursors = Cursors.over(values, 5 if self.confluent else 0)
        rows = np.arange(len(values))
        if self.confluent:
            _skip_index(cursors, rows)
        columns = _read_message(self.nodes, cursors, "")
        batch = pa.RecordBatch.from_arrays(columns, [node.name for node in self.nodes])
        if not cursors.bad.any():
            return ParsedLines(batch, ())
        reasons = {row: f"not such a Protobuf message: {why}" for row, why in cursors.reasons.items()}
        return ParsedLines(batch.filter(to_arrow_array(~cursors.bad)), sorted(reasons.items()))


def _skip_index(cursors: Cursors, rows: Ints) -> None:
    """Confluent's serializer writes how many numbers lead to the message in its file, and those (0: the first)."""
    left = cursors.zigzags(rows)
    for _ in range(64):
        more = np.flatnonzero((left > 0) & ~cursors.bad)
        if not len(more):
            return
        cursors.zigzags(rows[more])
        left[more] -= 1
    cursors.refuse(rows[left > 0], "an index of more than 64 numbers in the envelope")


def _nodes(message: Any, inside: tuple[str, ...]) -> tuple[Node, ...]:
    if message.full_name in inside:
        raise ValueError(f"the message {message.full_name} is a part of itself, which no column can hold")
    if not message.fields:
        raise ValueError(f"the message {message.full_name} has no fields")
    return tuple(_node(f, (*inside, message.full_name)) for f in message.fields)


def _node(f: Any, inside: tuple[str, ...]) -> Node:
    scalar = _TYPE_NAMES[f.type]
    if scalar == "group":
        raise ValueError(f"the field {f.full_name} is a group, which can't be read")
    repeated = f.is_repeated
    default = not repeated and not f.has_presence
    if scalar != "message":
        kind = _SCALARS[scalar].kind
        one = DataType(kind, 20, 0) if kind is Kind.DECIMAL else DataType(kind)
        names = tuple((v.number, v.name) for v in f.enum_type.values) if scalar == "enum" else ()
        return Node(f.name, f.number, scalar, _listed(one) if repeated else one, repeated, default, names)
    message = f.message_type
    parts = _nodes(message, inside)
    if message.full_name == _TIMESTAMP:
        one, shape = DataType(Kind.TIMESTAMP), "timestamp"
    elif message.full_name in _WRAPPERS:
        one, shape = parts[0].type, "wrapper"
    elif message.GetOptions().map_entry:
        parts = tuple(replace(p, default=p.scalar != "message") for p in parts)
        kept = DataType(Kind.MAP, fields=tuple(Column(p.name, p.type) for p in parts))
        return Node(f.name, f.number, scalar, kept, True, parts=parts, shape="map")
    else:
        one, shape = DataType(Kind.STRUCT, fields=columns_of(parts)), ""
    return Node(f.name, f.number, scalar, _listed(one) if repeated else one, repeated, parts=parts, shape=shape)


def _listed(one: DataType) -> DataType:
    return DataType(Kind.ARRAY, fields=(Column("element", one),))


#: By `FieldDescriptor.TYPE_…`.
_TYPE_NAMES: Mapping[int, str] = dict(
    enumerate(
        ("double", "float", "int64", "uint64", "int32", "fixed64", "fixed32", "bool", "string", "group", "message",
         "bytes", "uint32", "enum", "sfixed32", "sfixed64", "sint32", "sint64"),
        start=1,
    )
)  # fmt: skip


@dataclass
class _Seen:
    """What was found of one field: rows with the bits of their values, or with where those start and end."""

    rows: list[Ints] = field(default_factory=list)
    bits: list[Words] = field(default_factory=list)
    starts: list[Ints] = field(default_factory=list)
    ends: list[Ints] = field(default_factory=list)


def _read_message(nodes: Sequence[Node], cursors: Cursors, place: str) -> list[ArrowArray]:
    """Read every cursor to its end. One array a field, a value a cursor."""
    by_number = {node.number: node for node in nodes}
    seen = {node.number: _Seen() for node in nodes}
    while len(rows := np.flatnonzero(cursors.at < cursors.end)):
        cursors.place = place or "the message"
        tags = cursors.varints(rows)
        for tag in np.unique(tags):
            now = rows[(tags == tag) & ~cursors.bad[rows]]
            if len(now):
                number, wire = int(tag >> np.uint64(3)), int(tag & np.uint64(7))
                node = by_number.get(number)
                cursors.place = f"{place}.{node.name}".lstrip(".") if node else f"the unknown field {number}"
                _take(node, wire, cursors, now, seen.get(number))
    return [_column(node, seen[node.number], cursors, f"{place}.{node.name}".lstrip(".")) for node in nodes]


def _take(node: Node | None, wire: int, cursors: Cursors, rows: Ints, seen: _Seen | None) -> None:
    """Step over one value of each row, and keep it if its field is known and written as it should be."""
    packed = node is not None and node.repeated and wire == _LEN and node.form.wire != _LEN
    known = node is not None and (node.form.wire == wire or packed)
    if wire == _VARINT:
        bits = cursors.varints(rows)
        if known and seen is not None:
            seen.rows.append(rows)
            seen.bits.append(bits)
    elif wire in _WIDTHS:
        fixed: Any = cursors.fixed(rows, _WIDTHS[wire])
        if known and seen is not None:
            seen.rows.append(rows)
            seen.bits.append(fixed.astype(np.uint64))
    elif wire == _LEN:
        lengths = cursors.varints(rows).view(np.int64)
        starts = cursors.move(rows, lengths)
        ends = cursors.at[rows]
        if packed and node is not None and seen is not None:
            _unpack(node, cursors, rows, starts, ends, seen)
        elif known and seen is not None:
            seen.rows.append(rows)
            seen.starts.append(starts)
            seen.ends.append(ends)
    else:
        cursors.refuse(rows, f"a value of wire type {wire} in {cursors.place}")


def _unpack(node: Node, cursors: Cursors, rows: Ints, starts: Ints, ends: Ints, seen: _Seen) -> None:
    """Several values one after the other, without tags: the first of each row, then the second, …"""
    inner = Cursors(cursors.data, starts.copy(), ends.copy())
    inner.place = cursors.place
    while len(now := np.flatnonzero(inner.at < inner.end)):
        if node.form.wire == _VARINT:
            bits = inner.varints(now)
        else:
            fixed: Any = inner.fixed(now, _WIDTHS[node.form.wire])
            bits = fixed.astype(np.uint64)
        seen.rows.append(rows[now])
        seen.bits.append(bits)
    if inner.bad.any():
        cursors.refuse(rows[inner.bad])


def _column(node: Node, seen: _Seen, cursors: Cursors, place: str) -> ArrowArray:
    count = len(cursors.at)
    owner = np.concatenate(seen.rows) if seen.rows else np.zeros(0, np.int64)
    order = np.argsort(owner, kind="stable")
    owner = owner[order]
    if not node.repeated and len(owner):
        last = np.append(owner[1:] != owner[:-1], True)
        order, owner = order[last], owner[last]
    values = _values(node, seen, order, owner, cursors, place)
    if node.repeated:
        offsets: ArrowArray = pa.array(
            np.concatenate(([0], np.cumsum(np.bincount(owner, minlength=count)))), pa.int32()
        )
        if node.shape == "map":
            keys, items = values.flatten()
            return pa.MapArray.from_arrays(offsets, keys, items)
        return pa.ListArray.from_arrays(offsets, values)
    if len(owner) == count:
        return values
    places = np.full(count, -1, np.int64)
    places[owner] = np.arange(len(owner))
    placed = values.take(to_arrow_array(np.maximum(places, 0), places < 0))
    return pc.fill_null(placed, _zero(node)) if node.default else placed


def _values(node: Node, seen: _Seen, order: Ints, owner: Ints, cursors: Cursors, place: str) -> ArrowArray:
    """The values of a field in this order; `owner` gives each one's row."""
    one = node.type.fields[0].type if node.repeated and node.shape != "map" else node.type
    if node.form.wire != _LEN:
        bits = np.concatenate(seen.bits)[order] if seen.bits else np.zeros(0, np.uint64)
        return _from_bits(node, one, bits)
    starts = np.concatenate(seen.starts)[order] if seen.starts else np.zeros(0, np.int64)
    ends = np.concatenate(seen.ends)[order] if seen.ends else np.zeros(0, np.int64)
    if node.scalar == "message":
        return _messages(node, one, Cursors(cursors.data, starts, ends), owner, cursors, place)
    values = spans_at(cursors.data, starts, ends)
    if node.scalar == "bytes":
        return values
    texts, refused = decoded(values)
    if refused:
        cursors.refuse(owner[refused], f"no valid UTF-8 in {place}")
    return texts


def _messages(node: Node, one: DataType, inner: Cursors, owner: Ints, cursors: Cursors, place: str) -> ArrowArray:
    """Messages inside of messages: read as those are, and then what their type makes of their fields."""
    columns = _read_message(node.parts, inner, place)
    found: ArrowArray
    if node.shape == "timestamp":
        found = _instants(columns, inner, place)
    elif node.shape == "wrapper":
        found = columns[0]
    elif node.shape == "map":
        found = pa.StructArray.from_arrays(columns, ["key", "value"])
    else:
        found = struct_of(columns, one)
    for row, reason in inner.reasons.items():
        cursors.refuse(owner[row : row + 1], reason)
    return found


def _instants(columns: Sequence[ArrowArray], inner: Cursors, place: str) -> ArrowArray:
    seconds, nanos = (np.asarray(column.cast(pa.int64())) for column in columns)
    wrong = (seconds < _FIRST_S) | (seconds > _LAST_S) | (nanos < 0) | (nanos > 999_999_999)
    if wrong.any():
        inner.refuse(np.flatnonzero(wrong), f"no time of the years 1 to 9999 in {place}")
        seconds, nanos = np.where(wrong, 0, seconds), np.where(wrong, 0, nanos)
    return to_arrow_array(seconds * 1_000_000 + nanos // 1000).cast(pa.timestamp("us", tz="UTC"))


def _from_bits(node: Node, one: DataType, bits: Words) -> ArrowArray:
    view, kind = node.form.view, one.kind
    if kind is Kind.DECIMAL:
        wide: Any = np.column_stack((bits, np.zeros_like(bits)))
        return pa.Array.from_buffers(pa.decimal128(20, 0), len(bits), [None, to_buffer(np.ascontiguousarray(wide))])
    if node.scalar == "enum":
        return _enum_names(node, bits)
    if kind is Kind.BOOLEAN:
        return to_arrow_array(bits != 0)
    if kind in (Kind.FLOAT, Kind.DOUBLE) or view in ("<i4", "<i8"):
        untyped: Any = (bits.astype("<u4") if view.endswith("4") else bits).view(view)
        return pa.array(untyped)
    if node.scalar in ("uint32", "fixed32"):
        return to_arrow_array((bits & np.uint64(0xFFFFFFFF)).view(np.int64))
    numbers = zigzag(bits) if view == "zigzag" else bits.view(np.int64)
    return pa.array(numbers.astype(np.int32)) if kind is Kind.INT else to_arrow_array(numbers)


def _enum_names(node: Node, bits: Words) -> ArrowArray:
    """The names of an enum's values; the digits of one that the schema doesn't know."""
    names = dict(node.names)
    numbers, places = np.unique(bits.view(np.int64), return_inverse=True)
    shown = pa.array([names.get(int(number), str(number)) for number in numbers], pa.string())
    return shown.take(to_arrow_array(places.reshape(-1)))


def _zero(node: Node) -> pa.Scalar[Any]:
    """What a message without the field has in it."""
    if node.scalar == "enum":
        return pa.scalar(dict(node.names).get(0, "0"))
    empty: Mapping[Kind, Any] = {Kind.STRING: "", Kind.BINARY: b"", Kind.BOOLEAN: False}
    return pa.scalar(empty.get(node.type.kind, 0), to_arrow(node.type))
