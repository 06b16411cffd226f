"""Versions that share rows in a real Redis: upserts, deletes, what stays when a version is forgotten."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from millrace.connectors.base import Version
from millrace.connectors.redis.load import RedisTarget
from millrace.errors import TargetError
from millrace.spec.connector import Mode
from tests.connectors.loads import load, people
from tests.connectors.redis.stores import ASSET, publish, rows_of, run_task, target, version
from tests.servers.redis import RedisCluster, RedisServer


def first(store: RedisTarget, count: int) -> Version:
    """The first version of a line, published."""
    return replace(publish(store, "v1", people(count, "old")), mode=Mode.MERGE)


def changes(id_: str, deletes: bool = True) -> tuple[Version, pa.RecordBatch]:
    """Row 1 changes, row 2 goes away, row 100 is new, row 101 goes away before it was ever there."""
    rows = people(1, "new", 1).to_pylist() + people(1, "", 2).to_pylist()
    rows += people(1, "new", 100).to_pylist() + people(1, "", 101).to_pylist()
    batch = pa.RecordBatch.from_pylist(rows, schema=people(1).schema)
    of = replace(version(id_, batch), mode=Mode.MERGE, rows_id="v1", deletes="gone" if deletes else None)
    return of, batch.append_column("gone", pa.array([False, True, None, True]))


def merge(store: RedisTarget, of: Version, batch: pa.RecordBatch) -> None:
    store.prepare(of)
    found = load(store, of, [batch])
    assert (found.rows, found.dirty) == (batch.num_rows, ())


def notes(url: str) -> list[Any]:
    return [row and row["note"] for row in rows_of(url, [0, 1, 2, 100, 101])]


@pytest.mark.parametrize("value", ["protobuf", "hash"])
def test_a_merge_changes_the_rows_that_are_there(redis_server: RedisServer, value: str) -> None:
    store = target(redis_server.url, value=value, ttl="1h")
    old = first(store, 10)
    of, batch = changes("v2")
    for _ in range(2):  # run again after a crash, it gives the same store
        merge(store, of, batch)
    store.publish(of)
    assert store.current(ASSET) == "v2"
    assert notes(redis_server.url) == ["old", "new", None, "new", None]
    stays = batch.filter(pa.array([True, False, True, False]))
    assert run_task(store.probe(of), [stays]) == 2
    assert run_task(store.probe(of), [batch.filter(pa.array([False, True, False, True]))]) == 0
    assert store.mismatches(of, pa.Table.from_batches([stays])) == []
    with redis_server.client() as client:
        assert 0 < client.pttl(f"{ASSET}:v1:100") <= 3_600_000
    store.forget(old)
    assert notes(redis_server.url) == ["old", "new", None, "new", None]
    store.forget(old)  # unknown by now, and no error


def test_the_last_of_a_line_takes_its_rows_along(redis_server: RedisServer) -> None:
    store = target(redis_server.url)
    old = first(store, 10)
    of, batch = changes("v2")
    merge(store, of, batch)
    store.publish(of)
    with pytest.raises(TargetError, match="it is the version that readers see"):
        store.forget(of)
    publish(store, "v3", people(3, "anew"))
    store.forget(old)
    store.drop(of)
    with redis_server.client() as client:
        assert not client.keys(f"{ASSET}:v1:*")
        assert client.hkeys(f"{ASSET}:versions") == [b"v3"]
    assert notes(redis_server.url) == ["anew", "anew", "anew", None, None]


def test_merges_reach_every_node_of_a_cluster(redis_cluster: RedisCluster) -> None:
    store = target(redis_cluster.url)
    first(store, 10)
    of, batch = changes("v2")
    merge(store, of, batch)
    store.publish(of)
    assert notes(redis_cluster.url) == ["old", "new", None, "new", None]


def test_rows_that_are_gone_or_written_otherwise_cant_be_merged_into(redis_server: RedisServer) -> None:
    store = target(redis_server.url)
    first(store, 10)
    of, _ = changes("v2")
    with pytest.raises(TargetError, match="its rows would be written in another way"):
        target(redis_server.url, compression="zstd").prepare(of)
    redis_server.flush()
    with pytest.raises(TargetError, match="holds nothing of the rows that it changes") as caught:
        store.prepare(of)
    assert "--full-refresh" in caught.value.hint
