"""Protobuf by column: what Google's own library writes is read back, and what is broken spoils no other message."""

from __future__ import annotations

import tempfile
from base64 import b64encode
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_tools import protoc
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.connectors.kafka.protobuf import ProtobufParser, columns_of, parse_descriptor
from millrace.connectors.log.typed import ParsedLines

PROTO = """
syntax = "proto3";
package music;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
enum Color { RED = 0; GREEN = 7; }
message Place { double x = 1; repeated Color near = 2; optional string name = 3; }
message Play {
  int64 id = 1; int32 small = 2; uint32 u32 = 3; uint64 u64 = 4; sint32 s32 = 5; sint64 s64 = 6;
  fixed32 f32 = 7; fixed64 f64 = 8; sfixed32 sf32 = 9; sfixed64 sf64 = 10; float ratio = 11; double score = 12;
  bool ok = 13; string song = 14; bytes raw = 15; Color color = 16;
  optional int64 maybe = 1000; google.protobuf.Timestamp at = 18; google.protobuf.StringValue wrapped = 19;
  repeated int64 numbers = 20; repeated string tags = 21; repeated int32 loose = 22 [packed = false];
  repeated double scores = 23; Place place = 24; repeated Place places = 25; map<string, Place> by_name = 26;
  map<int32, uint64> counts = 27;
  oneof choice { string left = 28; int32 right = 29; }
}
message Loop { Loop loop = 1; }
"""


def compiled(proto: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.proto").write_text(proto)
        out = Path(folder) / "set"
        common = Path(protoc.__file__).parent / "_proto"
        words = ["protoc", f"-I{folder}", f"-I{common}", "--include_imports", f"--descriptor_set_out={out}", "a.proto"]
        assert protoc.main(words) == 0
        return out.read_bytes()


DESCRIPTORS = compiled(PROTO)


def _class() -> Any:
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(DESCRIPTORS).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("music.Play"))


Play = _class()


def signed(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def unsigned(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, 2**bits - 1)


_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
_PLACES = st.fixed_dictionaries(
    {"x": _FLOATS, "near": st.lists(st.sampled_from(["RED", "GREEN"]), max_size=3)},
    optional={"name": st.text(max_size=4)},
)
ROWS = st.fixed_dictionaries(
    {
        "id": signed(64), "small": signed(32), "u32": unsigned(32), "u64": unsigned(64), "s32": signed(32),
        "s64": signed(64), "f32": unsigned(32), "f64": unsigned(64), "sf32": signed(32), "sf64": signed(64),
        "ratio": st.floats(width=32, allow_nan=False, allow_infinity=False), "score": _FLOATS, "ok": st.booleans(),
        "song": st.text(max_size=8), "raw": st.binary(max_size=8), "color": st.sampled_from(["RED", "GREEN"]),
        "numbers": st.lists(signed(64), max_size=4), "tags": st.lists(st.text(max_size=4), max_size=4),
        "loose": st.lists(signed(32), max_size=3), "scores": st.lists(_FLOATS, max_size=3),
        "places": st.lists(_PLACES, max_size=2), "by_name": st.dictionaries(st.text(max_size=3), _PLACES, max_size=2),
        "counts": st.dictionaries(signed(32), unsigned(64), max_size=2),
    },
    optional={
        "maybe": signed(64), "wrapped": st.text(max_size=4), "place": _PLACES, "left": st.text(max_size=3),
        "at": st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).map(lambda t: t.replace(tzinfo=UTC)),
    },
)  # fmt: skip


def written(row: dict[str, Any]) -> bytes:
    as_json = {name: _json(value) for name, value in row.items()}
    as_json["raw"] = b64encode(row.get("raw", b"")).decode()
    message: Any = json_format.ParseDict(as_json, Play())
    found: bytes = message.SerializeToString()
    return found


