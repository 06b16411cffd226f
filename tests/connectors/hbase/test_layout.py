"""The bytes of rows: what the loader writes by column is what the reader asks for and reads, value by value."""

from __future__ import annotations

import zlib
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.connectors.base import Version
from millrace.connectors.hbase import layout
from millrace.connectors.hbase.columns import MAX_CELL_BYTES, encode_keys, encode_rows, even_splits
from millrace.connectors.hbase.layout import Manifest, RowKey, ordered_integer, parse_manifest
from millrace.connectors.hbase.mutations import batch_mutations, calls
from millrace.connectors.hbase.options import Cells, HBaseOptions, RowKeyForm
from millrace.connectors.hbase.values import key_maker, row_decoder
from millrace.connectors.wire.key_template import KeyTemplate
from millrace.errors import TargetError
from millrace.spec.types import parse_type
from tests.connectors.hbase.happybase_types import protocol, transport
from tests.connectors.hbase.happybase_types import service as hbase
from tests.connectors.wire.cases import (
    KEY_KINDS,
    Table,
    batch_of,
    fields_of,
    record_batch,
    same,
    scalar_types,
    tables,
    values,
)

FORMS = st.sampled_from(RowKeyForm)
SALTS = st.sampled_from([None, 1, 16, 256])
KINDS_IN_ORDER = [kind for kind in KEY_KINDS if kind != "decimal"]


def manifest(fields: Any, **options: Any) -> Manifest:
    given = {"connection": "c", "table": "t", "family": "p", "row_key": "{k}", **options}
    return Manifest.of(Version("a", "v1", tuple(fields)), HBaseOptions.model_validate(given), "", 1234)


@given(tables(), st.sampled_from(Cells))
@settings(max_examples=100, deadline=None)
def test_cells_of_every_type_are_read_back(table: Table, cells: Cells) -> None:
    fields = fields_of({"k": parse_type("int")})[:1] + tuple(table.fields)
    if any(field.name == "k" for field in table.fields):
        return
    rows = [{"k": place, **row} for place, row in enumerate(table.rows)]
    batch = pa.table({"k": pa.array(range(len(rows)), pa.int32()), **_columns(table.batch)})
    how = manifest(fields, cells=cells)
    encoded, dirty = encode_rows(how, batch)  # type: ignore[arg-type]  # a table in any shape will do
    decode = row_decoder(how)

    assert not dirty
    held = [column.array().to_pylist() for column in encoded.columns]
    for place, row in enumerate(rows):
        cells_of_row = ((p.column, column[place]) for p, column in zip(how.places, held, strict=True))
        raw = {name: cell for name, cell in cells_of_row if cell is not None}
        assert same(decode(raw), row)


@given(st.lists(st.sampled_from(KINDS_IN_ORDER).flatmap(scalar_types), min_size=1, max_size=3), FORMS, SALTS, st.data())
@settings(max_examples=100, deadline=None)
def test_a_key_that_is_asked_for_is_the_key_that_was_written(
    types: list[Any], form: RowKeyForm, salt: int | None, data: st.DataObject
) -> None:
    fields = fields_of({f"c{place}": type_ for place, type_ in enumerate(types)})
    row_key = RowKey(KeyTemplate.parse("k:" + ":".join(f"{{{field.name}}}" for field in fields)), form, salt)
    by_name = {field.name: field.column.type for field in fields}
    rows = [{f.name: data.draw(values(f.column.type)) for f in fields} for _ in range(data.draw(st.integers(1, 4)))]
    encoded = encode_keys(row_key, by_name, batch_of(fields, rows))
    assert encoded.values.to_pylist() == [row_key.fill(by_name, list(row.values())) for row in rows]
    if row_key.sorted and salt is None:
        for row in rows:
            for count in range(len(fields) + 1):
                assert row_key.fill(by_name, row).startswith(row_key.part(by_name, row, count))


