"""Which node of a cluster holds a key."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from millrace.connectors.redis.slots import SLOTS, parse_slots, slot_of, slots_of
from tests.servers.redis import RedisCluster

KEYS = st.lists(st.one_of(st.binary(max_size=40), st.text("ab{}", max_size=12).map(str.encode)), max_size=40)
NASTY = [
    b"",
    b"{",
    b"}",
    b"{}",
    b"{}a",
    b"a{b}c",
    b"a{}{b}",
    b"a{b",
    b"a}b{c}",
    b"{{a}}",
    b"foo{bar}{zap}",
    b"\x00\xff{\n}",
]


def large(keys: list[bytes]) -> pa.LargeBinaryArray:
    return pa.array(keys, pa.large_binary())


@settings(deadline=None)
@given(KEYS)
@example(NASTY)
def test_slots_of_a_column_are_those_of_its_keys(keys: list[bytes]) -> None:
    assert slots_of(large(keys)).tolist() == [slot_of(key) for key in keys]


@settings(deadline=None)
@given(KEYS, st.text("abc:", max_size=10).map(str.encode))
def test_what_all_keys_share_is_computed_once(keys: list[bytes], shared: bytes) -> None:
    whole = [shared + key for key in keys]
    assert slots_of(large(whole), shared).tolist() == [slot_of(key) for key in whole]


@settings(deadline=None)
@given(KEYS, st.integers(0, 10))
def test_a_slice_of_a_column_is_as_good_as_a_column(keys: list[bytes], skip: int) -> None:
    assert slots_of(large(keys)[skip:]).tolist() == [slot_of(key) for key in keys[skip:]]


def test_the_server_agrees(redis_cluster: RedisCluster) -> None:
    with redis_cluster.nodes[0].client() as client:
        assert [client.execute_command("CLUSTER KEYSLOT", key) for key in NASTY] == slots_of(large(NASTY)).tolist()


def test_a_topology_gives_each_slot_its_primary() -> None:
    reply = [
        [0, 8191, [b"10.0.0.1", 6379, b"id"], [b"10.0.0.9", 6379, b"replica"]],
        [8192, 16383, [b"", 6380, b"id"]],
    ]
    topology = parse_slots(reply, ("10.0.0.7", 6379))
    assert topology.nodes == (("10.0.0.1", 6379), ("10.0.0.7", 6380))
    assert topology.owners == (0,) * 8192 + (1,) * 8192


def test_a_slot_without_a_server_is_nobodys() -> None:
    topology = parse_slots([[1, SLOTS - 1, [b"h", 1]]], ("h", 1))
    key = next(key for number in range(10**6) if slot_of(key := b"%d" % number) == 0)
    assert topology.node_of(key) is None
    assert topology.node_of(b"foo") == ("h", 1)


@pytest.mark.parametrize(("key", "slot"), [(b"123456789", 0x31C3), (b"foo{hash_tag}", 2515), (b"bar{hash_tag}", 2515)])
def test_known_slots_of_the_cluster_specification(key: bytes, slot: int) -> None:
    assert slot_of(key) == slot
