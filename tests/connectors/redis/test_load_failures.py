"""Loads into a Redis that dies, stalls, is full, refuses us, or is none."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import hiredis
import pyarrow as pa
import pytest

from millrace.connectors.base import Version
from millrace.connectors.redis.load import RedisTarget
from millrace.errors import MillraceError, TargetError, TransientError
from millrace.spec.types import column
from tests.connectors.loads import load, people
from tests.connectors.redis.stores import ASSET, publish, rows_of, run_task, target, version
from tests.servers.redis import RedisServer, RedisTlsServer

COLUMNS = [column("id", "bigint")]
RIGHTS = (
    "+ping +client|setname +select +get +mget +set +mset +exists +unlink +del +hset +hget +hgetall +hdel +pexpire"
    " +multi +exec +watch +unwatch +publish +subscribe +scan"
)
BATCH = people(2000, "x" * 1000)
BATCHES = [people(2000, "x" * 1000, start=2000 * n) for n in range(30)]  # more than what fits into socket buffers


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A Redis that this test may kill; a kill loses nothing that it has confirmed."""
    with RedisServer(persistent=True) as server:
        yield server


def prepared(store: RedisTarget) -> Version:
    of = version("v1", BATCH)
    store.prepare(of)
    return of


@pytest.mark.parametrize("batches", [[people(1)], BATCHES])
def test_a_server_that_stops_answering_is_given_up(own_server: RedisServer, batches: list[pa.RecordBatch]) -> None:
    store = target(f"{own_server.url}?timeout=300ms")
    of = prepared(store)
    loader = store.loader(of)
    loader.open()
    own_server.pause()
    with closing(loader), pytest.raises(TransientError, match=r"did not answer within 0\.3s"):
        _ = [loader.load(batch) for batch in batches], loader.finish()
    own_server.resume()


def test_a_full_server_ends_the_load_in_its_own_words() -> None:
    with RedisServer(settings={"maxmemory": "20mb"}) as server:
        store = target(server.url)
        of = prepared(store)
        with pytest.raises(TargetError, match=r"(?s)OOM command not allowed.*maxmemory"):
            load(store, of, BATCHES)


def test_a_replica_is_worth_another_try(redis_server: RedisServer) -> None:
    store = target(redis_server.url)
    of = prepared(store)
    with redis_server.client() as client:
        client.replicaof("127.0.0.1", 1)
        try:
            with pytest.raises(TransientError, match="READONLY"):
                load(store, of, [BATCH])
        finally:
            client.replicaof("NO", "ONE")


def test_a_server_that_still_loads_its_data_is_worth_another_try() -> None:
    settings = {
        "enable-debug-command": "local",
        "key-load-delay": "20000",
        "loading-process-events-interval-bytes": "1024",
    }
    with RedisServer(settings=settings) as server, ThreadPoolExecutor(1) as pool:
        publish(target(server.url), "v1", people(50, "x" * 1000))
        with server.client() as client:
            reloading = pool.submit(lambda: client.execute_command("DEBUG", "RELOAD"))
            problem: MillraceError | None = None
            while problem is None and not reloading.done():
                try:
                    target(server.url).current(ASSET)
                except MillraceError as error:
                    problem = error
            reloading.result()
    assert isinstance(problem, TransientError)
    assert "LOADING" in problem.message


def test_a_missing_password_is_refused(redis_with_password: RedisServer) -> None:
    with pytest.raises(TargetError, match="NOAUTH"):
        prepared(target(f"redis://127.0.0.1:{redis_with_password.port}"))


def test_the_right_password_works(redis_with_password: RedisServer) -> None:
    url = redis_with_password.url.replace("pass/word:with@marks", "pass%2Fword%3Awith%40marks")
    publish(target(url), "v1", people(2))
    assert rows_of(url, [1]) == people(1, start=1).to_pylist()


def test_a_user_with_just_the_documented_rights_can_do_everything(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.execute_command(*f"ACL SETUSER ana on >pw ~{ASSET}:* &{ASSET}:* {RIGHTS}".split())
    url = redis_server.url.replace("redis://", "redis://ana:pw@")
    store = target(url, value="hash", ttl="1h")
    store.check(COLUMNS)
    of = publish(store, "v1", people(10))
    publish(store, "v2", people(10))
    assert rows_of(url, [1]) == people(1, start=1).to_pylist()
    assert run_task(store.eraser(of), [people(5)]) == 5
    target(url, value="hash").drop(of)
    store.unpublish(ASSET)
    with redis_server.client() as client:
        client.execute_command("ACL", "DELUSER", "ana")


def test_a_user_without_the_right_to_write_ends_the_load(redis_server: RedisServer) -> None:
    of = prepared(target(redis_server.url))
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "eve", "on", ">pw", "~*", "&*", "+@all", "-set", "-mset")
    try:
        with pytest.raises(TargetError, match="NOPERM"):
            load(target(redis_server.url.replace("redis://", "redis://eve:pw@")), of, [BATCH])
    finally:
        with redis_server.client() as client:
            client.execute_command("ACL", "DELUSER", "eve")


