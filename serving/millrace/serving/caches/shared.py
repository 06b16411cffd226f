"""L2: a Redis in which all servers share answers. It makes requests quicker, and never fails one.

| key | what stands there |
|---|---|
| `millrace:cache:{api}:{definition}:{key}` | a packed answer (see `packing`) while it is fresh; empty: no such key |
| `millrace:fetch:{api}:{definition}:{key}` | somebody fetches this answer just now; gone after a second at the latest |
| `millrace:dictionary:{api}` | the number of the API's current dictionary |
| `millrace:dictionary:{api}:{number}` | a dictionary's bytes |

The version of the asset is in `{key}`, and a digest of the API as its spec has it before it: neither a publish nor a
changed API needs a purge. Everything is asked through a circuit breaker, and within a short time.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hiredis

from millrace.connectors.redis.client import Client, command
from millrace.connectors.redis.endpoint import endpoint_of
from millrace.errors import MillraceError, TransientError
from millrace.serving.caches.layers import Cache
from millrace.serving.caches.packing import Packer, UnknownDictionary, train
from millrace.serving.caches.policy import Policy
from millrace.serving.caches.values import Codec
from millrace.serving.metrics import Metrics
from millrace.serving.plans import Host
from millrace.serving.stores import StoreBreaker
from millrace.spec.connection import resolve
from millrace.spec.settings import Settings
from millrace.spec.shape.apis import Cache as CacheOptions
from millrace.spec.shape.apis import CacheCompression

log = logging.getLogger(__name__)

TIMEOUT_S = 0.1
_CACHE, _FETCH = b"millrace:cache:", b"millrace:fetch:"
_FETCH_MS = 1000
_MOST_BACKGROUND = 1000
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.002, 0.05
_DICTIONARY_S = 30 * 86_400
_RENEW_S = 3600.0


@dataclass(frozen=True)
class Place:
    """Which answers these are: an API's, as its spec defines it now."""

    api: str
    definition: Mapping[str, Any]

    @property
    def prefix(self) -> bytes:
        digest = hashlib.sha256(json.dumps(self.definition, sort_keys=True, default=str).encode()).hexdigest()[:16]
        return f"{self.api}:{digest}:".encode()


def cache_of(options: CacheOptions | None, place: Place, codec: Codec, host: Host) -> Cache | None:
    """The cache that an API's spec asks for, not open yet."""
    if options is None:
        return None
    policy = Policy.of(options)
    if not policy.shared:
        return Cache(policy)
    breaker = host.breakers.of(policy.shared)
    return Cache(policy, RedisCache(place, policy, codec, host.settings, breaker, host.metrics))


