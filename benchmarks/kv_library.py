"""The library's KV reads in one process on one core, against what one would write by hand.

    python -m benchmarks.kv_library [--rows 100000]

`.get`: concurrent gets, decoded to rows, against redis-py's asyncio client, which gives bytes. `.l1`: hits of the cache
against a bare dict's. `.mget`: 100 keys a call, rows as they are stored, against MGET by hiredis on a socket.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Awaitable, Callable
from statistics import median

import hiredis
import redis.asyncio
import uvloop

from benchmarks.harness import pin_to_one_core, print_measure, rows_argument
from benchmarks.pinned import published
from millrace.catalog import Catalog
from millrace.serving import connect_async
from millrace.serving.kv.api import KvApi
from millrace.serving.local import LocalApis
from millrace.serving.plans import kv_plan
from millrace.spec.settings import Settings
from tests.servers.redis import RedisServer

CALLS = 20_000
TASKS = 64
KEYS = 100
ROUNDS = 5


async def rate(one: Callable[[int], Awaitable[object]], rows: int) -> float:
    """Calls a second by 64 tasks at a time, random keys."""
    keys = [random.randrange(rows) for _ in range(CALLS)]

    async def caller(start: int) -> None:
        for key in keys[start::TASKS]:
            await one(key)

    started = time.perf_counter()
    await asyncio.gather(*(caller(start) for start in range(TASKS)))
    return CALLS / (time.perf_counter() - started)


async def measure(settings: Settings, store: RedisServer, version: str, rows: int) -> None:
    client = redis.asyncio.Redis(port=store.port, max_connections=TASKS)
    async with connect_async(settings) as ours:
        kv, kept = await ours.kv("bench"), await ours.kv("kept")
        gets, theirs = [], []
        for _ in range(ROUNDS):
            gets.append(await rate(kv.get, rows))
            theirs.append(await rate(lambda key: client.get(f"bench:{version}:{key}"), rows))
        print_measure("kv_library.get", median(gets), median(theirs), "gets/s")
        await kept.get(1)
        bare = {key: {"id": key} for key in range(rows)}
        hits, plain = [], []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            for _ in range(CALLS * 5):
                await kept.get(1)
            hits.append(CALLS * 5 / (time.perf_counter() - started))
            started = time.perf_counter()
            for _ in range(CALLS * 5):
                bare.get(1)
            plain.append(CALLS * 5 / (time.perf_counter() - started))
        print_measure("kv_library.l1", median(hits), median(plain), "hits/s")
    await client.aclose()
    await measure_many(settings, store, version, rows)


async def measure_many(settings: Settings, store: RedisServer, version: str, rows: int) -> None:
    apis = LocalApis(settings)
    with Catalog.open(settings.catalog_url) as catalog:
        api = KvApi(kv_plan(catalog, "bench"), apis)
    await api.open()
    link = socket.create_connection(("127.0.0.1", store.port))
    reader = hiredis.Reader()

    def by_hand(keys: list[int]) -> object:
        command = ("MGET", *(f"bench:{version}:{key}" for key in keys))
        link.sendall(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub knows one word
        while (reply := reader.gets()) is False:
            reader.feed(link.recv(1 << 16))
        return reply

    found: tuple[list[float], list[float]] = ([], [])
    batches = [[random.randrange(rows) for _ in range(KEYS)] for _ in range(1000)]
    for _ in range(ROUNDS):
        started = time.perf_counter()
        await asyncio.gather(*(_all(api, batches[start::8]) for start in range(8)))
        found[0].append(len(batches) * KEYS / (time.perf_counter() - started))
        started = time.perf_counter()
        for keys in batches:
            by_hand(keys)
        found[1].append(len(batches) * KEYS / (time.perf_counter() - started))
    print_measure("kv_library.mget", median(found[0]), median(found[1]), "keys/s")
    link.close()
    await api.close()


async def _all(api: KvApi, batches: list[list[int]]) -> None:
    for keys in batches:
        await api.multi_get(keys)


def main() -> None:
    rows = rows_argument(__doc__, 100_000)
    apis = ({"kv": {"name": "bench"}}, {"kv": {"name": "kept", "cache": {"ttl": "1h"}}})
    with published(rows, apis) as bench:
        pin_to_one_core()
        uvloop.run(measure(bench.settings, bench.store, bench.version, rows))


if __name__ == "__main__":
    main()
