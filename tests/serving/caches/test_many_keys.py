"""A cache that is full, asked for many keys at a time: what comes again and again gets in, and is then found."""

from __future__ import annotations

import asyncio

from millrace.serving import connect_async
from millrace.serving.caches import Cache, Policy
from millrace.spec.settings import Settings
from tests.connectors.loads import people
from tests.servers.redis import RedisServer
from tests.serving.publishing import Publisher
from tests.serving.test_gathering import questions

KEYS = [b"%d" % number for number in range(64)]


def test_what_has_few_of_many_keys_is_passed_by_for_a_while_when_it_is_full() -> None:
    cache = Cache(Policy(ttl_s=60, size=2))
    assert not cache.has_few(KEYS)
    cache.keep(b"a", 1)
    cache.keep(b"b", 2)
    assert not cache.has_few(KEYS[:3])
    assert not cache.passed_by(KEYS)
    assert cache.has_few(KEYS)
    assert not cache.passed_by(KEYS[:3])
    assert [cache.passed_by(KEYS) for _ in range(9)] == [True] * 7 + [False] * 2


def test_keys_that_come_again_and_again_are_asked_for_no_more(
    settings: Settings, publisher: Publisher, redis_server: RedisServer
) -> None:
    publisher.apis = ({"kv": {"name": "user_profile", "cache": {"ttl": "1h", "size": 100}}},)
    publisher.publish(people(1000))

    async def main() -> None:
        async with connect_async(settings) as client:
            kv = await client.kv("user_profile")
            for start in (*range(0, 1000, 100), *range(0, 1000, 100)):  # full, of what won't come again
                assert len(await kv.multi_get(range(start, start + 100))) == 100
            wanted = range(300, 380)
            for _ in range(60):
                assert [row and row["id"] for row in await kv.multi_get(wanted)] == [*wanted]
            before = questions(redis_server)
            await kv.multi_get(wanted)
            assert questions(redis_server) == before

    asyncio.run(main())
