"""What the tests of Redis share: targets on real servers, versions, batches, loads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import pyarrow as pa

from millrace.connectors.base import Field, Version
from millrace.connectors.redis.load import RedisTarget
from millrace.connectors.redis.lookup import RedisReader
from millrace.connectors.redis.options import RedisOptions
from millrace.connectors.wire.arrow_types import columns_of
from millrace.spec.connection import Connection, parse_url
from tests.connectors.loads import load

ASSET = "user_profile"
T = TypeVar("T")


def connection(url: str) -> Connection:
    return parse_url("redis_test", url, "the test")


def target(url: str, key: str = "{id}", **options: Any) -> RedisTarget:
    return RedisTarget(RedisOptions(connection="redis_test", key=key, **options), connection(url))


def version(id_: str, batch: pa.RecordBatch) -> Version:
    fields = tuple(Field(column, number) for number, column in enumerate(columns_of(batch.schema), start=1))
    return Version(ASSET, id_, fields)


def publish(store: RedisTarget, id_: str, batch: pa.RecordBatch) -> Version:
    """Prepare, load and publish a version of clean rows."""
    of = version(id_, batch)
    store.prepare(of)
    assert load(store, of, [batch]).rows == batch.num_rows
    store.publish(of)
    return of


def run_task(task: Any, batches: Sequence[pa.RecordBatch]) -> int:
    task.open()
    try:
        return sum(task.run(batch) for batch in batches)
    finally:
        task.close()


def reading(url: str, use: Callable[[RedisReader], Awaitable[T]], **settings: Any) -> T:
    """Open a reader of the asset in an event loop of its own, and use it."""

    async def main() -> T:
        async with RedisReader(connection(url), ASSET, **settings) as reader:
            return await use(reader)

    return asyncio.run(main())


def rows_of(url: str, keys: Sequence[Any]) -> list[dict[str, Any] | None]:
    return reading(url, lambda reader: reader.multi_get(keys))