@given(st.lists(st.sampled_from(["tinyint", "smallint", "int", "bigint"]), min_size=1, max_size=2), st.data())
def test_rows_of_ordered_keys_lie_in_the_order_of_their_integers(types: list[str], data: st.DataObject) -> None:
    by_name = {f"c{place}": parse_type(type_) for place, type_ in enumerate(types)}
    row_key = RowKey(KeyTemplate.parse(":".join(f"{{{name}}}" for name in by_name)), RowKeyForm.ORDERED)
    rows = data.draw(st.lists(st.tuples(*map(values, by_name.values())), min_size=2, max_size=6))
    assert sorted(rows) == sorted(rows, key=lambda row: row_key.fill(by_name, row))


def test_forms_are_what_another_program_can_make() -> None:
    types = {"id": parse_type("int")}
    template = KeyTemplate.parse("u{id}")
    assert RowKey(template).fill(types, (1234,)) == b"u1234"
    assert RowKey(template, RowKeyForm.REVERSE).fill(types, (1234,)) == b"4321u"
    assert RowKey(template, RowKeyForm.HASH).fill(types, (1234,)) == zlib.crc32(b"u1234").to_bytes(4, "big") + b"u1234"
    assert RowKey(template, RowKeyForm.ORDERED).fill(types, (-2,)) == b"u\x7f\xff\xff\xfe"
    assert RowKey(template, salt_buckets=10).fill(types, (1234,)) == bytes([zlib.crc32(b"u1234") % 10]) + b"u1234"


def test_tables_are_split_evenly_by_salt_or_hash_and_elsewhere_by_what_keys_there_are() -> None:
    template = KeyTemplate.parse("{id}")
    assert RowKey(template, salt_buckets=4).split_points(None) == [b"\1", b"\2", b"\3"]
    assert RowKey(template, salt_buckets=10).split_points(3) == [b"\3", b"\6"]
    assert RowKey(template, RowKeyForm.HASH).split_points(4) == [b"\x40\0\0\0", b"\x80\0\0\0", b"\xc0\0\0\0"]
    assert RowKey(template).split_points(4) == []


def test_typed_cells_are_what_hbase_makes_of_such_values() -> None:
    fields = fields_of({name: parse_type(name) for name in ("boolean", "smallint", "bigint", "double", "decimal(9,2)")})
    how = manifest(fields, cells="typed", row_key="{bigint}")
    decimals = [Decimal("1.27"), Decimal("1.28"), Decimal("-1.28"), Decimal("-1.29"), Decimal("0.00")]
    rows = [dict(zip([f.name for f in fields], (True, -2, 1 << 40, 0.5, number), strict=True)) for number in decimals]
    encoded, _ = encode_rows(how, batch_of(fields, rows))
    columns = [column.array().to_pylist() for column in encoded.columns]
    assert [column[0] for column in columns[:4]] == [
        b"\xff",
        b"\xff\xfe",
        b"\0\0\1\0\0\0\0\0",
        b"\x3f\xe0\0\0\0\0\0\0",
    ]
    scale = b"\0\0\0\2"
    assert columns[4] == [scale + tail for tail in (b"\x7f", b"\0\x80", b"\x80", b"\xff\x7f", b"\0")]


@pytest.mark.parametrize("merge", [False, True])
def test_calls_hold_what_a_server_reads(merge: bool) -> None:
    fields = fields_of({"id": parse_type("int"), "name": parse_type("string"), "plays": parse_type("bigint")})
    how = manifest(fields, family=None, families={"p": ["id", "name"], "s": ["plays"]}, row_key="{id}")
    batch = record_batch(
        {
            "id": pa.array([1, 2, 3], pa.int32()),
            "name": pa.array(["a", None, "c"]),
            "plays": pa.array([None, 5, 6], pa.int64()),
            "gone": pa.array([False, None, True]),
        }
    )
    rows, _ = encode_rows(how, batch, "gone" if merge else None)
    (call,) = calls(how, batch_mutations(how, rows, erase_nulls=merge))
    reader = protocol.TBinaryProtocol(transport.TMemoryBuffer(call.payload))
    reader.read_message_begin()
    sent = hbase.Hbase.mutateRowsTs_args()
    reader.read_struct(sent)

    assert (sent.tableName, sent.timestamp) == (b"t_v1", 1234)
    cells = {row.row: {m.column: None if m.isDelete else m.value for m in row.mutations} for row in sent.rowBatches}
    if merge:
        assert cells == {
            b"1": {b"p:id": b"1", b"p:name": b"a", b"s:plays": None},
            b"2": {b"p:id": b"2", b"p:name": None, b"s:plays": b"5"},
            b"3": {b"p": None, b"s": None},
        }
    else:
        assert cells == {
            b"1": {b"p:id": b"1", b"p:name": b"a"},
            b"2": {b"p:id": b"2", b"s:plays": b"5"},
            b"3": {b"p:id": b"3", b"p:name": b"c", b"s:plays": b"6"},
        }


