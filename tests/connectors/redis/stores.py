"""What the tests of Redis share: targets on real servers, versions, batches, loads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

import pyarrow as pa

from millrace.connectors.base import DirtyRow, Field, Loaded, Version
from millrace.connectors.redis.load import RedisTarget
from millrace.connectors.redis.lookup import RedisReader
from millrace.connectors.redis.options import RedisOptions
from millrace.connectors.wire.arrow_types import columns_of
from millrace.spec.connection import Connection, parse_url

ASSET = "user_profile"
T = TypeVar("T")


def connection(url: str) -> Connection:
    return parse_url("redis_test", url, "the test")


def target(url: str, key: str = "{id}", **options: Any) -> RedisTarget:
    return RedisTarget(RedisOptions(connection="redis_test", key=key, **options), connection(url))


def version(id_: str, batch: pa.RecordBatch) -> Version:
    fields = tuple(Field(column, number) for number, column in enumerate(columns_of(batch.schema), start=1))
    return Version(ASSET, id_, fields)


def people(count: int, note: str = "", start: int = 0) -> pa.RecordBatch:
    """Rows `id`, `name`, `note`, the last one the same in all of them."""
    ids = range(start, start + count)
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array(ids, pa.int64()),
            "name": pa.array([f"person {id_}" for id_ in ids], pa.string()),
            "note": pa.array([note] * count, pa.string()),
        }
    )


def load(store: RedisTarget, of: Version, batches: Iterable[pa.RecordBatch]) -> Loaded:
    """A whole load in this process: every row confirmed or dirty when it returns."""
    loader = store.loader(of)
    loader.open()
    try:
        parts = [*(loader.load(batch) for batch in batches), loader.finish()]
    finally:
        loader.close()
    dirty: tuple[DirtyRow, ...] = sum((part.dirty for part in parts), ())
    return Loaded(sum(part.rows for part in parts), sum(part.size for part in parts), dirty)


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
