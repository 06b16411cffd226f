"""Versions in a real ClickHouse: loaded, verified, published, rolled back, dropped."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from millrace.connectors.base import Version
from millrace.connectors.clickhouse.layout import column_of
from millrace.connectors.clickhouse.loader import INSERT_ROWS
from millrace.connectors.wire.arrow_types import schema_of
from millrace.errors import TargetError
from millrace.spec.types import column
from tests.connectors.clickhouse.stores import ASSET, publish, target, version, version_of
from tests.connectors.loads import load, load_whole, people
from tests.servers.clickhouse import ClickHouseDatabase

UTC = dt.UTC
ALL_TYPES = [
    column("id", "bigint"),
    column("flag", "boolean"),
    column("tiny", "tinyint"),
    column("small", "smallint"),
    column("medium", "int"),
    column("single", "float"),
    column("double", "double"),
    column("wide", "decimal(38,10)"),
    column("money", "decimal(5,2)"),
    column("text", "string"),
    column("raw", "binary"),
    column("day", "date"),
    column("at", "timestamp"),
    column("wall", "timestamp_ntz"),
    column("numbers", "array<int>"),
    column("deep", "array<array<string>>"),
    column("counts", "map<string,int>"),
    column("pair", "struct<x:int,y:string>"),
    column("events", "map<int,array<struct<at:timestamp,raw:binary>>>"),
]
FULL: dict[str, Any] = {
    "id": 1,
    "flag": True,
    "tiny": -128,
    "small": 32767,
    "medium": -(2**31),
    "single": 1.5,
    "double": float("nan"),
    "wide": Decimal("1234567890123456789012345678.0123456789"),
    "money": Decimal("-999.99"),
    "text": "hé\0'\\`\n😀",
    "raw": b"\xff\x00\xfe",
    "day": dt.date(1900, 1, 1),
    "at": dt.datetime(2299, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    "wall": dt.datetime(1900, 1, 1),
    "numbers": [1, None, 3],
    "deep": [["x", None], []],
    "counts": [("k", 1), ("l", None)],
    "pair": {"x": None, "y": "q"},
    "events": [(1, [{"at": dt.datetime(2020, 2, 29, tzinfo=UTC), "raw": b"\xfe"}])],
}
CONTAINERS: dict[str, Any] = {"numbers": [], "deep": [], "counts": [], "pair": {"x": None, "y": None}, "events": []}
EMPTY: dict[str, Any] = {**dict.fromkeys(FULL), **CONTAINERS, "id": 2}
EDGES: dict[str, Any] = {
    **FULL,
    "id": -(2**63),
    "flag": False,
    "tiny": 127,
    "single": float("inf"),
    "double": -0.0,
    "wide": Decimal("-0.0000000001"),
    "money": Decimal("0.00"),
    "text": "",
    "raw": b"",
    "day": dt.date(2299, 12, 31),
    "at": dt.datetime(1900, 1, 1, tzinfo=UTC),
    "wall": dt.datetime(2299, 12, 31, 23, 59, 59, 999999),
    "numbers": [-1],
    "deep": [[]],
    "counts": [("", 0)],
    "pair": {"x": 1, "y": ""},
    "events": [(-5, [])],
}


def all_types(*rows: dict[str, Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=schema_of(ALL_TYPES))


def test_the_table_tells_every_columns_type(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection)
    of = version_of("v1", ALL_TYPES)
    store.prepare(of)
    described = clickhouse_database.query(
        f"SELECT name, type, comment FROM system.columns WHERE database = '{clickhouse_database.name}'"
        f" AND table = '{ASSET}__v1' ORDER BY position FORMAT TSVRaw"
    )
    found = [column_of(*line.split("\t")) for line in described.splitlines()]
    assert [str(c) for c in found] == [str(c) for c in ALL_TYPES]
    store.close()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": None}, "id is null, but ClickHouse's keys hold no nulls"),
        ({"day": dt.date(1899, 12, 31)}, "day: the date lies outside of the years 1900 to 2299"),
        ({"at": dt.datetime(2300, 1, 1, tzinfo=UTC)}, "at: the timestamp lies outside"),
        ({"wall": dt.datetime(1, 1, 1)}, "wall: the timestamp_ntz lies outside"),
        ({"numbers": None}, "numbers is null, but ClickHouse has no null array"),
        ({"deep": [["a"], None]}, "deep[element] is null, but ClickHouse has no null array"),
        ({"counts": None}, "counts is null, but ClickHouse has no null map"),
        ({"pair": None}, "pair is null, but ClickHouse has no null struct"),
        (
            {"events": [(1, [{"at": dt.datetime(1800, 1, 1, tzinfo=UTC), "raw": None}])]},
            "events[value][element].at: the timestamp lies outside",
        ),
    ],
)
def test_what_clickhouse_can_not_hold_is_set_aside_and_never_changed(
    clickhouse_database: ClickHouseDatabase, change: dict[str, Any], reason: str
) -> None:
    store = target(clickhouse_database.connection, order_by=("id",))
    of = version_of("v1", ALL_TYPES)
    loaded = load_whole(store, of, [all_types(FULL, {**EDGES, **change}, EMPTY)])
    assert loaded.rows == store.count(of) == 2
    (dirty,) = loaded.dirty
    assert dirty.reason.startswith(reason)
    assert dirty.origin == f"id={change.get('id', EDGES['id']) if 'id' in change else EDGES['id']}"
    store.close()


def test_a_row_that_clickhouse_refuses_is_found_among_many(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection, order_by=("id",), partition_by="toUInt8(code)")
    codes = [str(n % 5) for n in range(20_000)]
    codes[7], codes[15_000] = "seven", "lots"
    batch = pa.RecordBatch.from_pydict({"id": pa.array(range(20_000)), "code": pa.array(codes)})
    of = version("v1", batch)
    loaded = load_whole(store, of, [batch])
    assert loaded.rows == store.count(of) == 19_998
    assert sorted(dirty.origin for dirty in loaded.dirty) == ["id=15000", "id=7"]
    assert "Cannot parse" in loaded.dirty[0].reason
    store.close()


def test_many_small_batches_make_few_parts(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection, order_by=("id",))
    batch = people(10_000)
    of = version("v1", batch)
    store.prepare(of)
    loader = store.loader(of)
    loader.open()
    confirmed = [loader.load(people(10_000, start=start)).rows for start in range(0, 600_000, 10_000)]
    assert sum(confirmed) + loader.finish().rows == 600_000
    assert sum(confirmed) == INSERT_ROWS  # the second insert is under way
    loader.close()
    store.seal(of)
    parts = clickhouse_database.query(f"SELECT count() <= 3 FROM system.parts WHERE active AND table = '{ASSET}__v1'")
    assert parts == "1\n"
    assert store.count(of) == 600_000
    store.close()


def test_what_an_attempt_that_never_finished_wrote_does_not_count(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection)
    of = version("v1", people(1))
    store.prepare(of)
    dead = store.loader(of)
    dead.open()
    dead.load(people(INSERT_ROWS))
    assert load(store, of, [people(5)]).rows == 5
    store.seal(of)
    assert store.count(of) == 5
    assert clickhouse_database.tables() == [f"{ASSET}__v1"]
    dead.close()
    store.close()


def test_sealing_twice_changes_nothing(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection)
    of = version("v1", people(1))
    load_whole(store, of, [people(100)])
    load(store, of, [people(7)])  # a task that everybody thought dead
    store.seal(of)
    assert store.count(of) == 100
    assert clickhouse_database.tables() == [f"{ASSET}__v1"]
    store.close()


def test_a_difference_is_told_by_key_and_column(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection, order_by=("id",))
    of, batch = version("v1", people(1)), people(50)
    load_whole(store, of, [batch])
    expected = pa.Table.from_batches([batch]).to_pylist()
    expected[3]["name"] = "somebody else"
    expected[4]["id"] = 99
    assert store.mismatches(of, pa.Table.from_pylist(expected, schema=batch.schema)) == [
        "{'id': 3}: got {'name': 'person 3'}, expected {'name': 'somebody else'}",
        "{'id': 99}: got no such row, expected one",
    ]
    assert clickhouse_database.tables() == [f"{ASSET}__v1"]
    store.close()


@pytest.mark.parametrize("columns", [["numbers"], ["single"], ["text", "flag"]])
def test_rows_are_compared_without_any_key(clickhouse_database: ClickHouseDatabase, columns: list[str]) -> None:
    store = target(clickhouse_database.connection)
    batch = all_types(FULL, EMPTY, EDGES).select(columns)
    of = version("v1", batch)
    load_whole(store, of, [batch])
    assert store.mismatches(of, pa.Table.from_batches([batch])) == []
    other = pa.Table.from_batches([all_types({**FULL, "numbers": [7], "single": 7.0, "text": "seven"}).select(columns)])
    assert len(store.mismatches(of, other)) == 1
    store.close()


def test_publish_and_rollback_move_the_view(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection, order_by=("id",))
    assert store.current(ASSET) is None
    old = publish(store, "v1", people(10, "old"))
    new = publish(store, "v2", people(20, "new"))
    store.publish(new)
    assert store.current(ASSET) == "v2"
    assert clickhouse_database.query(f"SELECT count(), any(note) FROM {ASSET}") == "20\tnew\n"
    store.publish(old)
    assert store.current(ASSET) == "v1"
    assert clickhouse_database.query(f"SELECT count(), any(note) FROM {ASSET}") == "10\told\n"
    assert clickhouse_database.tables() == [ASSET, f"{ASSET}__v1", f"{ASSET}__v2"]
    store.close()


def test_a_query_on_an_old_version_ends_in_peace_when_that_is_dropped(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection, order_by=("id",))
    old = publish(store, "v1", people(1000, "v1"))
    answers: list[str] = []
    slow = f"SELECT count() + sum(sleepEachRow(0.001)) FROM {ASSET} SETTINGS max_block_size = 100, max_threads = 1"
    reader = threading.Thread(target=lambda: answers.append(clickhouse_database.query(slow)))
    reader.start()
    publish(store, "v2", people(10, "v2"))
    store.drop(old)
    reader.join()
    assert answers[0] in ("1000\n", "10\n")
    assert clickhouse_database.tables() == [ASSET, f"{ASSET}__v2"]
    store.close()


def test_the_current_version_is_never_dropped_or_loaded_over(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection)
    of = publish(store, "v1", people(10))
    for act in (store.drop, store.prepare):
        with pytest.raises(TargetError, match=r"readers of .* see this version now"):
            act(of)
    assert clickhouse_database.query(f"SELECT count() FROM {ASSET}") == "10\n"
    store.drop(version("unknown", people(1)))
    store.unpublish(ASSET)
    store.unpublish(ASSET)
    assert store.current(ASSET) is None
    store.drop(of)
    store.drop(of)
    assert clickhouse_database.tables() == []
    store.close()


def test_a_version_that_is_not_whole_can_not_be_published(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection)
    of = version("v1", people(1))
    with pytest.raises(TargetError, match="has no table of this version"):
        store.publish(of)
    with pytest.raises(TargetError, match=r"has no table `.*` of this version"):
        store.seal(of)
    store.prepare(of)
    load(store, of, [people(5)])
    with pytest.raises(TargetError, match="has only a half-loaded table"):
        store.publish(of)
    assert store.current(ASSET) is None
    store.close()


NASTY = 'it\'s `a` "name"; DROP TABLE x -- \\ é {x:String} %s'


def test_names_with_anything_in_them_do_no_harm(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection, table=NASTY, order_by=(NASTY,), low_cardinality=("b`",))
    batch = pa.RecordBatch.from_pydict({NASTY: pa.array([1, 2]), "b`": pa.array(["x", None])})
    of = dataclasses.replace(version("v1", batch), asset="an 'asset'")
    store.check(of.columns)
    assert load_whole(store, of, [batch]).rows == 2
    assert store.mismatches(of, pa.Table.from_batches([batch])) == []
    store.publish(of)
    assert store.current("an 'asset'") == "v1"
    quoted = "`" + NASTY.replace("\\", "\\\\").replace("`", "\\`") + "`"
    assert clickhouse_database.query(f"SELECT count() FROM {quoted}") == "2\n"
    store.unpublish("an 'asset'")
    store.drop(of)
    assert clickhouse_database.tables() == []
    store.close()


def test_what_others_have_made_is_never_touched(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection)
    clickhouse_database.query(f"CREATE TABLE {ASSET} (a Int8) ENGINE = Memory")
    with pytest.raises(TargetError, match="which millrace did not make"):
        store.prepare(version("v1", people(1)))
    store.unpublish(ASSET)
    clickhouse_database.query(f"DROP TABLE {ASSET}")
    clickhouse_database.query(f"CREATE TABLE {ASSET}__v1 (a Int8) ENGINE = Memory COMMENT 'a precious one'")
    store.drop(version("v1", people(1)))
    with pytest.raises(TargetError, match="already exists"):
        store.prepare(version("v1", people(1)))
    assert clickhouse_database.tables() == [f"{ASSET}__v1"]
    store.close()


def test_two_assets_can_not_share_a_table(clickhouse_database: ClickHouseDatabase) -> None:
    publish(target(clickhouse_database.connection, table="shared"), "v1", people(1))
    other = Version("another", "v9", version("v9", people(1)).fields)
    store = target(clickhouse_database.connection, table="shared")
    with pytest.raises(TargetError, match=f"which shows the asset '{ASSET}'"):
        store.prepare(other)
    assert store.current("another") is None
    store.unpublish("another")
    assert store.current(ASSET) == "v1"
    store.close()


def test_rows_expire_from_the_publish_on_and_not_before(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection, order_by=("id",), ttl="at + INTERVAL 1 DAY")
    old, new = dt.datetime(2000, 1, 1, tzinfo=UTC), dt.datetime(2200, 1, 1, tzinfo=UTC)
    times = pa.array([old, new, new], pa.timestamp("us", tz="UTC"))
    of = version("v1", batch := pa.RecordBatch.from_pydict({"id": pa.array([1, 2, 3]), "at": times}))
    load_whole(store, of, [batch])
    clickhouse_database.query(f"OPTIMIZE TABLE {ASSET}__v1 FINAL")
    assert store.count(of) == 3
    store.publish(of)
    clickhouse_database.query(f"OPTIMIZE TABLE {ASSET}__v1 FINAL")
    assert store.count(of) == 2
    store.publish(of)
    store.close()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"ttl": "nope + INTERVAL 1 DAY"}, "nope"),
        ({"partition_by": "nope(id)"}, "nope"),
        ({"settings": {"no_such_setting": 1}}, "no_such_setting"),
        ({"codec": {"id": "Nope"}}, "Nope"),
        ({"engine": "ReplacingMergeTree(nope)"}, "nope"),
    ],
)
def test_options_that_clickhouse_refuses_fail_before_anything_is_loaded(
    clickhouse_database: ClickHouseDatabase, options: dict[str, Any], problem: str
) -> None:
    store = target(clickhouse_database.connection, order_by=("id",), **options)
    with pytest.raises(TargetError, match=problem):
        store.prepare(version("v1", people(1)))
    store.close()


def test_keys_may_hold_nulls_when_the_table_allows_them(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection, order_by=("id",), settings={"allow_nullable_key": True})
    batch = pa.RecordBatch.from_pydict({"id": pa.array([1, None], pa.int64())})
    of = version("v1", batch)
    assert load_whole(store, of, [batch]).rows == 2
    assert store.mismatches(of, pa.Table.from_batches([batch])) == []
    store.close()


def test_a_replacing_engine_keeps_the_last_row_of_a_key(clickhouse_database: ClickHouseDatabase) -> None:
    store = target(clickhouse_database.connection, order_by=("id",), engine="ReplacingMergeTree(at)")
    batch = pa.RecordBatch.from_pydict({"id": pa.array([1, 2]), "at": pa.array([1, 1], pa.int64())})
    publish(store, "v1", batch)
    assert clickhouse_database.query(f"SELECT count() FROM {ASSET} FINAL") == "2\n"
    store.close()
