"""L2 on a real Redis: answers are shared by servers, and a Redis that is away fails nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from millrace.serving.call import Call, Context, Operation
from millrace.serving.kv.api import KvApi
from millrace.serving.local import LocalApis
from millrace.spec.settings import Settings
from tests.connectors.loads import people
from tests.servers.redis import RedisServer
from tests.serving.publishing import Publisher, workspace

T = TypeVar("T")


@pytest.fixture(scope="module")
def shared_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def shared(shared_redis: RedisServer) -> RedisServer:
    shared_redis.client().flushall()
    return shared_redis


@pytest.fixture
def settings(tmp_path: Path, redis_server: RedisServer, shared: RedisServer) -> Iterator[Settings]:
    with workspace(tmp_path, redis_server.url) as (found, catalog):
        connections = tmp_path / "connections.yaml"
        connections.write_text(connections.read_text() + f"shared: {shared.url}\n")
        cache = {
            "ttl": "1h",
            "negative_ttl": "1h",
            "shared": "shared",
            "compression": "zstd_dictionary",
            "compress_above": 32,
        }
        apis = ({"kv": {"name": "users", "cache": cache}},)
        Publisher(catalog, redis_server.url, apis=apis).publish(people(3000, "a few words more " * 4))
        yield found


class Server:
    """One server's API; `asked` counts what it asked its store."""

    def __init__(self, settings: Settings) -> None:
        self.host = LocalApis(settings)
        self.asked = 0

    async def __aenter__(self) -> Server:
        api = await self.host.find("users", "kv")
        assert isinstance(api, KvApi)
        self.api, source = api, api._source

        def counted(ask: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
            async def counting(*arguments: Any) -> T:
                self.asked += 1
                await asyncio.sleep(self.delay_s)
                return await ask(*arguments)

            return counting

        self.delay_s = 0.0
        for name in ("fetch", "fetch_all"):
            setattr(source, name, counted(getattr(source, name)))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.host.close()

    async def get(self, key: Any, *, fresh: bool = False) -> tuple[Any, str]:
        answer = await self.api.call(Call(Operation.GET, key, Context(fresh=fresh)))
        return answer.body.row(), str(answer.origin)

    async def mget(self, *keys: Any) -> tuple[list[Any], str]:
        answer = await self.api.call(Call(Operation.MULTI_GET, list(keys)))
        return answer.body.rows(), str(answer.origin)

    def counted(self, name: str, **labels: str) -> float:
        """A number of `/metrics`."""
        dump = self.host.metrics.dump()
        found = [v for n, pairs, v in dump["counters"] + dump["gauges"] if n == name and labels.items() <= {*pairs}]
        return float(sum(found))


async def settled(server: Server, answers: int) -> None:
    """Wait until so many answers stand in the shared cache."""
    for _ in range(2000):
        if server.counted("cache_shared_answers") >= answers and not server.api.cache._shared._background:  # type: ignore[union-attr]  # it has one
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nothing was shared")


def test_what_one_server_fetched_another_needs_not_fetch(settings: Settings) -> None:
    async def ask() -> None:
        async with Server(settings) as one, Server(settings) as other:
            row, origin = await one.get(7)
            assert (row["name"], origin) == ("person 7", "store")
            assert await one.get(99_999) == (None, "store")
            await settled(one, 2)
            assert await other.get(7) == (row, "l2")
            assert await other.get(99_999) == (None, "l2")
            assert await other.get(7) == (row, "l1")
            assert (one.asked, other.asked) == (2, 0)
            assert other.counted("cache_shared", outcome="hit") == 2

    asyncio.run(ask())


def test_many_keys_are_looked_for_in_all_levels(settings: Settings) -> None:
    async def ask() -> None:
        async with Server(settings) as one, Server(settings) as other:
            rows, origin = await one.mget(1, 2, 99_999)
            assert origin == "store"
            await settled(one, 3)
            assert await other.mget(1, 2, 99_999) == (rows, "l2")
            more, origin = await other.mget(1, 2, 3)
            assert (more[:2], more[2]["name"], origin) == (rows[:2], "person 3", "store")
            assert await other.mget(1, 2, 3) == (more, "l1")
            assert other.asked == 1

    asyncio.run(ask())


def test_a_missing_answer_is_fetched_by_one_server_at_a_time(settings: Settings) -> None:
    async def ask() -> None:
        async with Server(settings) as one, Server(settings) as other:
            one.delay_s = other.delay_s = 0.3
            found = await asyncio.gather(one.get(5), *(other.get(5) for _ in range(20)))
            assert {row["name"] for row, _ in found} == {"person 5"}
            assert one.asked + other.asked == 1

    asyncio.run(ask())


def test_who_fails_to_fetch_lets_another_server_try_at_once(settings: Settings) -> None:
    async def ask() -> None:
        async with Server(settings) as one, Server(settings) as other:
            one.delay_s = 60.0
            leaving = asyncio.ensure_future(one.get(5))
            while not one.asked:
                await asyncio.sleep(0.01)
            leaving.cancel()
            assert (await other.get(5))[0]["name"] == "person 5"

    asyncio.run(ask())


def test_a_shared_cache_that_is_away_fails_nobody(settings: Settings, tmp_path: Path) -> None:
    async def ask(mine: RedisServer) -> None:
        async with Server(settings) as one:
            assert (await one.get(1))[1] == "store"
            mine.pause()
            for key in range(2, 12):
                row, origin = await one.get(key)
                assert (row["name"], origin) == (f"person {key}", "store")
            assert one.counted("breaker_openings", store="shared") >= 1
            mine.resume()
            mine.kill()
            assert (await one.mget(20, 21))[1] == "store"
            assert (await one.get(1))[1] == "l1"
            async with Server(settings) as late:
                assert (await late.get(1))[1] == "store"

    with RedisServer() as mine:
        connections = tmp_path / "connections.yaml"
        kept = [line for line in connections.read_text().splitlines() if not line.startswith("shared:")]
        connections.write_text("\n".join([*kept, f"shared: {mine.url}"]))
        asyncio.run(ask(mine))


def test_a_dictionary_is_trained_behind_and_shared(settings: Settings) -> None:
    async def ask() -> None:
        async with Server(settings) as one, Server(settings) as other:
            assert one.api.cache is not None
            for first in range(0, 1200, 200):
                await one.mget(*range(first, first + 200))
                await settled(one, first + 200)
            packer = one.api.cache._shared.packer  # type: ignore[union-attr]  # it has one
            for _ in range(2000):
                if packer.current:
                    break
                await asyncio.sleep(0.01)
            assert packer.current
            before = packer.saving.kept_bytes
            await one.get(2500)
            await settled(one, 1201)
            assert packer.saving.kept_bytes - before < 60, "a row of 100 bytes and more"
            row, origin = await other.get(2500)
            assert (row["name"], origin) == ("person 2500", "l2")
            async with Server(settings) as late:
                assert late.api.cache._shared.packer.current == packer.current  # type: ignore[union-attr]  # it has one

    asyncio.run(ask())


def test_foreign_bytes_in_the_shared_redis_are_a_miss(settings: Settings, shared: RedisServer) -> None:
    async def ask() -> None:
        async with Server(settings) as one, Server(settings) as other:
            await one.get(7)
            await settled(one, 1)
            client = shared.client()
            for key in client.keys("millrace:cache:*"):
                client.set(key, b"p" + b"\xff" * 40)
            row, origin = await other.get(7)
            assert (row["name"], origin) == ("person 7", "store")

    asyncio.run(ask())
