from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import ormsgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.connectors.wire import msgpack
from millrace.connectors.wire.values import UnreadableValue
from millrace.spec.types import parse_type
from tests.connectors.wire.cases import Table, batch_of, batch_without_columns, cells_of, fields_of, same, tables

LENGTHS = [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536]


@given(tables())
@settings(max_examples=300)
def test_what_is_written_is_read_back(table: Table) -> None:
    encoded = msgpack.encode(table.batch, table.fields)
    decode = msgpack.decoder(table.fields)

    assert encoded.refused == {}
    for data, row in zip(cells_of(encoded.values), table.rows, strict=True):
        assert same(decode(data), row)


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=20))
def test_integers_take_the_form_that_ormsgpack_gives_them(column: list[int | None]) -> None:
    fields = fields_of({"n": parse_type("bigint")})
    found = cells_of(msgpack.encode(batch_of(fields, [{"n": value} for value in column]), fields).values)
    assert found == [ormsgpack.packb({"n": value}) for value in column]


@pytest.mark.parametrize("bits", range(64))
def test_integers_at_every_power_of_two(bits: int) -> None:
    edges = [min(2**bits, 2**63 - 1), min(2**bits - 1, 2**63 - 1), -(2**bits), -(2**bits) - 1]
    fields = fields_of({"n": parse_type("bigint")})
    numbers = [max(edge, -(2**63)) for edge in edges]
    found = cells_of(msgpack.encode(batch_of(fields, [{"n": number} for number in numbers]), fields).values)
    assert found == [ormsgpack.packb({"n": number}) for number in numbers]


@pytest.mark.parametrize("length", LENGTHS)
def test_heads_of_every_length_are_those_of_ormsgpack(length: int) -> None:
    types = {"s": "string", "b": "binary", "a": "array<boolean>", "m": "map<int,boolean>"}
    fields = fields_of({name: parse_type(type_) for name, type_ in types.items()})
    row: dict[str, Any] = {
        "s": "x" * length,
        "b": b"y" * length,
        "a": [True] * length,
        "m": dict.fromkeys(range(length), False),
    }
    found = cells_of(msgpack.encode(batch_of(fields, [row]), fields).values)[0]
    assert found == ormsgpack.packb(row, option=ormsgpack.OPT_NON_STR_KEYS)


def test_timestamps_are_the_standard_extension() -> None:
    fields = fields_of({"t": parse_type("timestamp")})
    moments = [datetime(1, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC)]
    found = cells_of(msgpack.encode(batch_of(fields, [{"t": moment} for moment in moments]), fields).values)
    option = ormsgpack.OPT_DATETIME_AS_TIMESTAMP_EXT
    assert [ormsgpack.unpackb(data, option=option)["t"] for data in found] == moments
    assert all(data[3:6] == b"\xc7\x0c\xff" for data in found)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x01", b"\x90", b"\x81\xa1d\x01", b"\x81\xa1d\xa1x", b"\x82\xa1d"])
def test_what_is_no_such_row_is_called_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableValue, match="a MessagePack value can't be decoded"):
        msgpack.decoder(fields_of({"d": parse_type("date")}))(data)


def test_other_names_are_ignored_and_missing_ones_are_none() -> None:
    fields = fields_of({"a": parse_type("int"), "b": parse_type("date")})
    assert msgpack.decoder(fields)(ormsgpack.packb({"z": [], "a": 5})) == {"a": 5, "b": None}


def test_no_rows_and_no_columns_are_fine() -> None:
    fields = fields_of({"a": parse_type("array<map<string,struct<b:binary,t:timestamp>>>")})
    assert cells_of(msgpack.encode(batch_of(fields, []), fields).values) == []
    nothing = batch_without_columns(1)
    assert cells_of(msgpack.encode(nothing, []).values) == [b"\x80"]