def _json(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def expected(row: dict[str, Any]) -> dict[str, Any]:
    def place(value: dict[str, Any] | None) -> Any:
        return None if value is None else {"x": value["x"], "near": value["near"], "name": value.get("name")}

    optional = dict.fromkeys(("maybe", "at", "wrapped", "place", "left", "right"))
    return {
        **optional, **row, "u64": Decimal(row["u64"]), "f64": Decimal(row["f64"]), "place": place(row.get("place")),
        "places": [place(p) for p in row["places"]],
        "by_name": sorted((name, place(p)) for name, p in row["by_name"].items()),
        "counts": sorted((key, Decimal(value)) for key, value in row["counts"].items()),
    }  # fmt: skip


def parsed(*values: bytes, confluent: bool = False) -> ParsedLines:
    nodes = parse_descriptor(DESCRIPTORS, "music.Play")
    return ProtobufParser(nodes, confluent).parse(pa.array(values, pa.binary()))


def rows_of(found: ParsedLines) -> list[dict[str, Any]]:
    """As Arrow gives them, with maps in the order of their keys."""
    return [
        {**row, "by_name": sorted(row["by_name"], key=lambda p: p[0]), "counts": sorted(row["counts"])}
        for row in found.batch.to_pylist()
    ]


@given(st.lists(ROWS, max_size=6))
@settings(max_examples=60, deadline=None)
def test_what_googles_library_writes_is_read_back(rows: list[dict[str, Any]]) -> None:
    found = parsed(*(written(row) for row in rows))
    assert not found.dirty
    assert rows_of(found) == [expected(row) for row in rows]


@given(st.data(), st.lists(ROWS, min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_a_broken_message_spoils_no_other(data: st.DataObject, rows: list[dict[str, Any]]) -> None:
    at = data.draw(st.integers(0, len(rows) - 1))
    good = [written(row) for row in rows]
    cut = good[at] + b"\x0a\x7f"  # a length beyond the end
    found = parsed(*good[:at], cut, data.draw(st.binary(max_size=30)), *good[at:])
    kept = rows_of(found)
    assert kept[:at] + kept[len(kept) - len(rows) + at :] == [expected(row) for row in rows]
    assert at in {row for row, _ in found.dirty}
    assert len(kept) + len(found.dirty) == len(rows) + 2


def test_types_are_ours_and_zero_is_no_null() -> None:
    types = {c.name: str(c.type) for c in columns_of(parse_descriptor(DESCRIPTORS, "music.Play"))}
    place = "struct<x:double,near:array<string>,name:string>"
    assert {name: types[name] for name in ("u32", "u64", "color", "at", "wrapped", "places", "by_name")} == {
        "u32": "bigint", "u64": "decimal(20,0)", "color": "string", "at": "timestamp", "wrapped": "string",
        "places": f"array<{place}>", "by_name": f"map<string,{place}>",
    }  # fmt: skip
    (row,) = parsed(b"").batch.to_pylist()
    assert {name: row[name] for name in ("id", "song", "ok", "color", "u64", "maybe", "at", "tags", "left")} == {
        "id": 0, "song": "", "ok": False, "color": "RED", "u64": Decimal(0), "maybe": None, "at": None, "tags": [],
        "left": None,
    }  # fmt: skip


def test_unknown_fields_and_enum_numbers_pass() -> None:
    message = written({"id": 5}) + b"\x80\x01\x63" + b"\xfa\xff\x01\x02hi"  # color = 99, and an unknown text
    (row,) = parsed(message).batch.to_pylist()
    assert (row["id"], row["color"]) == (5, "99")


def test_confluents_envelope_and_its_index_are_left_out() -> None:
    body = written({"id": 5})
    found = parsed(b"\0\0\0\0\1\0" + body, b"\0\0\0\0\1\x04\x02\x00" + body, b"\0", confluent=True)
    assert ([row["id"] for row in found.batch.to_pylist()], [row for row, _ in found.dirty]) == ([5, 5], [2])


@pytest.mark.parametrize(
    ("message", "said"),
    [("music.Pla", "no message 'music.Pla', but"), ("music.Loop", "music.Loop is a part of itself")],
)
def test_what_cant_be_read_is_refused(message: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_descriptor(DESCRIPTORS, message)
    with pytest.raises(ValueError, match="it is no descriptor set"):
        parse_descriptor(b"junk", message)
