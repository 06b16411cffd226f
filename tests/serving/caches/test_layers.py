"""A cache of one API by its own clock: one fetch for all, early and late refreshes, what is kept when, and how much."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from millrace.errors import TransientError
from millrace.serving.caches import Cache, layers
from millrace.serving.caches.policy import Policy
from millrace.serving.call import Origin

KEY = b"v1:7"
TTL_S = 100.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Store:
    """Answers `value`, when it is let; counts who asks."""

    def __init__(self) -> None:
        self.value: Any = "first"
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()

    async def fetch(self) -> Any:
        self.asked += 1
        await self.open.wait()
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(layers, "monotonic", found)
    return found


async def settled() -> None:
    """Let refreshes in the background come to their end."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.usefixtures("clock")
def test_a_key_that_many_ask_for_is_fetched_once() -> None:
    async def main() -> None:
        cache, store = Cache(Policy(TTL_S, 10)), Store()
        store.open.clear()
        asking = [asyncio.create_task(cache.get(KEY, store.fetch)) for _ in range(50)]
        await settled()
        store.open.set()
        assert await asyncio.gather(*asking) == [("first", Origin.STORE)] * 50
        assert store.asked == 1
        assert await cache.get(KEY, store.fetch) == ("first", Origin.L1)

    asyncio.run(main())


@pytest.mark.usefixtures("clock")
def test_who_fetches_for_others_may_fail_or_leave() -> None:
    async def main() -> None:
        cache, store = Cache(Policy(TTL_S, 10)), Store()
        store.open.clear()
        asking = [asyncio.create_task(cache.get(KEY, store.fetch)) for _ in range(3)]
        await settled()
        asking[0].cancel()
        await settled()
        store.value = TransientError("the store is away")
        store.open.set()
        found = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert [str(one) for one in found[1:]] == ["the store is away"] * 2
        assert store.asked == 2, "one of those who waited fetched in the place of who left"

    asyncio.run(main())


def test_an_answer_is_refreshed_ahead_then_given_stale_then_only_while_the_store_is_away(clock: Clock) -> None:
    async def main() -> None:
        cache, store = Cache(Policy(TTL_S, 10, revalidate_s=10, on_error_s=60)), Store()
        await cache.get(KEY, store.fetch)
        store.value = "second"
        clock.now += 0.95 * TTL_S
        assert await cache.get(KEY, store.fetch) == ("first", Origin.L1)
        await settled()
        assert await cache.get(KEY, store.fetch) == ("second", Origin.L1)

        store.value = "third"
        clock.now += TTL_S + 5
        assert await cache.get(KEY, store.fetch) == ("second", Origin.STALE)
        await settled()
        assert await cache.get(KEY, store.fetch) == ("third", Origin.L1)

        clock.now += TTL_S + 30
        store.value = TransientError("the store is away")
        assert await cache.get(KEY, store.fetch) == ("third", Origin.STALE)
        store.value = "fourth"
        assert await cache.get(KEY, store.fetch) == ("fourth", Origin.STORE)
        clock.now += TTL_S + 61
        store.value = TransientError("the store is away")
        with pytest.raises(TransientError):
            await cache.get(KEY, store.fetch)
        assert store.asked == 6
        await cache.close()

    asyncio.run(main())


@pytest.mark.parametrize(("negative_s", "again"), [(0.0, 2), (5.0, 1)])
def test_that_there_is_no_such_key_is_kept_only_as_long_as_is_said(clock: Clock, negative_s: float, again: int) -> None:
    async def main() -> None:
        cache, store = Cache(Policy(TTL_S, 10, negative_ttl_s=negative_s)), Store()
        store.value = None
        for _ in range(2):
            assert (await cache.get(KEY, store.fetch))[0] is None
        assert store.asked == again
        clock.now += 6
        store.value = "there"
        assert await cache.get(KEY, store.fetch) == ("there", Origin.STORE)

    asyncio.run(main())


@pytest.mark.usefixtures("clock")
def test_no_more_is_kept_than_there_is_room_for_and_what_is_used_stays() -> None:
    async def main() -> None:
        cache, store = Cache(Policy(TTL_S, 10)), Store()
        await cache.get(KEY, store.fetch)
        for number in range(100):
            await cache.get(b"v1:%d" % (number + 100), store.fetch)
            assert (await cache.get(KEY, store.fetch))[1] is Origin.L1
        assert len(cache.local.entries) == 10
        assert cache.local.evicted == 91

    asyncio.run(main())
