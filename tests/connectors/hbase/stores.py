"""What the tests of HBase share: targets with names of their own, versions, batches, loads."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import pyarrow as pa

from millrace.connectors.base import DirtyRow, Field, Loaded, Version
from millrace.connectors.hbase.load import HBaseTarget
from millrace.connectors.hbase.lookup import HBaseReader
from millrace.connectors.hbase.options import HBaseOptions
from millrace.connectors.wire.arrow_types import columns_of
from millrace.spec.connection import Connection, parse_url
from tests.servers.hbase import HBase

T = TypeVar("T")
_numbers = itertools.count(1)


class Store:
    """One asset in one HBase, under a name that no other test uses."""

    def __init__(self, server: HBase, *, bulk: bool = False, url: str = "", **options: Any) -> None:
        self.asset = f"people_{os.getpid()}_{next(_numbers)}"
        self.connection = connection(url or (server.bulk_url if bulk else server.url))
        settings = {"connection": "hbase_test", "table": self.asset, "row_key": "{id}", **options}
        if "families" not in settings:
            settings.setdefault("family", "p")
        self.options = HBaseOptions.model_validate(settings)
        self.target = HBaseTarget(self.options, self.connection)

    def version(self, id_: str, batch: pa.RecordBatch, **changes: Any) -> Version:
        columns = [column for column in columns_of(batch.schema) if column.name != changes.get("deletes")]
        fields = tuple(Field(column, number) for number, column in enumerate(columns, start=1))
        return Version(self.asset, id_, fields, **changes)

    def load(self, of: Version, *batches: pa.RecordBatch) -> Loaded:
        """Prepare, load and seal in this process: every row is confirmed or dirty when it returns."""
        self.target.prepare(of)
        loaded = run_loader(self.target, of, batches)
        self.target.seal(of)
        return loaded

    def publish(self, id_: str, batch: pa.RecordBatch, **changes: Any) -> Version:
        """Load and publish a version of clean rows."""
        of = self.version(id_, batch, **changes)
        loaded = self.load(of, batch)
        assert (loaded.rows, loaded.dirty) == (batch.num_rows, ())
        self.target.publish(of)
        return of

    def read(self, work: Callable[[HBaseReader], Awaitable[T]], **options: Any) -> T:
        """Do something with a reader."""

        async def reading() -> T:
            async with HBaseReader(self.connection, self.asset, **options) as reader:
                return await work(reader)

        return asyncio.run(reading())

    def get(self, *keys: Any) -> list[Any]:
        return self.read(lambda reader: reader.multi_get(keys))


def connection(url: str) -> Connection:
    return parse_url("hbase_test", url, "the test")


def run_loader(target: HBaseTarget, of: Version, batches: Iterable[pa.RecordBatch]) -> Loaded:
    loader = target.loader(of)
    loader.open()
    try:
        parts = [*(loader.load(batch) for batch in batches), loader.finish()]
    finally:
        loader.close()
    dirty: tuple[DirtyRow, ...] = sum((part.dirty for part in parts), ())
    return Loaded(sum(part.rows for part in parts), sum(part.size for part in parts), dirty)


def people(count: int, note: str | None = "", start: int = 0) -> pa.RecordBatch:
    """Rows `id`, `name`, `note`, the last one the same in all of them."""
    ids = range(start, start + count)
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array(ids, pa.int64()),
            "name": pa.array([f"person {id_}" for id_ in ids], pa.string()),
            "note": pa.array([note] * count, pa.string()),
        }
    )
