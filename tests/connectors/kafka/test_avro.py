"""Avro by column: what fastavro writes is read back, and nothing else is taken for a message."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.connectors.kafka.avro import AvroParser, columns_of, parse_schema
from millrace.connectors.log.typed import ParsedLines

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Play",
    "namespace": "music",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "count", "type": ["null", "int"]},
        {"name": "song", "type": ["string", "null"]},
        {"name": "ok", "type": "boolean"},
        {"name": "ratio", "type": "float"},
        {"name": "score", "type": ["null", "double"]},
        {"name": "raw", "type": "bytes"},
        {"name": "digest", "type": {"type": "fixed", "name": "Digest", "size": 4}},
        {"name": "color", "type": {"type": "enum", "name": "Color", "symbols": ["RED", "GREEN"]}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
        {"name": "wall", "type": {"type": "long", "logicalType": "local-timestamp-millis"}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "counts", "type": {"type": "map", "values": ["null", "long"]}},
        {"name": "place", "type": ["null", {"type": "record", "name": "Place", "fields": [
            {"name": "x", "type": "double"}, {"name": "near", "type": {"type": "array", "items": "Color"}}]}]},
    ],
}  # fmt: skip
TEXT = json.dumps(SCHEMA).encode()
PARSED = fastavro.parse_schema(SCHEMA)
_LONG = st.integers(-(2**63), 2**63 - 1)
_TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))
ROWS = st.fixed_dictionaries(
    {
        "id": _LONG,
        "count": st.none() | st.integers(-(2**31), 2**31 - 1),
        "song": st.none() | st.text(),
        "ok": st.booleans(),
        "ratio": st.floats(width=32, allow_nan=False),
        "score": st.none() | st.floats(allow_nan=False),
        "raw": st.binary(max_size=20),
        "digest": st.binary(min_size=4, max_size=4),
        "color": st.sampled_from(["RED", "GREEN"]),
        "day": st.dates(),
        "at": st.none() | _TIMES.map(lambda t: t.replace(tzinfo=UTC)),
        "wall": _TIMES.map(lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000)),
        "price": st.decimals(-(10**9), 10**9, places=2),
        "tags": st.lists(st.text(max_size=5), max_size=4),
        "counts": st.dictionaries(st.text(max_size=3), st.none() | _LONG, max_size=3),
        "place": st.none()
        | st.fixed_dictionaries(
            {"x": st.floats(allow_nan=False), "near": st.lists(st.sampled_from(["RED", "GREEN"]), max_size=3)}
        ),
    }
)


def written(row: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, PARSED, row)
    return out.getvalue()


def parsed(*values: bytes, schema: bytes = TEXT, skip: int = 0) -> ParsedLines:
    return AvroParser(parse_schema(schema), skip).parse(pa.array(values, pa.binary()))


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """As Arrow gives it: maps are pairs."""
    return {**row, "counts": list(row["counts"].items())}


@given(st.lists(ROWS, max_size=8))
@settings(max_examples=60, deadline=None)
def test_what_fastavro_writes_is_read_back(rows: list[dict[str, Any]]) -> None:
    found = parsed(*(written(row) for row in rows))
    assert not found.dirty
    assert found.batch.to_pylist() == [plain(row) for row in rows]


def test_types_are_ours() -> None:
    assert {c.name: str(c.type) for c in columns_of(parse_schema(TEXT))} == {
        "id": "bigint", "count": "int", "song": "string", "ok": "boolean", "ratio": "float", "score": "double",
        "raw": "binary", "digest": "binary", "color": "string", "day": "date", "at": "timestamp",
        "wall": "timestamp_ntz", "price": "decimal(12,2)", "tags": "array<string>", "counts": "map<string,bigint>",
        "place": "struct<x:double,near:array<string>>",
    }  # fmt: skip


@given(st.data(), st.lists(ROWS, min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_a_broken_message_spoils_no_other(data: st.DataObject, rows: list[dict[str, Any]]) -> None:
    good = [written(row) for row in rows]
    at = data.draw(st.integers(0, len(good) - 1))
    cut = data.draw(st.integers(0, len(good[at]) - 1))
    junk = data.draw(st.binary(max_size=40))
    found = parsed(*good[:at], good[at][:cut], good[at] + b"!", junk, *good[at:])
    expected = [plain(row) for row in rows]
    kept = found.batch.to_pylist()
    assert kept[:at] + kept[len(kept) - len(rows) + at :] == expected
    assert {row for row, _ in found.dirty} >= {at, at + 1}
    assert len(kept) + len(found.dirty) == len(rows) + 3


def test_reasons_name_the_place() -> None:
    fields = [{"name": "a", "type": "int"}, {"name": "b", "type": "string"}]
    schema = json.dumps({"type": "record", "name": "R", "fields": fields}).encode()
    found = parsed(b"\x02\x04hi", b"\x02\x08hi", b"\x02\x04hi!", b"", b"\x02\x02\xff", schema=schema)
    assert found.batch.to_pylist() == [{"a": 1, "b": "hi"}]
    assert [reason.partition(": ")[2] for _, reason in found.dirty] == [
        "it ends in b", "bytes left over after its last field: 1", "it ends in a", "no valid UTF-8 in b",
    ]  # fmt: skip


def test_an_envelope_is_left_out() -> None:
    schema = b'{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}'
    found = parsed(b"\x00\x00\x00\x00\x07\x54", b"\x00", schema=schema, skip=5)
    assert (found.batch.to_pylist(), [row for row, _ in found.dirty]) == ([{"a": 42}], [1])


@pytest.mark.parametrize(
    ("type_", "message"),
    [
        (["int", "string"], "a union of several types"),
        ("R", "'R' is a part of itself"),
        ("Nowhere", "'Nowhere' that it doesn't describe"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 60}, r"a decimal\(60,0\)"),
    ],
)
def test_what_no_column_can_hold_is_refused(type_: Any, message: str) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": type_}]}
    with pytest.raises(ValueError, match=message):
        parse_schema(json.dumps(schema).encode())


def test_times_and_decimals_at_their_ends() -> None:
    row: dict[str, Any] = {
        "id": 0, "count": None, "song": "", "ok": False, "ratio": 0.0, "score": None, "raw": b"", "digest": b"\0" * 4,
        "color": "RED", "day": date(1, 1, 1), "at": datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
        "wall": datetime(9999, 12, 31) - timedelta(milliseconds=1), "price": Decimal("-9999999999.99"), "tags": [],
        "counts": {}, "place": None,
    }  # fmt: skip
    assert parsed(written(row)).batch.to_pylist() == [plain(row)]
