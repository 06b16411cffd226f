"""The life of versions in a real Redis: check, prepare, load, verify, publish, roll back, retire."""

from __future__ import annotations

import json
import pickle
from threading import Thread

import pyarrow as pa
import pytest

from millrace.connectors.redis.load import RedisTarget
from millrace.connectors.redis.options import ValueLayout
from millrace.connectors.wire.compression import Compression
from millrace.errors import TargetError
from millrace.spec.types import column
from tests.connectors.loads import load, people
from tests.connectors.redis.stores import ASSET, publish, rows_of, run_task, target, version
from tests.connectors.redis.test_layout import LAYOUTS
from tests.servers.redis import RedisServer

NASTY_KEYS = [
    "",
    " ",
    "a b",
    "line\nbreak",
    "\r\n+OK\r\n",
    "{tag}",
    "{}",
    "*?[x]",
    "ключ",
    "🔑",
    "a:b",
    "%3A",
    "\x00",
    "x" * 10_000,
    "current",
]


def keys_in(server: RedisServer) -> set[bytes]:
    with server.client() as client:
        return set(client.keys("*"))


@pytest.mark.parametrize(("value", "compression"), LAYOUTS)
def test_rows_of_every_layout_come_back(
    redis_server: RedisServer, value: ValueLayout, compression: Compression
) -> None:
    store = target(redis_server.url, value=value, compression=compression)
    batch = people(500, "a note that is there again and again, again and again")
    of = publish(store, "v1", batch)
    assert run_task(store.probe(of), [batch.select(["id"])]) == 500
    assert store.mismatches(of, pa.Table.from_batches([batch])) == []
    assert rows_of(redis_server.url, [0, 499, 500]) == [*batch.take([0, 499]).to_pylist(), None]


@pytest.mark.parametrize("value", ["json", "hash"])
def test_nasty_keys_are_just_keys(redis_server: RedisServer, value: str) -> None:
    batch = pa.RecordBatch.from_pydict(
        {"name": NASTY_KEYS, "raw": [bytes([n, 0, 255]) for n in range(len(NASTY_KEYS))]}
    )
    store = target(redis_server.url, key="{name}", value=value)
    of = publish(store, "v1", batch)
    assert run_task(store.probe(of), [batch]) == len(NASTY_KEYS)
    assert rows_of(redis_server.url, NASTY_KEYS) == batch.to_pylist()
    assert store.current(ASSET) == "v1"


def test_binary_keys_and_keys_of_several_columns(redis_server: RedisServer) -> None:
    batch = pa.RecordBatch.from_pydict({"raw": [b"\xff\x00:", b"\xff\x00"], "id": [1, 2], "note": ["a", "b"]})
    of = publish(target(redis_server.url, key="{raw}:{id}"), "v1", batch)
    assert keys_in(redis_server) >= {b"user_profile:v1:\xff\x00%3A:1", b"user_profile:v1:\xff\x00:2"}
    assert rows_of(redis_server.url, [(b"\xff\x00:", 1), {"id": 2, "raw": b"\xff\x00"}, (b"\xff\x00:", 2)]) == [
        *batch.to_pylist(),
        None,
    ]
    assert of.columns[0] == column("raw", "binary")


def test_keys_that_would_run_together_stay_apart(redis_server: RedisServer) -> None:
    batch = pa.RecordBatch.from_pydict({"a": ["x:y", "x"], "b": ["z", "y:z"]})
    publish(target(redis_server.url, key="{a}:{b}"), "v1", batch)
    assert rows_of(redis_server.url, [("x:y", "z"), ("x", "y:z")]) == batch.to_pylist()


def test_a_row_without_a_key_is_set_aside_and_the_others_are_loaded(redis_server: RedisServer) -> None:
    batch = pa.RecordBatch.from_pydict({"id": [1, None, 3], "country": ["de", "de", None]})
    store = target(redis_server.url, key="{country}:{id}")
    of = version("v1", batch)
    store.prepare(of)
    loaded = load(store, of, [batch])
    assert (loaded.rows, [row.origin for row in loaded.dirty]) == (1, ["country=de, id=None", "country=None, id=3"])
    assert json.loads(loaded.dirty[0].raw) == {"id": None, "country": "de"}
    assert run_task(store.probe(of), [batch]) == 1