def test_rows_that_hbase_can_not_take_are_set_aside_with_the_reason() -> None:
    fields = fields_of({"id": parse_type("string"), "note": parse_type("string")})
    how = manifest(fields, row_key="{id}")
    keys = ["a", None, "", "k" * 40_000, "b", "c"]
    notes = ["x", "x", "x", "x", "n" * (MAX_CELL_BYTES + 1), None]
    rows, dirty = encode_rows(how, record_batch({"id": keys, "note": notes}))
    assert rows.keys.to_pylist() == [b"a", b"c"]
    assert [row.reason for row in dirty] == [
        "id: the key can't be made from a null",
        "the row key has 0 bytes, and HBase takes 1 to 32,767",
        "the row key has 40,000 bytes, and HBase takes 1 to 32,767",
        "a value has 10,484,737 bytes, and HBase takes at most 10,484,736",
    ]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"families": {"a": ["k"]}}, "column 'v' stands in no family"),
        ({"families": {"a": ["k", "v"], "b": ["v"]}}, "column 'v' stands in the families a, b"),
    ],
)
def test_each_column_has_one_family(options: dict[str, Any], problem: str) -> None:
    fields = fields_of({"k": parse_type("int"), "v": parse_type("int")})
    with pytest.raises(ValueError, match=problem):
        manifest(fields, family=None, **options)


def test_a_manifest_comes_back_and_others_are_refused() -> None:
    fields = fields_of({"k": parse_type("int"), "v": parse_type("array<decimal(9,2)>")})
    found = manifest(fields, key_form="hash", salt_buckets=4, cells="typed", family=None, families={"a": ["v", "k"]})
    assert parse_manifest(found.to_json(), "there") == found
    with pytest.raises(TargetError, match="there is a manifest of format 9"):
        parse_manifest(found.to_json().replace(b'"format":1', b'"format":9'), "there")
    with pytest.raises(TargetError, match="there is not a manifest of millrace"):
        parse_manifest(b"{}", "there")


def test_a_key_that_does_not_fit_is_refused_before_anything_is_asked() -> None:
    key = key_maker(manifest(fields_of({"k": parse_type("int")})))
    for wrong in ("x", None, (1, 2), 1 << 40):
        with pytest.raises(ValueError, match="k"):
            key(wrong)
    with pytest.raises(ValueError, match="ordered"):
        RowKey(KeyTemplate.parse("{d}"), RowKeyForm.ORDERED).check({"d": parse_type("decimal(9,2)")})
    assert layout.qualified("t", "growth") == "growth:t"
    assert layout.qualified("other:t", "growth") == "other:t"


def _columns(batch: Any) -> dict[str, Any]:
    return dict(zip(batch.schema.names, batch.columns, strict=True))


def test_a_table_is_split_so_that_each_region_gets_about_as_many_keys() -> None:
    row_key, types = RowKey(KeyTemplate.parse("{id}"), RowKeyForm.ORDERED), {"id": parse_type("bigint")}
    keys = pa.table({"id": pa.array([*range(-100, 900), None, 5, 5], pa.int64())})
    assert even_splits(row_key, types, keys, 4) == [ordered_integer(n, 8) for n in (150, 400, 650)]
    assert even_splits(row_key, types, keys.slice(0, 2), 4) == [ordered_integer(-99, 8)]
    assert even_splits(row_key, types, keys.slice(1000, 1), 4) == []
