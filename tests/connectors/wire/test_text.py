from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.connectors.wire import text
from millrace.connectors.wire.values import UnreadableValue
from millrace.spec.types import Kind, parse_type
from tests.connectors.wire.cases import (
    KEY_KINDS,
    Table,
    array_of,
    batch_of,
    cells_of,
    fields_of,
    record_batch,
    same,
    scalar_types,
    tables,
    values,
)


@given(tables())
@settings(max_examples=300)
def test_what_is_written_is_read_back(table: Table) -> None:
    encoded = text.encode(table.batch, table.fields)
    decode = text.decoder(table.fields)

    assert encoded.refused == {}
    columns = [column.to_pylist() for column in encoded.columns]
    for place, row in enumerate(table.rows):
        cells = {f.name.encode(): column[place] for f, column in zip(table.fields, columns, strict=True)}
        assert [cell is None for cell in cells.values()] == [value is None for value in row.values()]
        assert same(decode({name: cell for name, cell in cells.items() if cell is not None}), row)


@given(st.sampled_from(KEY_KINDS).flatmap(scalar_types), st.data())
def test_a_single_value_has_the_text_of_its_column(type_: Any, data: st.DataObject) -> None:
    cells = data.draw(st.lists(values(type_), min_size=1, max_size=8))
    fields = fields_of({"c": type_})
    batch = pa.RecordBatch.from_arrays([array_of(type_, cells)], names=["c"])
    column = cells_of(text.encode(batch, fields).columns[0])
    assert [text.text_of(type_, cell) for cell in cells] == column
    if type_.kind is not Kind.BINARY:  # whose bytes need not be text
        assert [text.text_of(type_, cell.decode()) for cell in column] == column


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        ("boolean", True, "true"),
        ("bigint", "+007", "7"),
        ("decimal(20,8)", Decimal("-0.0"), "0.00000000"),
        ("decimal(20,8)", Decimal("1E-8"), "0.00000001"),
        ("decimal(5,2)", 7, "7.00"),
        ("timestamp", "2024-02-29T12:00:00+08:00", "2024-02-29T04:00:00.000000Z"),
        ("timestamp", "2024-02-29", "2024-02-29T00:00:00.000000Z"),
        ("timestamp_ntz", "0001-01-01T00:00:00", "0001-01-01T00:00:00.000000"),
        ("date", "2024-02-29", "2024-02-29"),
    ],
)
def test_the_texts_are_those_of_the_documentation(type_: str, value: Any, expected: str) -> None:
    assert text.text_of(parse_type(type_), value).decode() == expected


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("bigint", True),
        ("bigint", 2**63),
        ("bigint", 1.0),
        ("bigint", "\u0661"),
        ("tinyint", 128),
        ("boolean", 1),
        ("boolean", "True"),
        ("decimal(5,2)", Decimal("0.001")),
        ("decimal(5,2)", Decimal(1000)),
        ("decimal(5,2)", 0.5),
        ("decimal(5,2)", "NaN"),
        ("string", 5),
        ("string", None),
        ("date", "29.2.2024"),
        ("timestamp_ntz", "2024-02-29T12:00:00Z"),
        ("double", 1.0),
        ("array<int>", [1]),
    ],
)
def test_a_value_of_another_type_is_refused(type_: str, value: Any) -> None:
    with pytest.raises(ValueError, match="is not a"):
        text.text_of(parse_type(type_), value)


def test_cells_that_do_not_fit_refuse_their_rows_and_no_others() -> None:
    types = {"s": "string", "d": "date", "t": "timestamp", "i": "tinyint", "n": "decimal(3,1)"}
    fields = fields_of({name: parse_type(type_) for name, type_ in types.items()})
    batch = record_batch(
        {
            "s": pa.Array.from_buffers(pa.string(), 6, pa.array([b"a", b"\xff", b"b", b"c", b"d", b"e"]).buffers()),
            "d": pa.array([0, 0, 2_932_897, 0, 0, 0], pa.int32()).cast(pa.date32()),
            "t": pa.array([0, 0, 0, -62_135_596_800_000_001, 0, 0], pa.timestamp("us", "UTC")),
            "i": pa.array([1, 1, 1, 1, 128, 1], pa.uint64()),
            "n": pa.array([Decimal("1.0")] * 5 + [Decimal("100.0")], pa.decimal128(5, 1)),
        }
    )
    assert text.encode(batch, fields).refused == {
        1: "s: the text is not valid UTF-8",
        2: "d: the date lies outside of the years 1 to 9999",
        3: "t: the timestamp lies outside of the years 1 to 9999",
        4: "i: the value does not fit tinyint",
        5: "n: the value does not fit decimal(3,1)",
    }


