"""Lookups while servers restart and stall, and while versions come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import pytest

from millrace.connectors.readers import KeyReader
from millrace.connectors.redis.client import Client
from millrace.connectors.redis.endpoint import endpoint_of
from millrace.connectors.redis.load import RedisTarget
from millrace.connectors.redis.lookup import RedisReader
from millrace.connectors.wire.values import UnreadableValue
from millrace.errors import NotFound, TargetError, TransientError
from tests.connectors.loads import people
from tests.connectors.redis.stores import ASSET, connection, publish, reading, run_task, target
from tests.servers.redis import RedisServer

LONG_S = 3600.0  # a pause that no test waits for


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():
        await asyncio.sleep(0.001)


@contextmanager
def meanwhile(action: Callable[[], None]) -> Iterator[None]:
    """Repeat an action in a thread of its own until the block ends."""
    over, problems = Event(), []

    def repeat() -> None:
        try:
            while not over.is_set():
                action()
        except Exception as problem:
            problems.append(problem)

    thread = Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not problems


def flipping(store: RedisTarget, first: str, second: str) -> Callable[[], None]:
    """An action that publishes one version, then the other, in turn. Their rows have the version as their note."""
    versions = [publish(store, id_, people(200, id_)) for id_ in (first, second)]
    turn = iter(range(10**9))
    return lambda: store.publish(versions[next(turn) % 2])


@pytest.mark.parametrize("value", ["protobuf", "hash"])
def test_get_multi_get_and_exists_agree(redis_server: RedisServer, value: str) -> None:
    publish(target(redis_server.url, value=value), "v1", people(2000, "n"))

    async def use(reader: RedisReader) -> None:
        rows = people(2000, "n").to_pylist()
        assert await reader.get(7) == await reader.get("7") == await reader.get({"id": 7}) == rows[7]
        assert await reader.get(2000) is None
        assert await reader.multi_get(range(2001)) == [*rows, None]
        assert await reader.multi_get([]) == []
        assert [await reader.exists(key) for key in (0, 1999, 2000)] == [True, True, False]

    reading(redis_server.url, use)


def test_many_lookups_at_once_go_out_together(redis_server: RedisServer) -> None:
    publish(target(redis_server.url), "v1", people(1000))

    async def use(reader: RedisReader) -> None:
        found = await asyncio.gather(*(reader.get(n % 1000) for n in range(5000)))
        assert [row["id"] for row in found if row] == [n % 1000 for n in range(5000)]

    reading(redis_server.url, use)


def test_a_row_of_nulls_is_a_row(redis_server: RedisServer) -> None:
    publish(target(redis_server.url, value="protobuf"), "v1", people(1))
    with redis_server.client() as client:
        client.set(f"{ASSET}:v1:9", b"")  # what Protobuf writes for nulls only
    assert reading(redis_server.url, lambda r: r.get(9)) == {"id": None, "name": None, "note": None}


@pytest.mark.parametrize("key", ["x", None, 1.5, (1, 2), {"di": 1}])
def test_a_key_that_does_not_fit_is_the_callers_mistake(redis_server: RedisServer, key: Any) -> None:
    publish(target(redis_server.url), "v1", people(1))
    with pytest.raises(ValueError, match="id"):
        reading(redis_server.url, lambda r: r.get(key))


def test_bytes_that_are_no_row_are_a_clear_error(redis_server: RedisServer) -> None:
    publish(target(redis_server.url, value="json", compression="zstd"), "v1", people(1))
    with redis_server.client() as client:
        client.set(f"{ASSET}:v1:0", b"not zstd")
    with pytest.raises(UnreadableValue):
        reading(redis_server.url, lambda r: r.get(0))


def test_a_key_of_another_type_is_a_clear_error(redis_server: RedisServer) -> None:
    publish(target(redis_server.url, value="json"), "v1", people(1))
    with redis_server.client() as client:
        client.delete(f"{ASSET}:v1:0")
        client.rpush(f"{ASSET}:v1:0", "a list")
    with pytest.raises(TargetError, match="WRONGTYPE"):
        reading(redis_server.url, lambda r: r.get(0))


def test_an_asset_without_a_version_is_not_found_until_it_is_published(redis_server: RedisServer) -> None:
    async def use(reader: RedisReader) -> None:
        for lookup in (reader.get(1), reader.multi_get([1]), reader.exists(1)):
            with pytest.raises(NotFound, match="no published version"):
                await lookup
        await asyncio.to_thread(publish, target(redis_server.url), "v1", people(2, "first"))

        async def published() -> bool:
            try:
                return await reader.get(1) == people(1, "first", start=1).to_pylist()[0]
            except NotFound:
                return False

        await until(published)

    reading(redis_server.url, use, refresh_s=LONG_S)


def test_readers_see_a_move_of_the_pointer_at_once(redis_server: RedisServer) -> None:
    store = target(redis_server.url)
    publish(store, "v1", people(1, "old"))

    async def use(reader: RedisReader) -> None:
        assert (await reader.get(0) or {})["note"] == "old"
        await asyncio.to_thread(publish, store, "v2", people(1, "new"))
        await until(lambda: _note_is(reader, "new"))

    reading(redis_server.url, use, refresh_s=LONG_S)


def test_a_move_that_was_not_heard_of_is_found_by_looking(redis_server: RedisServer) -> None:
    store = target(redis_server.url)
    publish(store, "v1", people(1, "old"))

    async def use(reader: RedisReader) -> None:
        with redis_server.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            pointer = client.get(f"{ASSET}:current").replace(b"v1", b"v2")
            client.mset({f"{ASSET}:v2:0": client.get(f"{ASSET}:v1:0"), f"{ASSET}:current": pointer})
        await until(lambda: _version_is(reader, "v2"))

    reading(redis_server.url, use, refresh_s=0.05)


def test_listening_goes_on_after_the_connection_broke(redis_server: RedisServer) -> None:
    store = target(redis_server.url)
    publish(store, "v1", people(1, "old"))

    async def use(reader: RedisReader) -> None:
        with redis_server.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            while not client.pubsub_numsub(f"{ASSET}:current")[0][1]:
                await asyncio.sleep(0.01)
        await asyncio.to_thread(publish, store, "v2", people(1, "new"))
        await until(lambda: _note_is(reader, "new"))

    reading(redis_server.url, use, refresh_s=LONG_S)


def test_under_a_publisher_in_a_loop_every_answer_is_of_one_version(redis_server: RedisServer) -> None:
    flip = flipping(target(redis_server.url), "v1", "v2")

    async def use(reader: RedisReader) -> set[str]:
        seen = set()
        for n in range(400):
            rows = await reader.multi_get(range(200))
            notes = {row["note"] for row in rows if row}
            assert len(notes) == 1
            assert None not in rows
            seen |= notes
            assert (await reader.get(n % 200) or {})["note"] in ("v1", "v2")
        return seen

    with meanwhile(flip):
        assert reading(redis_server.url, use) == {"v1", "v2"}


def test_under_a_publisher_that_retires_at_once_nothing_is_missing(redis_server: RedisServer) -> None:
    store = target(redis_server.url)
    old = [publish(store, "v0", people(200, "v0"))]
    count = iter(range(1, 10**9))

    def replace() -> None:
        id_ = f"v{next(count)}"
        new = publish(store, id_, people(200, id_))
        eraser = store.eraser(old[0])
        assert eraser is not None
        run_task(eraser, [people(200)])
        store.drop(old[0])
        old[0] = new

    async def use(reader: RedisReader) -> None:
        versions: set[str] = set()
        while len(versions) < 20:
            rows = await reader.multi_get(range(200))
            assert None not in rows
            assert len({row["note"] for row in rows if row}) == 1
            row = await reader.get(17)
            assert row is not None
            assert await reader.exists(3)
            versions.add(row["note"])

    with meanwhile(replace):
        reading(redis_server.url, use, refresh_s=LONG_S)


def test_a_rollback_is_seen_like_any_publish(redis_server: RedisServer) -> None:
    store = target(redis_server.url)
    first = publish(store, "v1", people(1, "good"))
    publish(store, "v2", people(1, "bad"))

    async def use(reader: RedisReader) -> None:
        assert (await reader.get(0) or {})["note"] == "bad"
        await asyncio.to_thread(store.publish, first)
        await until(lambda: _note_is(reader, "good"))

    reading(redis_server.url, use, refresh_s=LONG_S)


def test_an_unpublished_asset_is_not_found(redis_server: RedisServer) -> None:
    store = target(redis_server.url)
    publish(store, "v1", people(1))

    async def use(reader: RedisReader) -> None:
        await asyncio.to_thread(store.unpublish, ASSET)
        await until(lambda: _is_gone(reader))

    reading(redis_server.url, use, refresh_s=LONG_S)


def test_lookups_go_on_when_the_server_has_restarted() -> None:
    with RedisServer(persistent=True) as server:
        publish(target(server.url), "v1", people(10))

        async def use(reader: RedisReader) -> None:
            assert await reader.get(3)
            server.kill()
            waiting = asyncio.gather(*(reader.get(n) for n in range(10)))
            await asyncio.to_thread(server.start)
            assert [row["id"] for row in await waiting if row] == list(range(10))

        reading(server.url, use, timeout_s=30)


def test_lookups_in_flight_when_the_connection_breaks_are_asked_again(redis_server: RedisServer) -> None:
    publish(target(redis_server.url), "v1", people(1000))

    def kill_connections() -> None:
        with redis_server.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    async def use(reader: RedisReader) -> None:
        for _ in range(200):
            many = asyncio.ensure_future(reader.multi_get(range(1000)))
            found = await asyncio.gather(*(reader.get(n) for n in range(50)))
            assert [row["id"] for row in found if row] == list(range(50))
            assert [row["id"] for row in await many if row] == list(range(1000))

    with meanwhile(kill_connections):
        reading(redis_server.url, use, timeout_s=30)


def test_a_stalled_server_fails_lookups_after_the_timeout_and_serves_again_afterwards() -> None:
    with RedisServer() as server:
        publish(target(server.url), "v1", people(10))

        async def use(reader: RedisReader) -> None:
            server.pause()
            results = await asyncio.gather(*(reader.get(n) for n in range(10)), return_exceptions=True)
            assert all(isinstance(result, TransientError) for result in results)
            assert "did not answer within 0.3s" in str(results[0])
            server.resume()

            async def answers() -> bool:
                try:
                    return await reader.get(3) is not None
                except TransientError:
                    return False

            await until(answers)

        reading(server.url, use, timeout_s=0.3)


def test_a_server_that_is_away_fails_lookups_after_the_timeout() -> None:
    with RedisServer() as server:
        publish(target(server.url), "v1", people(10))

        async def use(reader: RedisReader) -> None:
            server.kill()
            with pytest.raises(TransientError, match="can't be reached"):
                await reader.get(3)

        reading(server.url, use, timeout_s=0.3)


def test_opening_without_a_server_says_so() -> None:
    with RedisServer() as server:
        url = server.url
    with pytest.raises(TransientError, match="can't be reached"):
        reading(url, lambda r: r.get(1), timeout_s=0.2)


def test_opening_with_a_wrong_password_fails_at_once(redis_with_password: RedisServer) -> None:
    with pytest.raises(TargetError, match="WRONGPASS"):
        reading(f"redis://:wrong@127.0.0.1:{redis_with_password.port}", lambda r: r.get(1), timeout_s=LONG_S)


def test_a_cancelled_lookup_leaves_the_others_alone(redis_server: RedisServer) -> None:
    publish(target(redis_server.url), "v1", people(100))

    async def use(reader: RedisReader) -> None:
        lookups = [asyncio.ensure_future(reader.get(n)) for n in range(100)]
        await asyncio.sleep(0)
        for lookup in lookups[::2]:
            lookup.cancel()
        found = await asyncio.gather(*lookups, return_exceptions=True)
        assert [row["id"] for row in found[1::2] if isinstance(row, dict)] == list(range(1, 100, 2))
        assert await reader.get(0)

    reading(redis_server.url, use)


def test_readers_of_several_assets_share_one_client(redis_server: RedisServer) -> None:
    publish(target(redis_server.url), "v1", people(1, "one"))

    async def main() -> None:
        client = Client(endpoint_of(connection(redis_server.url)), timeout_s=5)
        await client.open()
        readers = [RedisReader(connection(redis_server.url), asset, client=client) for asset in (ASSET, "other")]
        for reader in readers:
            await reader.open()
        assert await readers[0].get(0)
        await readers[0].close()
        with pytest.raises(NotFound):
            await readers[1].get(0)
        await readers[1].close()
        await client.close()

    asyncio.run(main())


def test_a_reader_that_can_not_be_opened_leaves_nothing_open(redis_with_password: RedisServer) -> None:
    async def main() -> None:
        reader: KeyReader = RedisReader(connection(f"redis://:wrong@127.0.0.1:{redis_with_password.port}"), ASSET)
        with pytest.raises(TargetError):
            await reader.open()
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)

    asyncio.run(main())


def test_a_reader_closes_what_it_opened(redis_server: RedisServer) -> None:
    publish(target(redis_server.url), "v1", people(1))
    with redis_server.client() as client:
        before = len(client.client_list())
        for _ in range(5):
            reading(redis_server.url, lambda r: r.get(0))
        while len(client.client_list()) > before:
            pass


async def _note_is(reader: RedisReader, note: str) -> bool:
    return (await reader.get(0) or {}).get("note") == note


async def _version_is(reader: RedisReader, version: str) -> bool:
    return reader.version == version


async def _is_gone(reader: RedisReader) -> bool:
    try:
        await reader.get(0)
    except NotFound:
        return True
    return False
