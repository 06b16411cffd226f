from __future__ import annotations

import base64
import json
import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.connectors.wire import json as json_wire
from millrace.connectors.wire.values import UnreadableValue
from millrace.spec.types import parse_type
from tests.connectors.wire.cases import (
    Table,
    batch_of,
    batch_without_columns,
    cells_of,
    fields_of,
    record_batch,
    same,
    tables,
)


@given(tables())
@settings(max_examples=300)
def test_what_is_written_is_read_back(table: Table) -> None:
    encoded = json_wire.encode(table.batch, table.fields)
    decode = json_wire.decoder(table.fields)

    assert encoded.refused == {}
    for data, row in zip(cells_of(encoded.values), table.rows, strict=True):
        assert same(decode(data), row)


@given(tables())
def test_every_value_is_json_as_the_standard_has_it(table: Table) -> None:
    for data in cells_of(json_wire.encode(table.batch, table.fields).values):
        found = json.loads(data.decode("utf-8", "strict"), parse_constant=_not_json)
        assert list(found) == [field.name for field in table.fields]
        assert not set(data) & set(range(0x20))


@given(st.text(max_size=30), st.text(max_size=30))
def test_text_is_written_as_json_dumps_writes_it(first: str, second: str) -> None:
    texts = [text.encode("utf-8", "ignore").decode() for text in (first, "plain", second)]
    fields = fields_of({"t": parse_type("string")})
    found = cells_of(json_wire.encode(batch_of(fields, [{"t": text} for text in texts]), fields).values)
    assert [data.decode() for data in found] == [
        json.dumps({"t": text}, ensure_ascii=False, separators=(",", ":")) for text in texts
    ]


@given(st.lists(st.one_of(st.none(), st.binary(max_size=20)), max_size=12))
def test_binary_is_base64(column: list[bytes | None]) -> None:
    fields = fields_of({"b": parse_type("binary")})
    found = cells_of(json_wire.encode(batch_of(fields, [{"b": cell} for cell in column]), fields).values)
    assert [json.loads(data)["b"] for data in found] == [
        None if cell is None else base64.b64encode(cell).decode() for cell in column
    ]


def test_a_row_looks_as_documented() -> None:
    types = {
        "ok": "boolean", "n": "bigint", "x": "double", "d": "decimal(20,8)", "s": "string", "t": "timestamp",
        "w": "timestamp_ntz", "day": "date", "m": "map<int,array<double>>", "gone": "struct<a:int>",
    }  # fmt: skip
    fields = fields_of({name: parse_type(type_) for name, type_ in types.items()})
    batch = record_batch(
        {
            "ok": [True], "n": [-(2**63)], "x": [-0.0], "d": pa.array(["0.00000001"]).cast(pa.decimal128(20, 8)),
            "s": ['a"\\\n\x00é'], "t": pa.array([-1], pa.timestamp("us", "Asia/Tokyo")),
            "w": pa.array([0], pa.timestamp("us")), "day": pa.array([-719_162], pa.int32()).cast(pa.date32()),
            "m": pa.array([[(1, [math.nan, math.inf, -math.inf, 1e300])]], pa.map_(pa.int32(), pa.list_(pa.float64()))),
            "gone": pa.array([None], pa.struct([("a", pa.int32())])),
        }
    )  # fmt: skip
    assert cells_of(json_wire.encode(batch, fields).values)[0].decode() == (
        '{"ok":true,"n":-9223372036854775808,"x":-0.0,"d":"0.00000001","s":"a\\"\\\\\\n\\u0000é",'
        '"t":"1969-12-31T23:59:59.999999Z","w":"1970-01-01T00:00:00.000000","day":"0001-01-01",'
        '"m":{"1":["NaN","Infinity","-Infinity",1e+300]},"gone":null}'
    )


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[1]", b"1", b'{"d":"x"}', b'{"d":[]}', b'{"a":1}', b"\xff", b'{"b":"?"}']
)
def test_what_is_no_such_row_is_called_unreadable(data: bytes) -> None:
    fields = fields_of({"d": parse_type("date"), "a": parse_type("array<date>"), "b": parse_type("binary")})
    with pytest.raises(UnreadableValue, match="a JSON value can't be decoded"):
        json_wire.decoder(fields)(data)


def test_other_names_are_ignored_and_missing_ones_are_none() -> None:
    fields = fields_of({"a": parse_type("int"), "b": parse_type("date")})
    assert json_wire.decoder(fields)(b'{"z":[],"a":5}') == {"a": 5, "b": None}


def test_no_rows_and_no_columns_are_fine() -> None:
    fields = fields_of({"a": parse_type("array<map<string,struct<b:binary,t:timestamp>>>")})
    assert cells_of(json_wire.encode(batch_of(fields, []), fields).values) == []
    nothing = batch_without_columns(1)
    assert cells_of(json_wire.encode(nothing, []).values) == [b"{}"]


def test_a_map_with_nested_keys_is_refused_as_a_whole() -> None:
    fields = fields_of({"m": parse_type("map<struct<a:int>,int>")})
    type_ = pa.map_(pa.struct([("a", pa.int32())]), pa.int32())
    with pytest.raises(ValueError, match="no reader could look them up"):
        json_wire.encode(record_batch({"m": pa.array([[({"a": 1}, 1)]], type_)}), fields)


def _not_json(name: str) -> Any:
    raise AssertionError(f"{name} is not JSON")
