from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import hiredis
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.connection import PythonRespSerializer

from millrace.connectors.wire import resp
from millrace.connectors.wire.replies import ReplyCounter
from tests.servers.redis import RedisServer

KEYS = st.lists(st.binary(max_size=20), min_size=1, max_size=30)
TTLS = st.one_of(st.none(), st.integers(1, 2**53))


def parsed(commands: resp.Commands) -> list[list[bytes]]:
    reader = hiredis.Reader()
    reader.feed(bytes(commands.data))
    found = []
    while (command := reader.gets()) is not False:
        found.append(command)
    return found


def packed(commands: Sequence[Sequence[bytes]]) -> bytes:
    """What redis-py sends for the same commands."""
    connection: Any = PythonRespSerializer(6000, lambda part: part)
    return b"".join(part for command in commands for part in connection.pack(*command))


@given(KEYS, TTLS, st.data())
def test_set_is_byte_for_byte_what_redis_py_sends(keys: list[bytes], ttl: int | None, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.binary(max_size=300), min_size=len(keys), max_size=len(keys)))
    expiry = [] if ttl is None else [b"PX", b"%d" % ttl]
    expected = [[b"SET", key, value, *expiry] for key, value in zip(keys, values, strict=True)]

    commands = resp.set_commands(pa.array(keys, pa.binary()), pa.array(values, pa.large_binary()), ttl)

    assert bytes(commands.data) == packed(expected)
    assert commands.rows.to_pylist() == [packed([command]) for command in expected]
    assert commands.replies == len(keys)


@given(KEYS, TTLS, st.booleans(), st.data())
def test_hset_leaves_nulls_out(keys: list[bytes], ttl: int | None, clear: bool, data: st.DataObject) -> None:
    cells = st.lists(st.one_of(st.none(), st.binary(max_size=9)), min_size=len(keys), max_size=len(keys))
    columns = data.draw(st.lists(cells, min_size=1, max_size=4))
    names = [f"field{i}" for i in range(len(columns))]

    commands = resp.hset_commands(
        pa.array(keys), names, [pa.array(column, pa.binary()) for column in columns], ttl, clear=clear
    )

    expected: list[list[bytes]] = []
    for row, key in enumerate(keys):
        filled = [(n.encode(), c[row]) for n, c in zip(names, columns, strict=True) if c[row] is not None]
        pairs: list[Any] = [part for pair in filled or [(b"", b"")] for part in pair]
        expected += [[b"UNLINK", key]] * clear
        expected.append([b"HSET", key, *pairs])
        expected += [[b"PEXPIRE", key, b"%d" % (ttl or 0)]] * (ttl is not None)
    assert parsed(commands) == expected
    assert commands.replies == len(expected)
    assert [commands.row_of(reply) for reply in range(len(expected))] == sorted(
        list(range(len(keys))) * commands.replies_per_row
    )


@given(KEYS, st.integers(1, 12))
def test_keys_are_unlinked_and_looked_for_in_groups(keys: list[bytes], size: int) -> None:
    groups = [keys[start : start + size] for start in range(0, len(keys), size)]
    for name in ("UNLINK", "EXISTS"):
        commands = resp.many_keys(name, pa.array(keys), size)
        assert parsed(commands) == [[name.encode(), *group] for group in groups]
        assert commands.replies == len(groups)


@given(st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=30)), max_size=40), st.integers(1, 9))
def test_rows_are_set_in_groups(rows: list[tuple[bytes, bytes]], size: int) -> None:
    keys, values = (pa.array([row[i] for row in rows], pa.binary()) for i in (0, 1))
    commands = resp.mset_commands(keys, values, size)
    groups = [rows[start : start + size] for start in range(0, len(rows), size)]
    assert parsed(commands) == [[b"MSET", *(text for row in group for text in row)] for group in groups]
    assert (commands.replies, len(commands.rows)) == (len(groups), len(rows))