def test_a_value_of_ten_megabytes_works(redis_server: RedisServer) -> None:
    batch = people(3, "x" * 10_000_000)
    store = target(redis_server.url)
    of = publish(store, "v1", batch)
    assert store.mismatches(of, pa.Table.from_batches([batch])) == []
    assert rows_of(redis_server.url, [2]) == batch.slice(2).to_pylist()


def test_loaded_bytes_are_those_on_the_wire(redis_server: RedisServer) -> None:
    store = target(redis_server.url, value="json")
    batch = people(1, "note")
    of = version("v1", batch)
    store.prepare(of)
    value = b'{"id":0,"name":"person 0","note":"note"}'
    key = b"user_profile:v1:0"
    assert load(store, of, [batch]).size == len(
        b"*3\r\n$4\r\nMSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(value), value)
    )


@pytest.mark.parametrize("value", ["protobuf", "hash"])
def test_of_rows_with_one_key_the_last_is_whole(redis_server: RedisServer, value: str) -> None:
    batch = pa.RecordBatch.from_pydict({"id": [1, 1], "a": ["first", None], "b": [None, "second"]})
    of = publish(target(redis_server.url, value=value), "v1", batch)
    assert rows_of(redis_server.url, [1]) == [{"id": 1, "a": None, "b": "second"}]
    assert run_task(target(redis_server.url).probe(of), [batch]) == 2


@pytest.mark.parametrize("value", ["json", "hash"])
def test_a_ttl_ends_every_row(redis_server: RedisServer, value: str) -> None:
    publish(target(redis_server.url, value=value, ttl="1h"), "v1", people(3))
    with redis_server.client() as client:
        left = [client.pttl(f"{ASSET}:v1:{id_}") for id_ in range(3)]
        assert client.pttl(f"{ASSET}:current") == -1
    assert all(3_000_000 < ms <= 3_600_000 for ms in left)


def test_a_row_that_has_expired_is_not_found(redis_server: RedisServer) -> None:
    publish(target(redis_server.url, ttl="1ms"), "v1", people(1))
    with redis_server.client() as client:
        while client.exists(f"{ASSET}:v1:0"):
            pass
    assert rows_of(redis_server.url, [0]) == [None]


def test_publish_moves_the_pointer_and_says_so(redis_server: RedisServer) -> None:
    with redis_server.client() as client, client.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(f"{ASSET}:current")
        store = target(redis_server.url)
        assert store.current(ASSET) is None
        first = publish(store, "v1", people(1))
        publish(store, "v2", people(1))
        store.publish(first)
        messages: list[bytes] = []
        while len(messages) < 3:
            message = heard.get_message(timeout=5)
            messages += [message["data"]] if message else []
        assert messages == [b"v1", b"v2", b"v1"]
        pointer = json.loads(client.get(f"{ASSET}:current"))
    assert (store.current(ASSET), pointer["previous"]) == ("v1", "v2")


def test_a_version_that_the_store_has_lost_is_not_published(redis_server: RedisServer) -> None:
    store = target(redis_server.url)
    of = publish(store, "v1", people(1))
    redis_server.flush()
    with pytest.raises(TargetError, match="holds nothing of this version"):
        store.publish(of)


def test_a_rollback_brings_back_the_layout_that_the_version_was_written_in(redis_server: RedisServer) -> None:
    first = publish(target(redis_server.url, value="hash"), "v1", people(2, "old"))
    second = target(redis_server.url, value="protobuf", compression="zstd", key="u-{id}")
    publish(second, "v2", people(2, "new"))
    assert rows_of(redis_server.url, [1]) == people(1, "new", start=1).to_pylist()
    second.publish(first)
    assert rows_of(redis_server.url, [1]) == people(1, "old", start=1).to_pylist()