def test_a_user_who_may_not_set_rows_together_loads_them_one_by_one(redis_server: RedisServer) -> None:
    of = prepared(target(redis_server.url))
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "tom", "on", ">pw", "~*", "&*", "+@all", "-mset")
        try:
            store = target(redis_server.url.replace("redis://", "redis://tom:pw@"))
            loaded = load(store, of, BATCHES)
            assert (loaded.rows, loaded.dirty) == (60_000, ())
            assert run_task(store.probe(of), BATCHES) == 60_000
            assert store.mismatches(of, pa.Table.from_batches([BATCHES[-1]])) == []
        finally:
            client.execute_command("ACL", "DELUSER", "tom")


def test_a_row_that_is_refused_among_others_is_set_aside_by_itself() -> None:
    """By a fake: no row's own text makes a real Redis refuse it, but proxies before one have such limits."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener, ThreadPoolExecutor(1) as pool:
        seen = pool.submit(_answer, listener, b"user_profile:v1:7")
        store = target(f"redis://127.0.0.1:{listener.getsockname()[1]}")
        loaded = load(store, version("v1", BATCH), [people(50)])
        commands = seen.result()
    assert loaded.rows == 49
    assert [(row.origin, row.reason) for row in loaded.dirty] == [("id=7", "the store says 'ERR not this one'")]
    assert commands.count(b"MSET") == 4
    assert commands.count(b"SET") == 16


def _answer(listener: socket.socket, refused: bytes) -> list[bytes]:
    """Take one client's commands, but not those with this key; their names."""
    link, _ = listener.accept()
    reader, names = hiredis.Reader(), []
    with link:
        while data := link.recv(1 << 16):
            reader.feed(data)
            while (command := reader.gets()) is not False:
                names.append(command[0])
                link.sendall(b"-ERR not this one\r\n" if refused in command else b"+OK\r\n")
    return names


def test_a_value_that_the_server_does_not_take_ends_the_load_in_its_words() -> None:
    """It hangs up on what it hasn't read, and its words may be lost with the connection: then a run tries again."""
    with RedisServer(settings={"proto-max-bulk-len": "1mb"}) as server:
        store = target(server.url)
        of = prepared(store)
        problem: MillraceError | None = None
        while problem is None or isinstance(problem, TransientError):
            try:
                load(store, of, [people(1, "x" * 2_000_000), BATCH])
            except MillraceError as error:
                problem = error
        assert isinstance(problem, TargetError)
        assert "Protocol error: invalid bulk length" in problem.message


def test_what_is_no_redis_is_a_clear_error() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener, ThreadPoolExecutor(1) as pool:

        def greet() -> None:
            link, _ = listener.accept()
            with link:
                link.sendall(b"220 mail.example.com ESMTP\r\n")

        greeting = pool.submit(greet)
        with pytest.raises(MillraceError, match=f"127.0.0.1:{listener.getsockname()[1]}"):
            target(f"redis://127.0.0.1:{listener.getsockname()[1]}").check(COLUMNS)
        greeting.result()


def test_a_key_of_another_type_is_overwritten(redis_server: RedisServer) -> None:
    store = target(redis_server.url, value="hash")
    of = prepared(store)
    with redis_server.client() as client:
        client.set(f"{ASSET}:v1:1", "in the way")
    assert load(store, of, [people(3)]).rows == 3
    assert store.mismatches(of, pa.Table.from_batches([people(3)])) == []


class TestTls:
    def test_a_load_and_its_lookups_go_through_tls(self, redis_tls: RedisTlsServer) -> None:
        store = target(redis_tls.url)
        of = version("v1", BATCH)
        store.prepare(of)
        assert load(store, of, BATCHES).rows == 60_000
        assert run_task(store.probe(of), BATCHES) == 60_000
        store.publish(of)
        assert rows_of(redis_tls.url, [59_999]) == BATCHES[-1].slice(1999).to_pylist()

    def test_an_unknown_authority_is_not_trusted(self, redis_tls: RedisTlsServer) -> None:
        with pytest.raises(TargetError, match="certificate that can't be trusted"):
            target(f"rediss://127.0.0.1:{redis_tls.port}").check(COLUMNS)

    def test_insecure_trusts_everyone(self, redis_tls: RedisTlsServer) -> None:
        target(f"rediss://127.0.0.1:{redis_tls.port}?insecure=true").check(COLUMNS)

    def test_speaking_without_tls_to_a_tls_server_fails(self, redis_tls: RedisTlsServer) -> None:
        with pytest.raises(TransientError):
            target(f"redis://127.0.0.1:{redis_tls.port}").check(COLUMNS)

    def test_speaking_tls_to_a_plain_server_fails(self, redis_server: RedisServer) -> None:
        with pytest.raises(TransientError, match=r"(?s)did not answer.*without TLS"):
            target(f"rediss://127.0.0.1:{redis_server.port}?timeout=1s").check(COLUMNS)
