"""Sorted sets, lists and sets in a real Redis: a row a key, its array column as the members."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from millrace.connectors.redis.options import RedisOptions
from millrace.errors import TargetError
from millrace.spec.types import column
from tests.connectors.loads import load
from tests.connectors.redis.stores import ASSET, publish, rows_of, run_task, target, version
from tests.servers.redis import RedisCluster, RedisServer

SORTED: dict[str, Any] = {"value": "sorted_set", "members": "songs", "scores": "plays"}
SONGS = pa.array([["b", "a", "ключ \r\n"], ["x"], ["y", "z"]], pa.list_(pa.string()))
PLAYS = pa.array([[2.5, 10, -1e20], [0], [1, float("inf")]], pa.list_(pa.float64()))
CHARTS = pa.RecordBatch.from_pydict({"user": pa.array([1, 2, 3], pa.int64()), "songs": SONGS, "plays": PLAYS})


def columns(batch: pa.RecordBatch, *names: str) -> pa.RecordBatch:
    return batch.select(list(names))


def test_a_sorted_set_gives_its_members_the_highest_score_first(redis_server: RedisServer) -> None:
    store = target(redis_server.url, "{user}", **SORTED, ttl="1h")
    of = publish(store, "v1", CHARTS)
    assert rows_of(redis_server.url, [1, 2, 4]) == [
        {"user": 1, "songs": ["a", "b", "ключ \r\n"], "plays": [10.0, 2.5, -1e20]},
        {"user": 2, "songs": ["x"], "plays": [0.0]},
        None,
    ]
    assert run_task(store.probe(of), [CHARTS]) == 3
    assert store.mismatches(of, pa.Table.from_batches([CHARTS])) == []
    with redis_server.client() as client:
        assert client.zrange(f"{ASSET}:v1:3", 0, -1, withscores=True) == [(b"y", 1.0), (b"z", float("inf"))]
        assert 0 < client.pttl(f"{ASSET}:v1:3") <= 3_600_000
        client.zadd(f"{ASSET}:v1:3", {"y": 7})
    [wrong] = store.mismatches(of, pa.Table.from_batches([CHARTS]))
    assert wrong.startswith(f"{ASSET}:v1:3: got ")


def test_a_list_keeps_order_and_doubles_a_set_neither(redis_server: RedisServer) -> None:
    batch = pa.RecordBatch.from_pydict(
        {
            "country": ["no", "a:b"],
            "id": pa.array([1, 2], pa.int32()),
            "days": pa.array([[3, 1, 3], [2]], pa.list_(pa.int64())),
        }
    )
    store = target(redis_server.url, "{country}:{id}", value="list", members="days")
    of = publish(store, "v1", batch)
    assert load(store, of, [batch]).rows == 2  # a task that is run again doubles nothing
    assert rows_of(redis_server.url, [("no", 1), ("a:b", 2)]) == batch.to_pylist()
    assert store.mismatches(of, pa.Table.from_batches([batch])) == []
    store = target(redis_server.url, "{country}:{id}", value="set", members="days")
    of = publish(store, "v2", batch)
    [row, _] = rows_of(redis_server.url, [("no", 1), ("a:b", 2)])
    assert row is not None
    assert (row["country"], sorted(row["days"])) == ("no", [1, 3])
    assert store.mismatches(of, pa.Table.from_batches([batch])) == []


def test_rows_that_have_no_members_or_bad_ones_are_set_aside(redis_server: RedisServer) -> None:
    songs = pa.array([["a"], [], None, ["b", None], ["c"], ["d", "e"], ["f"]], pa.list_(pa.string()))
    plays = pa.array([[1], [], [1], [1, 2], [float("nan")], [1], [5]], pa.list_(pa.float64()))
    batch = pa.RecordBatch.from_pydict({"user": pa.array(range(7), pa.int64()), "songs": songs, "plays": plays})
    store = target(redis_server.url, "{user}", **SORTED)
    of = version("v1", batch)
    store.prepare(of)
    found = load(store, of, [batch])
    assert found.rows == 2
    reasons = [d.reason for d in sorted(found.dirty, key=lambda d: d.origin)]
    assert len(reasons) == 5
    assert [reason for reason in reasons if "no members" in reason]
    assert [reason for reason in reasons if "a member is null" in reason]
    assert [reason for reason in reasons if "a score is NaN or null" in reason]
    assert [reason for reason in reasons if "not as many scores as members" in reason]
    store.publish(of)
    assert [row is not None for row in rows_of(redis_server.url, [0, 5, 6])] == [True, False, True]


def test_collections_and_hash_tags_on_a_cluster(redis_cluster: RedisCluster) -> None:
    store = target(redis_cluster.url, "{{{user}}}:songs", **SORTED)
    of = publish(store, "v1", CHARTS)
    assert [row["songs"] for row in rows_of(redis_cluster.url, [3, 2]) if row] == [["z", "y"], ["x"]]
    assert run_task(store.probe(of), [CHARTS]) == 3
    with redis_cluster.client() as client:
        assert client.keyslot(f"{ASSET}:v1:{{2}}:songs") == client.keyslot("{2}:anything")


def test_columns_that_have_no_place_are_refused_before_anything_is_written(redis_server: RedisServer) -> None:
    store = target(redis_server.url, "{user}", **SORTED)
    good = [column("user", "bigint"), column("songs", "array<string>"), column("plays", "array<int>")]
    store.check(good)
    for bad, words in (
        ([*good, column("city", "string")], "it has no place for the column 'city'"),
        ([good[0], column("songs", "string"), good[2]], "the column 'songs' is a string, and must be an array"),
        (good[:2], "there is no column 'plays'; there are user, songs"),
        ([*good[:2], column("plays", "array<string>")], "scores are numbers"),
    ):
        with pytest.raises(TargetError, match=words):
            store.check(bad)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"value": "list"}, "`value: list` needs `members`"),
        ({"value": "sorted_set", "members": "a"}, "`value: sorted_set` needs `scores`"),
        ({"value": "set", "members": "a", "scores": "b"}, "`scores` can't be used with `value: set`"),
        ({"value": "json", "members": "a"}, "`members` can't be used with `value: json`"),
        ({"value": "sorted_set", "members": "a", "scores": "a"}, "name the same column"),
        ({"value": "set", "members": "a", "compression": "zstd"}, "whose members are plain text"),
    ],
)
def test_options_that_dont_fit_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        RedisOptions.model_validate({"connection": "c", "key": "{id}", **options})