def test_two_publishers_leave_one_whole_pointer(redis_server: RedisServer) -> None:
    stores = [target(redis_server.url) for _ in range(2)]
    versions = [publish(store, f"v{n}", people(1)) for n, store in enumerate(stores)]

    def flip(store: RedisTarget) -> None:
        for n in range(100):
            store.publish(versions[n % 2])

    threads = [Thread(target=flip, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with redis_server.client() as client:
        pointer = json.loads(client.get(f"{ASSET}:current"))
    assert {pointer["version"], pointer["previous"]} == {"v0", "v1"}


def test_the_eraser_removes_the_rows_and_drop_the_rest(redis_server: RedisServer) -> None:
    store = target(redis_server.url)
    batch = people(3000)
    first = publish(store, "v1", batch)
    publish(store, "v2", people(1))
    eraser = store.eraser(first)
    assert eraser is not None
    assert run_task(pickle.loads(pickle.dumps(eraser)), [batch.select(["id"])]) == 3000
    store.drop(first)
    store.drop(first)
    assert keys_in(redis_server) == {b"user_profile:current", b"user_profile:versions", b"user_profile:v2:0"}


def test_drop_finds_the_rows_itself_when_nobody_knows_them_any_more(redis_server: RedisServer) -> None:
    store = target(redis_server.url)
    lost = publish(store, "v1", people(2500))
    publish(store, "v11", people(3))
    store.drop(lost)
    assert len(keys_in(redis_server)) == 3 + 2


def test_a_version_with_another_key_is_found_by_search(redis_server: RedisServer) -> None:
    first = publish(target(redis_server.url, key="{name}"), "v1", people(10))
    store = target(redis_server.url, key="{id}")
    publish(store, "v2", people(1))
    assert store.eraser(first) is None
    store.drop(first)
    assert len(keys_in(redis_server)) == 1 + 2


def test_a_name_full_of_wildcards_sweeps_only_its_own(redis_server: RedisServer) -> None:
    store = target(redis_server.url)
    for id_ in ("v[1]*", "v1", "v11"):
        load(store, version(id_, people(1)), [people(2)])
    assert store.sweep(version("v[1]*", people(1))) == 2
    assert len(keys_in(redis_server)) == 4


def test_unpublish_leaves_nothing(redis_server: RedisServer) -> None:
    store = target(redis_server.url)
    of = publish(store, "v1", people(3))
    store.unpublish(ASSET)
    assert store.current(ASSET) is None
    store.unpublish(ASSET)
    eraser = store.eraser(of)
    assert eraser is not None
    run_task(eraser, [people(3)])
    store.drop(of)
    assert keys_in(redis_server) == set()


def test_mismatches_say_what_was_got_and_what_expected(redis_server: RedisServer) -> None:
    store = target(redis_server.url, value="json")
    of = publish(store, "v1", people(3, "right"))
    with redis_server.client() as client:
        client.set(f"{ASSET}:v1:1", '{"id":1,"name":"person 1","note":"wrong"}')
        client.delete(f"{ASSET}:v1:2")
    assert store.mismatches(of, pa.Table.from_batches([people(3, "right")])) == [
        'user_profile:v1:1: got {"id": 1, "name": "person 1", "note": "wrong"},'
        ' expected {"id": 1, "name": "person 1", "note": "right"}',
        'user_profile:v1:2: got nothing, expected {"id": 2, "name": "person 2", "note": "right"}',
    ]
    assert run_task(store.probe(of), [people(3)]) == 2


@pytest.mark.parametrize(
    ("key", "problem"), [("{uid}", "unknown column 'uid'; there are id, score"), ("{score}", "score.* is double")]
)
def test_check_refuses_a_key_that_the_columns_cannot_make(redis_server: RedisServer, key: str, problem: str) -> None:
    with pytest.raises(TargetError, match=problem):
        target(redis_server.url, key=key).check([column("id", "int"), column("score", "double")])


def test_databases_are_apart(redis_server: RedisServer) -> None:
    publish(target(f"{redis_server.url}/1"), "v1", people(1))
    assert target(redis_server.url).current(ASSET) is None
    assert rows_of(f"{redis_server.url}/1", [0]) == people(1).to_pylist()
