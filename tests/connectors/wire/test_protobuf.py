from __future__ import annotations

import contextlib
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.connectors.base import Field
from millrace.connectors.wire import protobuf
from millrace.connectors.wire.protobuf_schema import descriptor_of, message_of
from millrace.connectors.wire.values import UnreadableValue
from millrace.connectors.wire.varint import varint
from millrace.connectors.wire.varints import varint_cells
from millrace.spec.types import Column, DataType, Kind, column, parse_type
from tests.connectors.wire.cases import (
    Table,
    batch_of,
    batch_without_columns,
    cells_of,
    fields_of,
    same,
    tables,
    unordered,
)
from tests.connectors.wire.protoc import compiled, fill, message_class

SPLIT_NUMBERS = [1, 2, 15, 16, 2047, 2048, 18_998]


@given(tables(inner_nulls=False))
@settings(max_examples=300)
def test_what_is_written_is_read_back(table: Table) -> None:
    encoded = protobuf.encode(table.batch, table.fields)
    decode = protobuf.decoder(table.fields)

    assert encoded.refused == {}
    for data, row in zip(cells_of(encoded.values), table.rows, strict=True):
        assert same(_sorted(decode(data), table), _sorted(row, table))


@given(tables(inner_nulls=False))
@settings(max_examples=60, deadline=None)
def test_google_reads_every_message_by_the_generated_proto(table: Table) -> None:
    message = message_of("asset", table.fields)
    make = message_class(compiled(protobuf.proto_file("asset", table.fields)))

    for data, row in zip(cells_of(protobuf.encode(table.batch, table.fields).values), table.rows, strict=True):
        expected, found = make(), make()
        fill(expected, message, row)
        found.ParseFromString(data)
        assert found.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


@given(tables(inner_nulls=False, shapes=False))
@settings(max_examples=60, deadline=None)
def test_our_descriptor_is_the_one_that_protoc_makes(table: Table) -> None:
    ours = descriptor_of(message_of("my asset", table.fields), "row.proto")
    theirs = compiled(protobuf.proto_file("my asset", table.fields))
    assert ours == theirs


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20), st.binary(max_size=3))
def test_varints_of_all_sizes(numbers: list[int], prefix: bytes) -> None:
    cells = varint_cells(pa.array(numbers, pa.int64()).to_numpy(), prefix, None)
    assert cells.compact().to_pylist() == [prefix + varint(number % 2**64) for number in numbers]


@pytest.mark.parametrize("bits", range(64))
def test_varints_at_every_power_of_two(bits: int) -> None:
    edges = pa.array([min(2**bits - 1, 2**63 - 1), min(2**bits, 2**63 - 1), 0, -1], pa.int64()).to_numpy()
    assert varint_cells(edges, b"", None).compact().to_pylist() == [varint(int(n) % 2**64) for n in edges]


def test_zero_and_empty_are_written_and_null_is_not() -> None:
    fields = fields_of({name: parse_type(name) for name in ("int", "string", "double", "boolean", "binary")})
    zeros = {"int": 0, "string": "", "double": 0.0, "boolean": False, "binary": b""}
    encoded = protobuf.encode(batch_of(fields, [zeros, dict.fromkeys(zeros)]), fields)
    assert cells_of(encoded.values) == [bytes.fromhex("0800 1200 190000000000000000 2000 2a00"), b""]


@pytest.mark.parametrize("number", SPLIT_NUMBERS)
def test_a_reader_ignores_what_a_newer_writer_added_and_misses_what_an_older_one_lacked(number: int) -> None:
    old = [Field(column("id", "bigint"), 3)]
    new = [*old, Field(column("tags", "array<string>"), number if number != 3 else 4)]
    row = {"id": 7, "tags": ["a"]}

    newer = cells_of(protobuf.encode(batch_of(new, [row]), new).values)[0]
    older = cells_of(protobuf.encode(batch_of(old, [row]), old).values)[0]

    assert protobuf.decoder(old)(newer) == {"id": 7}
    assert protobuf.decoder(new)(older) == {"id": 7, "tags": None}


def test_an_empty_list_is_not_null_inside_structs_too() -> None:
    fields = fields_of({"s": parse_type("struct<a:array<int>,m:map<string,int>>"), "b": parse_type("array<string>")})
    rows: list[dict[str, Any]] = [
        {"s": {"a": [], "m": None}, "b": []},
        {"s": {"a": None, "m": {}}, "b": None},
        {"s": None, "b": None},
    ]
    decode = protobuf.decoder(fields)
    assert [decode(data) for data in cells_of(protobuf.encode(batch_of(fields, rows), fields).values)] == rows


