"""The byte contract: what the writer writes, the reader reads; manifests; keys."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import hiredis
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.connectors.base import Field, Version
from millrace.connectors.redis.columns import Rows, encode_rows, pieces
from millrace.connectors.redis.layout import Manifest, parse_manifest, pointer_key, versions_key
from millrace.connectors.redis.options import RedisOptions, ValueLayout
from millrace.connectors.redis.values import key_maker, value_decoder
from millrace.connectors.wire.compression import Compression
from millrace.errors import TargetError
from millrace.spec.types import column
from tests.connectors.loads import people
from tests.connectors.redis.stores import version
from tests.connectors.wire.cases import Table, batch_of, same, tables, unordered

LAYOUTS = [
    *(
        (value, compression)
        for value in (ValueLayout.PROTOBUF, ValueLayout.JSON, ValueLayout.MSGPACK)
        for compression in Compression
    ),
    (ValueLayout.HASH, Compression.NONE),
]
FIELDS = (Field(column("id", "bigint"), 1), Field(column("tags", "array<string>"), 4))


def manifest(fields: Sequence[Field] = FIELDS, **options: Any) -> Manifest:
    given = {"connection": "c", "key": "{id}", **options}
    return Manifest.of(Version("users", "01abc", tuple(fields)), RedisOptions.model_validate(given))


def commands(rows: Rows) -> Iterator[list[bytes]]:
    reader = hiredis.Reader()
    reader.feed(bytes(rows.data))
    while (command := reader.gets()) is not False:
        yield command


@st.composite
def keyed_tables(draw: st.DrawFn) -> Table:
    """A table with a column `millrace key` in front whose values are all different."""
    table = draw(tables(inner_nulls=False, shapes=False))
    fields = (Field(column("millrace key", "bigint"), 1), *(replace(f, number=f.number + 1) for f in table.fields))
    rows = tuple({"millrace key": number, **row} for number, row in enumerate(table.rows))
    return Table(fields, rows, batch_of(fields, rows))


def names_fit(table: Table) -> bool:
    """A template can name the columns, and there is a row."""
    return bool(table.rows) and all(field.name.isidentifier() for field in table.fields)


@pytest.mark.parametrize(("value", "compression"), LAYOUTS)
@settings(deadline=None, max_examples=25)
@given(table=keyed_tables())
def test_what_the_writer_writes_the_reader_reads(value: ValueLayout, compression: Compression, table: Table) -> None:
    layout = manifest(table.fields, key="{millrace key}", value=value, compression=compression)
    rows, dirty = encode_rows(layout, batch_of(table.fields, table.rows))
    assert not dirty

    stored = {}
    for name, key, *arguments in commands(rows):
        if name in (b"SET", b"HSET"):
            stored[key] = arguments[0] if name == b"SET" else arguments
    assert len(stored) == len(table.rows)

    layout = parse_manifest(layout.to_json(), "the test")
    key_of, decode = key_maker(layout), value_decoder(layout)
    for row in table.rows:
        got = decode(stored[key_of(row["millrace key"])])
        assert list(got) == [field.name for field in table.fields]
        for field in table.fields:
            kind = field.column.type
            assert same(unordered(got[field.name], kind), unordered(row[field.name], kind))


@given(table=tables(key_kinds=True, shapes=False).filter(names_fit))
@settings(deadline=None)
def test_a_reader_asks_for_the_key_that_was_written(table: Table) -> None:
    name = table.fields[0].name
    layout = manifest(table.fields, key="{" + name + "}/{" + table.fields[-1].name + "}!", value="json")
    rows, dirty = encode_rows(layout, batch_of(table.fields, table.rows))
    kept = [row for row in table.rows if None not in (row[name], row[table.fields[-1].name])]
    assert len(kept) + len(dirty) == len(table.rows)

    key_of = key_maker(layout)
    columns = layout.key.columns
    assert [c[1] for c in commands(rows)] == [key_of({c: row[c] for c in columns}) for row in kept]
    assert [c[1] for c in commands(rows)] == [key_of([row[c] for c in columns]) for row in kept]


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_key_may_be_asked_for_as_text(number: int) -> None:
    key_of = key_maker(manifest())
    assert key_of(number) == key_of(str(number)) == key_of({"id": number}) == b"users:01abc:%d" % number


@pytest.mark.parametrize("key", ["x", 1.5, None, True, 2**63, "", b"1", (1, 2), {"di": 1}])
def test_a_key_of_another_type_is_refused(key: object) -> None:
    with pytest.raises(ValueError, match="id"):
        key_maker(manifest())(key)


def test_keys_carry_asset_and_version() -> None:
    layout = manifest(key="u/{id}", value="json")
    rows, _ = encode_rows(layout, batch_of(FIELDS, [{"id": 7, "tags": None}]))
    assert list(commands(rows)) == [[b"SET", b"users:01abc:u/7", b'{"id":7,"tags":null}']]
    assert (pointer_key("users"), versions_key("users")) == ("users:current", "users:versions")


def test_a_ttl_goes_with_every_row() -> None:
    batch = batch_of(FIELDS, [{"id": 7, "tags": ["a"]}])
    text = list(commands(encode_rows(manifest(value="json", ttl="90s"), batch)[0]))
    assert text == [[b"SET", b"users:01abc:7", b'{"id":7,"tags":["a"]}', b"PX", b"90000"]]
    hashed = list(commands(encode_rows(manifest(value="hash", ttl=timedelta(days=1)), batch)[0]))
    assert hashed == [
        [b"UNLINK", b"users:01abc:7"],
        [b"HSET", b"users:01abc:7", b"id", b"7", b"tags", b'["a"]'],
        [b"PEXPIRE", b"users:01abc:7", b"86400000"],
    ]


def test_rows_that_cannot_be_stored_are_set_aside_with_their_reason_and_content() -> None:
    names = pa.StringArray.from_buffers(3, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0\4\0\0\0"), pa.py_buffer(b"a\xffbb"))
    days = pa.array([0, 1, 10**7], pa.int32()).cast(pa.date32())
    batch = pa.RecordBatch.from_arrays([pa.array([None, 2, 3]), names, days], names=["id", "name", "day"])
    rows, dirty = encode_rows(Manifest.of(version("01abc", batch), RedisOptions(connection="c", key="{id}")), batch)
    assert len(rows) == 0
    assert [(row.reason, row.origin) for row in dirty] == [
        ("id: the key can't be made from a null", "id=None"),
        ("name: the text is not valid UTF-8", "id=2"),
        ("day: the date lies outside of the years 1 to 9999", "id=3"),
    ]
    assert [json.loads(row.raw) for row in dirty] == [
        {"id": None, "name": "a", "day": "1970-01-01"},
        {"id": 2, "name": "b'\\xff'", "day": "1970-01-02"},
        {"id": 3, "name": "bb", "day": 10**7},
    ]


def test_a_value_longer_than_redis_holds_is_set_aside() -> None:
    batch = people(3, "x" * 40)
    layout = Manifest.of(version("01abc", batch), RedisOptions(connection="c", key="{id}", value="json"))
    rows, dirty = encode_rows(layout, batch, max_value=len('{"id":1,"name":"person 1","note":""}') + 39)
    assert (len(rows), len(dirty)) == (0, 3)
    assert dirty[0].reason == "the value has 76 bytes, and Redis holds at most 75"
    assert encode_rows(layout, batch, max_value=76)[1] == []


@pytest.mark.parametrize("value", ["protobuf", "hash"])
def test_an_empty_batch_is_no_command(value: str) -> None:
    rows, dirty = encode_rows(manifest(value=value), batch_of(FIELDS, []))
    assert (len(rows), bytes(rows.data), dirty) == (0, b"", [])


@given(st.integers(0, 50), st.integers(1, 2000))
@settings(deadline=None)
def test_pieces_make_up_the_batch(count: int, size: int) -> None:
    batch = people(count)
    found = list(pieces(batch, size))
    assert all(piece.num_rows for piece in found)
    assert pa.Table.from_batches(found, batch.schema).equals(pa.Table.from_batches([batch]))


@pytest.mark.parametrize(("value", "compression"), LAYOUTS)
def test_a_manifest_says_all_that_a_reader_needs(value: ValueLayout, compression: Compression) -> None:
    layout = manifest(value=value, compression=compression, ttl="1h", key="{id}:{{x}}")
    assert parse_manifest(layout.to_json(), "here") == layout
    published = layout.published(datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "01aaa")
    assert parse_manifest(published.to_json(), "here") == published


def test_a_manifest_is_json_that_others_can_read() -> None:
    published = manifest(ttl="1s").published(datetime(2026, 1, 2, tzinfo=UTC), None)
    assert json.loads(published.to_json()) == {
        "format": 1,
        "asset": "users",
        "version": "01abc",
        "rows": "01abc",
        "key": "{id}",
        "value": "protobuf",
        "compression": "none",
        "ttl_ms": 1000,
        "fields": [
            {"name": "id", "type": "bigint", "number": 1},
            {"name": "tags", "type": "array<string>", "number": 4},
        ],
        "published_at": "2026-01-02T00:00:00+00:00",
        "previous": None,
    }


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"{}", b'{"format":1}', b"\xff", b'"text"', b"null"])
def test_what_is_no_manifest_is_a_clear_error(raw: bytes) -> None:
    with pytest.raises(TargetError, match="the key users:current in redis_online is not a manifest"):
        parse_manifest(raw, "the key users:current in redis_online")


def test_a_newer_manifest_asks_for_a_newer_millrace() -> None:
    newer = json.loads(manifest().to_json()) | {"format": 2}
    with pytest.raises(TargetError, match=r"format 2.*reads format 1"):
        parse_manifest(json.dumps(newer).encode(), "here")