@pytest.mark.parametrize(
    ("declared", "column"),
    [("bigint", ["1"]), ("string", [1]), ("date", ["2024-01-01"]), ("double", [1]), ("array<int>", [1])],
)
def test_a_column_of_another_family_is_a_mistake_of_the_caller(declared: str, column: list[Any]) -> None:
    with pytest.raises(ValueError, match="column 'c' is declared"):
        text.encode(record_batch({"c": column}), fields_of({"c": parse_type(declared)}))


def test_a_missing_column_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no column 'b'.*it has a"):
        text.encode(record_batch({"a": [1]}), fields_of({"b": parse_type("int")}))


def test_unsigned_integers_beyond_a_bigint_fit_a_decimal() -> None:
    fields = fields_of({"u": parse_type("decimal(20,0)")})
    batch = record_batch({"u": pa.array([2**64 - 1, 0], pa.uint64())})
    assert cells_of(text.encode(batch, fields).columns[0]) == [b"18446744073709551615", b"0"]


def test_a_column_of_nothing_but_nulls_may_have_arrows_null_type() -> None:
    fields = fields_of({name: parse_type(name) for name in ("string", "bigint", "array<int>", "timestamp")})
    batch = record_batch({field.name: pa.nulls(2) for field in fields})
    assert [column.to_pylist() for column in text.encode(batch, fields).columns] == [[None, None]] * 4


def test_texts_of_another_type_are_called_unreadable() -> None:
    with pytest.raises(UnreadableValue, match="a hash can't be decoded"):
        text.decoder(fields_of({"n": parse_type("int")}))({b"n": b"x"})


def test_unknown_fields_of_a_hash_are_ignored() -> None:
    fields = fields_of({"n": parse_type("int"), "s": parse_type("string")})
    assert text.decoder(fields)({b"n": b"5", b"": b"", b"z": b"1"}) == {"n": 5, "s": None}


def test_null_lists_may_hide_elements_below_them() -> None:
    arrow: Any = pa
    is_null = pa.array([True, False])
    hidden = arrow.ListArray.from_arrays(pa.array([0, 2, 3], pa.int32()), pa.array([1, 2, 3]), mask=is_null)
    offsets = pa.array([0, 1, 2], pa.int32())
    keyed = arrow.MapArray.from_arrays(offsets, pa.array(["a", "b"]), pa.array([1, 2]), mask=is_null)
    fields = fields_of({"l": parse_type("array<bigint>"), "m": parse_type("map<string,bigint>")})
    found = text.encode(record_batch({"l": hidden, "m": keyed}), fields)
    assert [column.to_pylist() for column in found.columns] == [[None, b"[3]"], [None, b'{"b":2}']]


@pytest.mark.parametrize("type_", [pa.list_view(pa.int64()), pa.large_list(pa.int64()), pa.list_(pa.int64(), 2)])
def test_lists_of_every_layout_are_read(type_: pa.DataType) -> None:
    array = pa.array([[9, 9], None, [1, 2], [3, 4]], type_).slice(1)
    found = text.encode(record_batch({"l": array}), fields_of({"l": parse_type("array<bigint>")}))
    assert found.columns[0].to_pylist() == [None, b"[1,2]", b"[3,4]"]


def test_batches_without_rows_are_fine() -> None:
    fields = fields_of({name: parse_type(name) for name in ("timestamp", "decimal(20,10)", "map<string,binary>")})
    assert [column.to_pylist() for column in text.encode(batch_of(fields, []), fields).columns] == [[], [], []]