class RedisCache:
    """The answers of one API in one Redis. Belongs to one event loop. See `SharedCache` for the calls."""

    def __init__(
        self, place: Place, policy: Policy, codec: Codec, settings: Settings, breaker: StoreBreaker, metrics: Metrics
    ) -> None:
        self._api, self._prefix = place.api, place.prefix
        self._policy, self._codec, self._settings = policy, codec, settings
        self._breaker, self._metrics = breaker, metrics
        self.packer = Packer(policy.compression, policy.compress_above)
        self._client: Client | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self._renew_at = 0.0
        saving = self.packer.saving
        metrics.gauge("cache_shared_answers", lambda: float(saving.answers), api=self._api)
        metrics.gauge("cache_shared_plain_bytes", lambda: float(saving.plain_bytes), api=self._api)
        metrics.gauge("cache_shared_kept_bytes", lambda: float(saving.kept_bytes), api=self._api)

    async def open(self) -> None:
        """Connect; a Redis that is away is connected to later. Raises what a connection that can't be had raises."""
        connection = resolve(self._policy.shared, file=self._settings.connections_file)
        self._client = Client(await asyncio.to_thread(endpoint_of, connection), TIMEOUT_S)
        try:
            await self._client.open()
            if self.packer.compression is CacheCompression.ZSTD_DICTIONARY:
                await self._find_dictionary()
        except MillraceError as error:
            log.warning("the shared cache of '%s' is away; answers are fetched without it: %s", self._api, error)

    async def close(self) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    async def get(self, key: bytes) -> tuple[Any, float] | None:
        """The value and how long it is fresh yet; None: the caller fetches, then calls `put` or `release`.

        While another server fetches the same answer it is waited for, a second at most.
        """
        whole, fetching, pause_s = _CACHE + self._prefix + key, _FETCH + self._prefix + key, _FIRST_PAUSE_S
        deadline = time.monotonic() + _FETCH_MS / 1000
        while True:
            reply = await self._ask(whole, b"GET", whole)
            if reply is not None:
                found = await self._read(reply)
                if found is not None:
                    self._count("hit")
                return found
            claimed = await self._ask(fetching, b"SET", fetching, b"1", b"NX", b"PX", b"%d" % _FETCH_MS, none=b"")
            if claimed != b"" or time.monotonic() > deadline:
                self._count("miss")
                return None
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def get_many(self, keys: Sequence[bytes]) -> list[tuple[Any, float] | None]:
        """`get` for each key, without waiting for anybody."""
        replies = await self._ask_all(b"GET", [_CACHE + self._prefix + key for key in keys])
        found = [None if reply is None else await self._read(reply) for reply in replies]
        hits = sum(one is not None for one in found)
        self._count("hit", hits)
        self._count("miss", len(found) - hits)
        return found

    def put(self, key: bytes, value: Any, fresh_s: float) -> None:
        """Keep a value; nobody waits for it."""
        if len(self._background) < _MOST_BACKGROUND:
            self._soon(self._put(key, value, fresh_s))

    def release(self, key: bytes) -> None:
        """Nothing comes of a fetch: another server may begin at once."""
        fetching = _FETCH + self._prefix + key
        if len(self._background) < _MOST_BACKGROUND:
            self._soon(self._ask(fetching, b"DEL", fetching))

    async def _put(self, key: bytes, value: Any, fresh_s: float) -> None:
        whole, fetching, milliseconds = _CACHE + self._prefix + key, _FETCH + self._prefix + key, int(fresh_s * 1000)
        milliseconds = max(1, milliseconds)
        content = b"" if value is None else self._codec.pack(value)
        if content is not None and len(content) <= self._policy.largest:
            fresh_until_ms = int(time.time() * 1000) + milliseconds
            data = self.packer.pack(content, fresh_until_ms)
            await self._ask(whole, b"SET", whole, data, b"PX", b"%d" % milliseconds)
        else:
            self._count("unshared")
        await self._ask(fetching, b"DEL", fetching)
        if self.packer.wants_training():
            await self._train()
        elif self.packer.current and time.monotonic() >= self._renew_at:
            await self._renew()

    async def _read(self, data: bytes) -> tuple[Any, float] | None:
        try:
            content, fresh_until_ms = self.packer.unpack(data)
        except UnknownDictionary as unknown:
            if not await self._load_dictionary(unknown.number, current=False):
                return None
            return await self._read(data)
        except (ValueError, MillraceError) as error:
            log.warning("the shared cache of '%s' holds what is no answer: %s", self._api, error)
            return None
        fresh_s = min(fresh_until_ms / 1000 - time.time(), self._policy.fresh_s(content or None))
        if fresh_s <= 0:
            return None
        if not content:
            return None, fresh_s
        try:
            value = self._codec.unpack(content)
        except (ValueError, TypeError) as error:
            log.warning("the shared cache of '%s' holds what is no answer: %s", self._api, error)
            return None
        return None if value is None else (value, fresh_s)

    async def _train(self) -> None:
        """Train a dictionary from this server's answers, unless another one has; compress with it from now on."""
        samples = self.packer.take_samples()
        if await self._find_dictionary():
            return
        trained = await asyncio.to_thread(train, samples)
        if trained is None:
            return
        number, dictionary = trained
        named, kept = self._dictionary_key(), self._dictionary_key(number)
        lasts = b"%d" % _DICTIONARY_S
        if await self._ask(kept, b"SET", kept, dictionary, b"EX", lasts) is None:
            return
        await self._ask(named, b"SET", named, b"%d" % number, b"NX", b"EX", lasts)
        if await self._find_dictionary():
            log.info("the answers of '%s' are compressed with a dictionary of %d bytes", self._api, len(dictionary))

    async def _find_dictionary(self) -> bool:
        """Use the API's current dictionary, if there is one."""
        named = self._dictionary_key()
        number = await self._ask(named, b"GET", named)
        return number is not None and number.isdigit() and await self._load_dictionary(int(number), current=True)

    async def _load_dictionary(self, number: int, *, current: bool) -> bool:
        key = self._dictionary_key(number)
        found = await self._ask(key, b"GET", key)
        if not found:
            return False
        try:
            self.packer.use(number, found, current=current)
        except ValueError as error:
            log.warning("the shared cache of '%s' holds what is no dictionary: %s", self._api, error)
            return False
        return True

    async def _renew(self) -> None:
        """Let the dictionary that is used live on."""
        self._renew_at = time.monotonic() + _RENEW_S
        for key in (self._dictionary_key(), self._dictionary_key(self.packer.current)):
            await self._ask(key, b"EXPIRE", key, b"%d" % _DICTIONARY_S)

    def _dictionary_key(self, number: int | None = None) -> bytes:
        return f"millrace:dictionary:{self._api}{'' if number is None else f':{number}'}".encode()

    async def _ask(self, key: bytes, *words: bytes, none: Any = None) -> Any:
        """The reply to one command; `none` for nil, None for a Redis that is away or refuses."""
        assert self._client is not None
        try:
            started = self._breaker.enter()
            reply = await self._breaker.call(self._client.fetch(key, command(*words)), started)
        except MillraceError as error:
            self._failed(error)
            return None
        return none if reply is None else reply

    async def _ask_all(self, name: bytes, keys: Sequence[bytes]) -> Sequence[Any]:
        assert self._client is not None
        try:
            started = self._breaker.enter()
            replies = await self._breaker.call(self._client.fetch_all(name, keys), started)
        except MillraceError as error:
            self._failed(error)
            return [None] * len(keys)
        return [None if isinstance(reply, hiredis.ReplyError) else reply for reply in replies]

    def _failed(self, error: MillraceError) -> None:
        self._count("failed")
        if not isinstance(error, TransientError):
            log.warning("the shared cache of '%s' refuses: %s", self._api, error)

    def _count(self, outcome: str, amount: int = 1) -> None:
        if amount:
            self._metrics.count("cache_shared", amount, api=self._api, outcome=outcome)

    def _soon(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