@pytest.mark.parametrize(
    ("type_", "good", "bad", "reason"),
    [
        ("array<int>", [1], [1, None], "c[]: Protobuf can't hold a null inside an array or a map"),
        ("map<string,int>", {"a": 1}, {"a": None}, "c.value: Protobuf can't hold a null inside an array or a map"),
        (
            "struct<x:array<array<int>>>",
            {"x": [[1]]},
            {"x": [[2], [None]]},
            "c.x[].items[]: Protobuf can't hold a null",
        ),
    ],
)
def test_a_null_inside_an_array_or_a_map_refuses_its_row_only(type_: str, good: Any, bad: Any, reason: str) -> None:
    fields = fields_of({"c": parse_type(type_)})
    encoded = protobuf.encode(batch_of(fields, [{"c": good}, {"c": bad}, {"c": None}, {"c": good}]), fields)

    assert list(encoded.refused) == [1]
    assert encoded.refused[1].startswith(reason)
    assert encoded.values.is_valid().to_pylist() == [True, False, True, True]
    decode = protobuf.decoder(fields)
    assert [decode(cells_of(encoded.values)[row])["c"] for row in (0, 2, 3)] == [good, None, good]


def test_columns_that_protobuf_can_not_name_get_names_that_it_can() -> None:
    names = ["user id", "user_id", "userId", "ünï", "1st", "_x", "message", "a.b", "日本", "empty_fields", "", "A", "a"]
    fields = fields_of({name: parse_type("array<struct<x:int>>") for name in names})
    row = {name: [{"x": place}] for place, name in enumerate(names)}
    compiled(protobuf.proto_file("2nd asset!", fields))
    assert protobuf.decoder(fields)(cells_of(protobuf.encode(batch_of(fields, [row]), fields).values)[0]) == row


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([Field(column("m", "map<array<int>,int>"), 1)], "column 'm' is map<array<int>,int>: a map's keys can't be"),
        ([Field(column("a", "int"), 0)], "bad field number 0"),
        ([Field(column("a", "int"), 18_999)], "bad field number 18999"),
        ([Field(column("a", "int"), 2), Field(column("b", "int"), 2)], "bad field number 2"),
    ],
)
def test_what_can_not_be_a_message_is_refused_before_anything_is_written(fields: list[Field], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        protobuf.proto_file("a", fields)


@given(st.binary(max_size=40))
def test_any_bytes_decode_or_are_called_unreadable(data: bytes) -> None:
    fields = fields_of({n: parse_type(n) for n in ("decimal(5,2)", "date", "timestamp", "string", "array<int>")})
    with contextlib.suppress(UnreadableValue):
        assert list(protobuf.decoder(fields)(data)) == [field.name for field in fields]


def test_the_generated_proto_tells_units_and_names() -> None:
    fields = [
        Field(column("id", "bigint"), 1),
        Field(column("user name", "string"), 2),
        Field(column("balance", "decimal(12,2)"), 4),
        Field(column("born", "date"), 5),
        Field(column("seen", "timestamp"), 6),
        Field(Column("scores", DataType(Kind.MAP, fields=(column("key", "string"), column("value", "double")))), 9),
    ]
    assert protobuf.proto_file("user_profile", fields) == PROTO


def test_no_rows_give_no_values() -> None:
    fields = fields_of({"a": parse_type("array<struct<x:map<string,timestamp>>>"), "b": parse_type("bigint")})
    assert cells_of(protobuf.encode(batch_of(fields, []), fields).values) == []


def test_no_columns_give_empty_messages() -> None:
    batch = batch_without_columns(2)
    assert cells_of(protobuf.encode(batch, []).values) == [b"", b""]
    assert isinstance(compiled(protobuf.proto_file("none", [])), FileDescriptorProto)


def test_dates_and_decimals_at_their_limits() -> None:
    fields = fields_of({"d": parse_type("date"), "n": parse_type("decimal(38,38)"), "i": parse_type("bigint")})
    rows = [
        {"d": date(1, 1, 1), "n": Decimal("-0." + "9" * 38), "i": -(2**63)},
        {"d": date(9999, 12, 31), "n": Decimal("0." + "0" * 37 + "1"), "i": 2**63 - 1},
    ]
    decode = protobuf.decoder(fields)
    assert [decode(data) for data in cells_of(protobuf.encode(batch_of(fields, rows), fields).values)] == rows


def _sorted(row: dict[str, Any], table: Table) -> dict[str, Any]:
    return {field.name: unordered(row[field.name], field.column.type) for field in table.fields}


PROTO = """\
// Rows of the asset 'user_profile', generated by millrace. A number stays with its column for ever.
// A field that is absent is null; unknown fields come from a newer writer and can be ignored.
syntax = "proto3";

package millrace;

message UserProfile {
  optional int64 id = 1;
  optional string user_name = 2;  // column 'user name'
  optional string balance = 4;  // decimal(12,2)
  optional int32 born = 5;  // days since 1970-01-01
  optional int64 seen = 6;  // microseconds since 1970-01-01T00:00:00Z
  map<string, double> scores = 9;  // map<string,double>
  // The numbers of those repeated and map fields above that are empty, not null.
  repeated uint32 empty_fields = 18999;
}
"""
