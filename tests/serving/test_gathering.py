"""Gets by many tasks of the library are asked for together, and yet each has its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from millrace.errors import TransientError
from millrace.serving import connect_async
from millrace.serving.kv.client import AsyncKv
from millrace.spec.settings import Settings
from tests.connectors.loads import people
from tests.servers.redis import RedisServer
from tests.serving.publishing import Publisher, workspace


async def gets(kv: AsyncKv, keys: Sequence[Any]) -> list[Any]:
    """The id of each row, None where there is none, or the kind of error."""
    found = await asyncio.gather(*map(kv.get, keys), return_exceptions=True)
    return [
        row["id"] if isinstance(row, dict) else type(row) if isinstance(row, BaseException) else None for row in found
    ]


def questions(store: RedisServer) -> int:
    stats = store.client().info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in ("get", "mget"))


@pytest.mark.parametrize("cache", [None, {"ttl": "1h"}], ids=["without a cache", "with a cache"])
def test_tasks_that_ask_at_once_are_one_question(
    settings: Settings, publisher: Publisher, redis_server: RedisServer, cache: Any
) -> None:
    publisher.apis = ({"kv": {"name": "user_profile", **({"cache": cache} if cache else {})}},)
    publisher.publish(people(500))

    async def main() -> None:
        async with connect_async(settings) as client:
            kv = await client.kv("user_profile")
            before = questions(redis_server)
            assert await gets(kv, range(500)) == [*range(500)]
            assert questions(redis_server) - before <= 10, "500 tasks' gets were asked for one by one"

    asyncio.run(main())


def test_bad_missing_and_cancelled_ones_spoil_nothing(settings: Settings, publisher: Publisher) -> None:
    publisher.publish(people(40))

    async def main() -> None:
        async with connect_async(settings) as client:
            kv = await client.kv("user_profile")
            assert await gets(kv, [1, "abc", 999, 2, "3", (4, 5), 1]) == [1, ValueError, None, 2, 3, ValueError, 1]
            tasks = [asyncio.create_task(kv.get(key)) for key in range(40)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(one, asyncio.CancelledError) for one in found[::2])
            assert [one["id"] for one in found[1::2] if isinstance(one, dict)] == [*range(1, 40, 2)]

    asyncio.run(main())


@pytest.mark.parametrize("options", [{"value": "hash"}, {"compression": "zstd"}], ids=["an error reply", "bad bytes"])
def test_what_cant_be_read_is_its_own_task_s_error(
    settings: Settings, publisher: Publisher, redis_server: RedisServer, options: dict[str, Any]
) -> None:
    publisher.options = options
    version = publisher.publish(people(30))
    redis_server.client().set(f"user_profile:{version.id}:7", "neither a hash nor zstd")

    async def main() -> list[Any]:
        async with connect_async(settings) as client:
            return await gets(await client.kv("user_profile"), range(30))

    found = asyncio.run(main())
    assert isinstance(found[7], type)
    assert issubclass(found[7], Exception)
    assert [one for key, one in enumerate(found) if key != 7] == [key for key in range(30) if key != 7]


def test_a_flip_meanwhile_is_seen_by_all_of_a_question(settings: Settings, publisher: Publisher) -> None:
    publisher.publish(people(100))

    async def main() -> None:
        async with connect_async(settings) as client:
            kv = await client.kv("user_profile")
            publish = asyncio.create_task(asyncio.to_thread(publisher.publish, people(200)))
            while not publish.done():
                assert await gets(kv, range(100)) == [*range(100)]
            while None in await gets(kv, range(200)):
                await asyncio.sleep(0.01)

    asyncio.run(main())


def test_a_store_that_is_away_fails_all_and_is_found_again(tmp_path: Path) -> None:
    with RedisServer(persistent=True) as store, workspace(tmp_path, store.url) as (settings, catalog):
        Publisher(catalog, store.url).publish(people(30))

        async def main() -> None:
            async with connect_async(settings) as client:
                kv = await client.kv("user_profile")
                assert await gets(kv, range(30)) == [*range(30)]
                store.kill()
                assert set(await gets(kv, range(30))) == {TransientError}
                store.restart()
                async with asyncio.timeout(60):
                    while await gets(kv, range(30)) != [*range(30)]:
                        await asyncio.sleep(0.05)

        asyncio.run(main())