@pytest.mark.parametrize(
    "keys",
    [
        pa.array(["ä", "b"]),
        pa.array(["ä", "b"], pa.large_string()),
        pa.array(["ä", "b"], pa.string_view()),
        pa.array(["x", "ä", "b", None]).slice(1, 2),
        pa.chunked_array([["ä"], [], ["b"]]),
        pa.array(["ä", "b"]).dictionary_encode(),
        pa.chunked_array([pa.array(["ä"]).dictionary_encode(), pa.array(["b"]).dictionary_encode()]),
    ],
    ids=["string", "large", "view", "sliced", "chunked", "dictionary", "chunked dictionary"],
)
def test_keys_may_have_any_arrow_shape(keys: Any) -> None:
    assert parsed(resp.commands([b"GET", keys])) == [[b"GET", "ä".encode()], [b"GET", b"b"]]


def test_the_data_are_unsigned_bytes_and_not_writable() -> None:
    data: Any = resp.commands([b"GET", pa.array([b"\xff"])]).data
    assert (data.format, data.readonly) == ("B", True)
    assert data == b"*2\r\n$3\r\nGET\r\n$1\r\n\xff\r\n"


def test_no_rows_are_no_commands() -> None:
    none = pa.array([], pa.string())
    for commands in (
        resp.set_commands(none, none),
        resp.hset_commands(none, ["a"], [none]),
        resp.many_keys("UNLINK", none),
        resp.mset_commands(none, none, 4),
        resp.commands([b"GET", pa.chunked_array([], pa.binary())]),
    ):
        assert (bytes(commands.data), commands.replies, len(commands.rows)) == (b"", 0, 0)


def test_one_value_of_10_mb_among_65_thousand_rows() -> None:
    rows, place, big = 65_536, 40_000, b"x" * 10_000_000
    values = [b"v"] * rows
    values[place] = big
    commands = resp.set_commands(pa.array([str(row) for row in range(rows)]), pa.array(values, pa.binary()))
    assert commands.rows[place].as_py() == b"*3\r\n$3\r\nSET\r\n$5\r\n40000\r\n$10000000\r\n" + big + b"\r\n"
    assert bytes(commands.data).count(b"*3\r\n") == rows


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: resp.set_commands(pa.array(["a", None]), pa.array(["b", "c"])), "row 1 is null"),
        (lambda: resp.set_commands(pa.array(["a"]), pa.array(["b", "c"])), r"\[1, 2\] rows"),
        (lambda: resp.set_commands(pa.array(["a"]), pa.array(["b"]), 0), "at least 1 ms"),
        (lambda: resp.set_commands(pa.array([1]), pa.array(["b"])), "expected a binary or string column"),
        (lambda: resp.many_keys("EXISTS", pa.array(["a"]), 0), "at least 1"),
        (lambda: resp.many_keys("EXISTS", pa.array(["a"]), 2).row_of(0), "no single row"),
    ],
)
def test_what_can_not_be_sent_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_real_server_takes_the_commands_and_its_errors_point_at_the_rows(redis_server: RedisServer) -> None:
    rows = 5_000
    keys = pa.array([f"k{row}" for row in range(rows)])
    values = pa.array([b"%d" % row for row in range(rows)])
    broken = [17, 18, 4_999]

    assert answers(redis_server, resp.set_commands(keys, values)).failures == []
    taken = pa.array([row for row in range(rows) if row not in broken])
    assert answers(redis_server, resp.many_keys("UNLINK", keys.take(taken), 100)).total == len(taken)
    commands = resp.hset_commands(keys, ["n", "m"], [values, pa.nulls(rows)], 60_000)
    replies = answers(redis_server, commands)

    assert replies.count == commands.replies == 2 * rows
    assert [commands.row_of(failure.index) for failure in replies.failures] == broken
    assert all(failure.text.startswith("WRONGTYPE") for failure in replies.failures)
    assert answers(redis_server, resp.many_keys("EXISTS", keys, 7)).total == rows
    with redis_server.client() as client:
        assert client.hgetall("k4998") == {b"n": b"4998"}
        assert 0 < int(client.pttl("k4998")) <= 60_000


def answers(server: RedisServer, commands: resp.Commands) -> ReplyCounter:
    replies = ReplyCounter()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as link:
        link.sendall(commands.data)
        while replies.count < commands.replies:
            replies.feed(link.recv(1 << 16))
    return replies
