"""The life of versions in a real HBase: check, prepare, load, verify, publish, roll back, retire."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from millrace.connectors.hbase.lookup import HBaseReader
from millrace.errors import NotAvailable, TargetError, TransientError
from millrace.serving.call import Call, Operation, Origin
from millrace.serving.plans import KvPlan
from millrace.spec.connector import Mode
from millrace.spec.shape.apis import Cache
from millrace.spec.types import column
from tests.connectors.hbase.stores import Store
from tests.connectors.loads import people
from tests.connectors.wire.cases import record_batch
from tests.servers.hbase import HBase
from tests.servers.redis import RedisServer
from tests.serving.sharing import SHARED, shared_answers

TYPES: dict[str, tuple[Any, Any]] = {
    "id": (pa.int64(), [1, 2, 3]),
    "flag": (pa.bool_(), [True, False, None]),
    "tiny": (pa.int8(), [-128, 127, None]),
    "big": (pa.int64(), [-(1 << 63), (1 << 63) - 1, None]),
    "ratio": (pa.float64(), [0.1, -0.0, None]),
    "amount": (pa.decimal128(20, 4), [Decimal("-0.0001"), Decimal("1234567890123456.7890"), None]),
    "text": (pa.string(), ["", "smile 😀\n", None]),
    "raw": (pa.binary(), [b"\x00\xff", b"", None]),
    "day": (pa.date32(), [date(1, 1, 1), date(9999, 12, 31), None]),
    "at": (
        pa.timestamp("us", "UTC"),
        [datetime(1969, 12, 31, 23, 59, 59, 1, UTC), datetime(2024, 2, 29, tzinfo=UTC), None],
    ),
    "tags": (pa.list_(pa.string()), [["a", None], [], None]),
}


def typed_rows() -> pa.RecordBatch:
    return record_batch({name: pa.array(cells, type_) for name, (type_, cells) in TYPES.items()})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cells": "typed", "key_form": "ordered", "salt_buckets": 4},
        {"key_form": "hash", "family": None, "families": {"a": list(TYPES)[:5], "b": list(TYPES)[5:]}},
        {"key_form": "reverse", "row_key": "{id}/{text}"},
    ],
    ids=["plain", "typed", "families", "composite"],
)
def test_rows_of_every_type_and_layout_come_back(hbase: HBase, options: dict[str, Any]) -> None:
    store, batch = Store(hbase, **options), typed_rows()
    if options.get("row_key"):
        batch = batch.slice(0, 2)
    of = store.publish("v1", batch)
    rows = batch.to_pylist()
    keys = [(row["id"], row["text"]) if options.get("row_key") else row["id"] for row in rows]
    assert store.get(*keys, keys[0]) == [*rows, rows[0]]
    assert store.target.count(of) == batch.num_rows
    assert store.target.mismatches(of, pa.Table.from_batches([batch])) == []


def test_what_one_server_asked_another_finds_in_redis(hbase: HBase, redis_server: RedisServer, tmp_path: Path) -> None:
    store, batch = Store(hbase), typed_rows()
    of = store.publish("v1", batch)
    plan = KvPlan(
        api="people",
        asset=store.asset,
        target="hbase",
        connector="hbase",
        options=store.options.model_dump(mode="json"),
        fields=of.fields,
        cache=Cache.model_validate(SHARED),
    )
    calls = [Call(Operation.GET, 1), Call(Operation.MULTI_GET, [2, 3])]
    connections = {"hbase_test": hbase.url, "l2": redis_server.url}
    row, rows = shared_answers(tmp_path, connections, plan, calls)
    assert [answer.origin for answer in (*row, *rows)] == [Origin.STORE, Origin.L2] * 2
    assert [answer.body.row() for answer in row] == batch.to_pylist()[:1] * 2
    assert [answer.body.rows() for answer in rows] == [batch.to_pylist()[1:]] * 2


def test_a_row_of_nothing_but_nulls_is_a_row(hbase: HBase) -> None:
    store = Store(hbase, row_key="{id}", family=None, families={"a": ["x"], "b": ["y"]})
    batch = record_batch({"id": ["1", "2"], "x": pa.array([None, "x"]), "y": pa.array([None, None], pa.int32())})
    of = store.version("v1", batch.select(["x", "y"]))
    store.target.prepare(of)
    manifest = store.target._stored(of, "")
    assert manifest.marker == b"a:"
    with pytest.raises(TargetError, match="unknown column 'id'"):
        store.target.check(of.columns)
    with pytest.raises(TargetError, match="column 'id' stands in no family"):
        store.target.check([column("id", "string"), *of.columns])


def test_a_load_that_is_tried_again_starts_anew(hbase: HBase) -> None:
    store = Store(hbase)
    of = store.version("v1", people(1))
    store.load(of, people(50, "half-written"))
    assert store.load(of, people(20, "whole")).rows == 20
    assert store.target.count(of) == 20
    assert store.target.mismatches(of, pa.Table.from_batches([people(1, "other")])) == [
        '0: got {"id": 0, "name": "person 0", "note": "whole"}, expected {"id": 0, "name": "person 0", "note": "other"}'
    ]
    store.target.publish(of)
    with pytest.raises(TargetError, match="readers see its rows now"):
        store.target.prepare(of)


def test_rows_that_hbase_refuses_are_set_aside_and_the_others_stay(hbase: HBase) -> None:
    store = Store(hbase)
    batch = people(300)
    notes = ["x"] * 300
    notes[7], notes[250] = "y" * (11 << 20), "z" * (10 << 20)
    batch = batch.set_column(2, "note", pa.array(notes))
    loaded = store.load(store.version("v1", batch), batch)
    assert (loaded.rows, [row.origin for row in loaded.dirty]) == (298, ["id=7", "id=250"])


def test_merge_changes_rows_takes_them_away_and_is_the_same_when_it_is_repeated(hbase: HBase) -> None:
    store = Store(hbase, family=None, families={"p": ["id", "name"], "s": ["note"]})
    first = store.publish("m1", people(5, "first"), mode=Mode.MERGE)
    changes = people(3, None, start=3).append_column("gone", pa.array([True, False, None]))
    second = store.version("m2", changes, mode=Mode.MERGE, rows_id="m1", deletes="gone")
    for _ in range(2):
        assert store.load(second, changes).dirty == ()
    store.target.publish(second)
    rows = store.get(*range(7))
    assert [row and row["note"] for row in rows] == ["first", "first", "first", None, None, None, None]
    assert [row is None for row in rows] == [False, False, False, True, False, False, True]
    assert store.target.mismatches(second, pa.Table.from_batches([changes])) == []
    store.target.forget(first)
    with pytest.raises(TargetError, match="readers see its rows now"):
        store.target.drop(first)
    assert store.get(0)[0]["note"] == "first"


def test_a_table_of_somebody_else_is_left_alone(hbase: HBase) -> None:
    store = Store(hbase)
    store.target._link.create("", f"{store.asset}_v1", ["x"])
    of = store.version("v1", people(1))
    with pytest.raises(TargetError, match="already has a table"):
        store.target.prepare(of)
    store.target.drop(of)
    assert store.target._link.exists("", f"{store.asset}_v1")


@pytest.mark.parametrize(
    ("url", "error", "problem"),
    [
        ("hbase://127.0.0.1:1/", TransientError, "can't be reached"),
        ("hbase://no-such-host.invalid/", TransientError, "can't be reached"),
    ],
)
def test_a_wrong_place_is_told(url: str, error: type[Exception], problem: str, hbase: HBase) -> None:
    store = Store(hbase, url=url)
    with pytest.raises(error, match=problem):
        store.target.check([column("id", "int")])
    with pytest.raises(error, match=problem):
        store.get(1)


def test_rows_are_found_by_range_and_by_prefix(hbase: HBase) -> None:
    countries = ["at", "at", "de", "de", "de", "d%:"]
    numbers = [-5, 300, 7, 20, 100, 1]
    batch = record_batch({"country": countries, "n": pa.array(numbers, pa.int32())})
    for buckets in (None, 3):
        store = Store(hbase, row_key="{country}:{n}", key_form="ordered", salt_buckets=buckets)
        store.publish("v1", batch)

        async def look(reader: HBaseReader) -> None:
            floors = [await reader.floor(("de", n)) for n in (6, 7, 19, 20, 99, 1000)]
            assert [row and row["n"] for row in floors] == [None, 7, 7, 20, 20, 100]
            assert [row and row["n"] for row in (await reader.floor(("at", 0)), await reader.floor(("zz", 0)))] == [
                -5,
                None,
            ]
            assert [row["n"] for row in await reader.scan(["de"], 10)] == [7, 20, 100]
            assert [row["n"] for row in await reader.scan(["de"], 2)] == [7, 20]
            assert [row["n"] for row in await reader.scan(["de"], 2, after=("de", 7))] == [20, 100]
            assert [row["n"] for row in await reader.scan(["d%:"], 2)] == [1]
            assert len(await reader.scan([], 10)) == 6

        store.read(look)


def test_what_does_not_lie_in_order_has_no_ranges(hbase: HBase) -> None:
    store = Store(hbase, key_form="hash")
    store.publish("v1", people(3))
    with pytest.raises(NotAvailable, match="can't be looked up by prefixes"):
        store.read(lambda reader: reader.scan([], 10))
    plain = Store(hbase)
    plain.publish("v1", people(3))
    with pytest.raises(NotAvailable, match="can't be looked up by ranges"):
        plain.read(lambda reader: reader.floor(1))
