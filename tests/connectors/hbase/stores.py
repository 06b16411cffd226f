"""What the tests of HBase share: targets with names of their own, versions, batches, loads."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pyarrow as pa

from millrace.connectors.base import Field, Loaded, Version
from millrace.connectors.hbase.load import HBaseTarget
from millrace.connectors.hbase.lookup import HBaseReader
from millrace.connectors.hbase.options import HBaseOptions
from millrace.connectors.wire.arrow_types import columns_of
from millrace.spec.connection import Connection, parse_url
from tests.connectors.loads import load_whole
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
        return load_whole(self.target, of, batches)

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
