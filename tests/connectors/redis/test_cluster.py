"""Versions over the nodes of a cluster, also while slots move between them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pyarrow as pa
import pytest

from millrace.connectors.redis.lookup import RedisReader
from millrace.connectors.redis.slots import SLOTS, slot_of
from millrace.errors import ConfigError, TargetError, TransientError
from millrace.spec.types import column
from tests.connectors.loads import load, people
from tests.connectors.redis.stores import ASSET, publish, reading, rows_of, run_task, target, version
from tests.connectors.redis.test_load_failures import RIGHTS
from tests.servers.redis import RedisCluster, RedisServer

BATCH = people(3000, "note")
COLUMNS = [column("id", "bigint")]


@pytest.fixture
def own_cluster() -> Iterator[RedisCluster]:
    """A cluster whose slots this test may move."""
    with RedisCluster() as cluster:
        yield cluster


def move_half(cluster: RedisCluster, row_keys: list[bytes]) -> None:
    """Give the slots of every other key, none of them there yet, to the last node.

    One taker only: if nodes took from each other in one second, gossip could set their claims against each other.
    """
    for slot in {slot_of(key) for key in row_keys[::2]}:
        cluster.move_slot(slot, 2)


def owner(slot: int) -> int:
    """The node that has a slot when the cluster is new."""
    return slot // -(-SLOTS // 3)


def keys(id_: str) -> list[bytes]:
    return [f"{ASSET}:{id_}:{n}".encode() for n in range(BATCH.num_rows)]


@pytest.mark.parametrize("value", ["protobuf", "hash"])
def test_a_version_is_spread_over_the_nodes_and_comes_back(redis_cluster: RedisCluster, value: str) -> None:
    store = target(redis_cluster.url, value=value)
    store.check(COLUMNS)
    of = publish(store, "v1", BATCH)
    assert run_task(store.probe(of), [BATCH]) == 3000
    assert store.mismatches(of, pa.Table.from_batches([BATCH.slice(0, 50)])) == []
    for node in redis_cluster.nodes:
        with node.client() as client:
            assert client.dbsize() > 500
    assert rows_of(redis_cluster.url, range(3001)) == [*BATCH.to_pylist(), None]


def test_every_step_of_a_versions_life_works(redis_cluster: RedisCluster) -> None:
    store = target(redis_cluster.url)
    first = publish(store, "v1", BATCH)
    publish(store, "v2", BATCH)
    publish(store, "v3", BATCH)
    assert run_task(store.eraser(first), [BATCH]) == 3000
    store.drop(first)
    store.drop(version("v2", BATCH))
    assert sum(node.client().dbsize() for node in redis_cluster.nodes) == 3000 + 2
    store.unpublish(ASSET)
    assert store.current(ASSET) is None


def test_one_node_is_enough_to_find_the_others(redis_cluster: RedisCluster) -> None:
    url = f"redis+cluster://127.0.0.1:{redis_cluster.nodes[1].port}"
    publish(target(url), "v1", BATCH)
    assert rows_of(url, [0, 1, 2]) == BATCH.slice(0, 3).to_pylist()


def test_hash_tags_in_keys_are_followed(redis_cluster: RedisCluster) -> None:
    batch = pa.RecordBatch.from_pydict({"name": ["{a}1", "{a}2", "{}", "{b", "x{a}y{b}"], "n": [1, 2, 3, 4, 5]})
    publish(target(redis_cluster.url, key="{name}"), "v1", batch)
    assert rows_of(redis_cluster.url, batch["name"].to_pylist()) == batch.to_pylist()


def test_a_publish_is_heard_whichever_node_a_reader_listens_to(redis_cluster: RedisCluster) -> None:
    store = target(redis_cluster.url)
    first = publish(store, "v1", people(1, "old"))
    second = publish(store, "v2", people(1, "new"))
    store.publish(first)

    async def use(reader: RedisReader) -> None:
        await asyncio.to_thread(store.publish, second)
        while (await reader.get(0) or {})["note"] != "new":
            await asyncio.sleep(0.001)

    for _ in range(5):  # a reader listens to a node chosen by chance
        reading(redis_cluster.url, use, refresh_s=3600)
        store.publish(first)


@pytest.mark.parametrize("value", ["protobuf", "hash"])
def test_a_load_follows_slots_that_have_moved(own_cluster: RedisCluster, value: str) -> None:
    store = target(own_cluster.url, value=value)
    of = version("v1", BATCH)
    store.prepare(of)
    loader = store.loader(of)
    loader.open()
    first = loader.load(BATCH.slice(0, 1))  # the loader knows the topology as it was
    move_half(own_cluster, keys("v1")[1:200])
    second, third = loader.load(BATCH.slice(1)), loader.finish()
    loader.close()
    assert first.rows + second.rows + third.rows == 3000
    assert run_task(store.probe(of), [BATCH]) == 3000


def test_lookups_follow_slots_that_have_moved(own_cluster: RedisCluster) -> None:
    store = target(own_cluster.url)
    publish(store, "v1", people(1, "old"))

    async def use(reader: RedisReader) -> None:
        assert await reader.get(0)
        await asyncio.to_thread(move_half, own_cluster, keys("v2")[:100])
        await asyncio.to_thread(publish, target(own_cluster.url), "v2", BATCH)
        while reader.version != "v2":
            await asyncio.sleep(0.001)
        assert await reader.get(2) == BATCH.slice(2, 1).to_pylist()[0]
        assert await reader.multi_get(range(3000)) == BATCH.to_pylist()

    reading(own_cluster.url, use)


@pytest.mark.parametrize("value", ["protobuf", "hash"])
def test_rows_are_written_to_and_read_from_a_slot_on_its_way(own_cluster: RedisCluster, value: str) -> None:
    slot = slot_of(keys("v1")[5])
    here, there = own_cluster.nodes[owner(slot)], own_cluster.nodes[(owner(slot) + 1) % 3]
    with here.client() as source, there.client() as destination:
        destination.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", source.execute_command("CLUSTER MYID"))
        source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", destination.execute_command("CLUSTER MYID"))
    store = target(own_cluster.url, value=value)
    of = version("v1", BATCH)
    store.prepare(of)
    loaded = load(store, of, [BATCH])
    assert (loaded.rows, loaded.dirty) == (3000, ())
    store.publish(of)
    assert rows_of(own_cluster.url, [5, 6]) == BATCH.slice(5, 2).to_pylist()
    assert reading(own_cluster.url, lambda r: r.get(5)) == BATCH.slice(5, 1).to_pylist()[0]


def test_counting_while_slots_move_is_worth_another_try(own_cluster: RedisCluster) -> None:
    store = target(own_cluster.url)
    of = version("v1", BATCH)
    task = store.probe(of)
    task.open()
    assert task.run(BATCH) == 0
    move_half(own_cluster, keys("v1")[:20])
    with pytest.raises(TransientError, match="moves slots just now"):
        task.run(BATCH)
    assert task.run(BATCH) == 0
    task.close()


def test_a_node_that_dies_ends_the_load_with_a_transient_error(own_cluster: RedisCluster) -> None:
    store = target(f"{own_cluster.url}?timeout=2s")
    of = version("v1", BATCH)
    store.prepare(of)
    loader = store.loader(of)
    loader.open()
    loader.load(BATCH)
    loader.finish()
    own_cluster.nodes[2].kill()
    loader.load(BATCH.slice(0, 0))
    with pytest.raises(TransientError):
        _ = [loader.load(BATCH) for _ in range(20)], loader.finish()
    loader.close()
    with pytest.raises(TransientError):
        load(store, of, [BATCH])


def test_lookups_on_the_living_nodes_go_on_when_one_dies(own_cluster: RedisCluster) -> None:
    for node in own_cluster.nodes:
        with node.client() as client:
            client.config_set("cluster-require-full-coverage", "no")
    publish(target(own_cluster.url), "v1", BATCH)
    pointer_node = owner(slot_of(f"{ASSET}:current".encode()))
    victim = (pointer_node + 1) % 3

    async def use(reader: RedisReader) -> None:
        own_cluster.nodes[victim].kill()
        alive = [n for n, key in enumerate(keys("v1")) if owner(slot_of(key)) != victim][:100]
        dead = next(n for n, key in enumerate(keys("v1")) if owner(slot_of(key)) == victim)
        assert [row["id"] for row in await reader.multi_get(alive) if row] == alive
        with pytest.raises(TransientError):
            await reader.get(dead)
        assert [row["id"] for row in await reader.multi_get(alive) if row] == alive

    reading(own_cluster.url, use, timeout_s=0.5)


def test_a_user_with_just_the_documented_rights_can_do_everything(redis_cluster: RedisCluster) -> None:
    rule = f"ACL SETUSER ana on >pw ~{ASSET}:* &{ASSET}:* {RIGHTS} +cluster|slots +asking"
    for node in redis_cluster.nodes:
        with node.client() as client:
            client.execute_command(*rule.split())
    url = redis_cluster.url.replace("://", "://ana:pw@")
    first = publish(target(url, value="hash"), "v1", BATCH)
    publish(target(url), "v2", BATCH)
    target(url).drop(first)
    assert rows_of(url, [2999]) == BATCH.slice(2999).to_pylist()
    for node in redis_cluster.nodes:
        with node.client() as client:
            client.execute_command("ACL", "DELUSER", "ana")


def test_a_single_server_is_no_cluster(redis_server: RedisServer) -> None:
    url = redis_server.url.replace("redis://", "redis+cluster://")
    with pytest.raises(TargetError, match=r"is not a cluster.*cluster support disabled"):
        target(url).check(COLUMNS)
    with pytest.raises(TargetError, match="cluster support disabled"):
        reading(url, lambda r: r.get(1))


def test_a_cluster_has_one_database(redis_cluster: RedisCluster) -> None:
    with pytest.raises(ConfigError, match="only database 0"):
        target(f"{redis_cluster.url}/1").check(COLUMNS)
