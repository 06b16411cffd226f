"""A cache of one API: L1, then L2 where there is one, then the store; each key fetched by one caller at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any, Protocol

from millrace.errors import TransientError
from millrace.serving.caches.local import Entry, LocalCache
from millrace.serving.caches.policy import EARLY_SHARE, Policy
from millrace.serving.call import Origin

log = logging.getLogger(__name__)

_SEEN_PER_ENTRY = 4
_SAMPLED = 4  # a full cache looks at one batch of so many for keys that come again
_MANY = 64  # keys of a batch that tells of those to come
_PASSED_BY = 7  # of those, for which a full cache is not looked at after one of which it had too few


class Unkept:
    """What `fetch` returns around an answer that must not be kept under its key: of a version that came meanwhile."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class SharedCache(Protocol):
    """L2: where servers share answers. No call but `open` raises: a failure is a miss, and is counted."""

    async def open(self) -> None:
        """Connect; no error when it is away."""

    async def get(self, key: bytes) -> tuple[Any, float] | None:
        """The value, and the seconds that it is fresh for yet; None: fetch it, then call `put` or `release`."""

    async def get_many(self, keys: Sequence[bytes]) -> Sequence[tuple[Any, float] | None]:
        """The same for each key, without any promise."""

    def put(self, key: bytes, value: Any, fresh_s: float) -> None:
        """Keep a value; nobody waits for it."""

    def release(self, key: bytes) -> None:
        """There is nothing to put after a `get` that gave None."""

    async def close(self) -> None: ...


class Cache:
    """Answers by key (bytes, with the version in them). One event loop's.

    `get` gives a fresh answer, fetched if it must be; or a stale one, where the policy allows it, while one caller
    fetches (`revalidate_s`) or when the store is away (`on_error_s`). "No such key" is a value of None.
    """

    def __init__(self, policy: Policy, shared: SharedCache | None = None) -> None:
        self.policy = policy
        self.local = LocalCache(policy.size)
        self._shared = shared
        self.has_shared = shared is not None
        self._flights: dict[bytes, asyncio.Future[Any] | None] = {}
        self._seen: set[bytes] = set()
        self._batches = 0
        self._passing = 0
        self._background: set[asyncio.Task[Any]] = set()

    def hit(self, key: bytes) -> Entry | None:
        """The entry of a key when it can be used as it is; no refresh is due."""
        entry = self.local.entries.get(key)
        if entry is not None and monotonic() < entry.soft_until:
            entry.used = True
            return entry
        return None

    def claim(self, key: bytes) -> bool:
        """Whether the caller shall fetch this key itself: nothing of it is kept, and nobody else fetches it.

        The quick way around `get`: who has claimed a key must call `settle` or `abandon`.
        """
        if self._shared is not None or key in self._flights or key in self.local.entries:
            return False
        self._flights[key] = None
        return True

    def settle(self, key: bytes, value: Any) -> None:
        """Give a claimed key's answer to those who wait for it, and keep it, unless it is `Unkept`."""
        if type(value) is Unkept:
            value = value.value
        elif len(self.local.entries) < self.local.size or self._came_before(key):
            self.keep(key, value)
        flight = self._flights.pop(key)
        if flight is not None:
            _settle(flight, (value, Origin.STORE))

    def abandon(self, key: bytes, error: BaseException) -> None:
        """A claimed key has no answer: those who wait get the error, or fetch themselves when the caller has left."""
        flight = self._flights.pop(key)
        if flight is None:
            return
        if isinstance(error, Exception):
            _settle(flight, error=error)
        else:
            flight.cancel()

    def is_claimed(self, key: bytes) -> bool:
        """Whether somebody fetches this key."""
        return key in self._flights

    def untouched(self, keys: Sequence[bytes]) -> bool:
        """Whether nothing is kept of any of these keys, and nobody fetches one: then `claim_all` may follow."""
        entries, flights = self.local.entries, self._flights
        return entries.keys().isdisjoint(keys) and (not flights or flights.keys().isdisjoint(keys))

    def claim_all(self, keys: Sequence[bytes]) -> None:
        """`claim` many untouched keys; then `settle_all` or `abandon_all` must follow."""
        self._flights.update(dict.fromkeys(keys))

    def settle_all(self, keys: Sequence[bytes], value_of: Callable[[int], Any], *, keep: bool) -> None:
        """`settle` claimed keys; `value_of` gives a value by its key's place. Without `keep` none of them is kept."""
        flights = self._flights
        for place, key in enumerate(keys):
            flight = flights.pop(key, None)
            if flight is not None:
                _settle(flight, (value_of(place), Origin.STORE))
        if keep and len(self.local.entries) + len(keys) <= self.local.size:
            for place, key in enumerate(keys):
                self.keep(key, value_of(place))
        elif keep and self.looks_for_wanted():
            self.keep_wanted(keys, value_of)

    def abandon_all(self, keys: Sequence[bytes], error: BaseException) -> None:
        """`abandon` claimed keys."""
        for key in keys:
            if key in self._flights:
                self.abandon(key, error)

    def looks_for_wanted(self) -> bool:
        """Whether `keep_wanted` shall be called for a batch of answers.

        What is asked for again and again is so in the batches that a full cache looks at, too.
        """
        self._batches += 1
        return len(self.local.entries) < self.local.size or self._batches % _SAMPLED == 0

    def passed_by(self, keys: Sequence[bytes]) -> bool:
        """Whether a batch of keys shall be fetched without a look at what is kept: see `has_few`."""
        if not self._passing or len(keys) < _MANY:
            return False
        self._passing -= 1
        return True

    def has_few(self, keys: Sequence[bytes]) -> bool:
        """Too few of these keys are kept to spare the store anything. When there is no room for more, and these were
        many, then it will hardly be otherwise with the next ones: True, and those are `passed_by`."""
        if len(keys) < _MANY or len(self.local.entries) < self.local.size:
            return False
        self._passing = _PASSED_BY
        return True

    def keep_wanted(self, keys: Sequence[bytes], value_of: Callable[[int], Any]) -> None:
        """Keep those of many answers whose keys are asked for again and again; `value_of` gives one by its place.

        A key is let in the second time that it comes (a doorkeeper, as in TinyLFU): to keep what comes once costs more
        than it brings. One key alone has to come twice only where it would push out another.
        """
        seen, size = self._seen, self.local.size
        wanted = seen.intersection(keys)
        if len(seen) > _SEEN_PER_ENTRY * size:
            seen.clear()
        seen.update(keys)
        if wanted:
            for place, key in enumerate(keys):
                if key in wanted:
                    self.keep(key, value_of(place))

    def _came_before(self, key: bytes) -> bool:
        seen = self._seen
        if key in seen:
            return True
        if len(seen) > _SEEN_PER_ENTRY * self.local.size:
            seen.clear()
        seen.add(key)
        return False

    async def get(self, key: bytes, fetch: Callable[[], Awaitable[Any]]) -> tuple[Any, Origin]:
        """The answer under a key and where it is from; `fetch` asks the store. Raises what `fetch` raises."""
        entry = self.local.entries.get(key)
        if entry is None:
            return await self._one_flight(key, fetch)
        now = monotonic()
        entry.used = True
        if now < entry.fresh_until:
            if now >= entry.soft_until:
                self._refresh(key, fetch)
            return entry.value, Origin.L1
        if now < entry.fresh_until + self.policy.revalidate_s:
            self._refresh(key, fetch)
            return entry.value, Origin.STALE
        try:
            return await self._one_flight(key, fetch)
        except (TransientError, TimeoutError):
            if monotonic() < entry.fresh_until + self.policy.on_error_s:
                return entry.value, Origin.STALE
            raise

    def keep(self, key: bytes, value: Any, fresh_s: float | None = None) -> None:
        """Keep an answer in L1, for as long as the policy says or for `fresh_s`."""
        fresh_s = self.policy.fresh_s(value) if fresh_s is None else fresh_s
        if fresh_s > 0:
            now = monotonic()
            self.local.put(key, Entry(value, now + fresh_s * (1 - EARLY_SHARE), now + fresh_s))

    async def open(self) -> None:
        """Connect to L2, where there is one; no error when it is away. Raises ConfigError without such a connection."""
        if self._shared is not None:
            await self._shared.open()

    async def get_shared(self, keys: Sequence[bytes]) -> Sequence[tuple[Any, float] | None]:
        """What L2 has of many keys, kept in L1 too; None for each key without L2."""
        if self._shared is None:
            return [None] * len(keys)
        found = await self._shared.get_many(keys)
        for key, kept in zip(keys, found, strict=True):
            if kept is not None:
                self.keep(key, *kept)
        return found

    async def close(self) -> None:
        """End refreshes that are under way, and let go of L2."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self._shared is not None:
            await self._shared.close()

    async def _one_flight(self, key: bytes, fetch: Callable[[], Awaitable[Any]]) -> tuple[Any, Origin]:
        flights = self._flights
        while key in flights:
            flight = flights[key]
            if flight is None:
                flight = flights[key] = asyncio.get_running_loop().create_future()
            try:
                found: tuple[Any, Origin] = await asyncio.shield(flight)
            except asyncio.CancelledError:
                if flight.cancelled():  # who fetched has left: one of those who wait fetches
                    continue
                raise
            return found
        flights[key] = None
        try:
            found = await self._fetch(key, fetch)
        except BaseException as error:
            self.abandon(key, error)
            raise
        _settle(flights.pop(key), found)
        return found

    async def _fetch(self, key: bytes, fetch: Callable[[], Awaitable[Any]]) -> tuple[Any, Origin]:
        shared = self._shared
        if shared is not None:
            kept = await shared.get(key)
            if kept is not None:
                self.keep(key, *kept)
                return kept[0], Origin.L2
        try:
            value = await fetch()
        except BaseException:
            if shared is not None:
                shared.release(key)
            raise
        if type(value) is Unkept:
            if shared is not None:
                shared.release(key)
            return value.value, Origin.STORE
        self.keep_everywhere(key, value)
        return value, Origin.STORE

    def keep_everywhere(self, key: bytes, value: Any) -> None:
        """Keep an answer in L1, and in L2 where there is one."""
        self.keep(key, value)
        if self._shared is not None:
            if (fresh_s := self.policy.fresh_s(value)) > 0:
                self._shared.put(key, value, fresh_s)
            else:
                self._shared.release(key)

    def _refresh(self, key: bytes, fetch: Callable[[], Awaitable[Any]]) -> None:
        """Fetch in the background, unless somebody does already; a failure leaves what there is."""
        if key not in self._flights:
            task = asyncio.get_running_loop().create_task(self._refreshed(key, fetch))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _refreshed(self, key: bytes, fetch: Callable[[], Awaitable[Any]]) -> None:
        try:
            value = await fetch()
        except (TransientError, TimeoutError) as error:
            log.info("a kept answer could not be refreshed: %s", error)
            return
        if type(value) is not Unkept:
            self.keep_everywhere(key, value)


def _settle(flight: asyncio.Future[Any] | None, found: Any = None, error: Exception | None = None) -> None:
    if flight is None or flight.done():
        return
    if error is None:
        flight.set_result(found)
    else:
        flight.set_exception(error)
        flight.exception()  # those who wait for it have it; nobody else needs it
