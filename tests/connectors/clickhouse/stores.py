"""What the tests of ClickHouse share: targets on real servers, versions, batches, loads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from millrace.connectors.base import DirtyRow, Field, Loaded, Version
from millrace.connectors.clickhouse.load import ClickHouseTarget
from millrace.connectors.clickhouse.options import ClickHouseOptions
from millrace.connectors.wire.arrow_types import columns_of
from millrace.spec.connection import Connection
from millrace.spec.types import Column

ASSET = "requests"


def target(connection: Connection, **options: Any) -> ClickHouseTarget:
    return ClickHouseTarget(ClickHouseOptions(connection="clickhouse_test", **options), connection)


def version_of(id_: str, columns: Sequence[Column], asset: str = ASSET) -> Version:
    return Version(asset, id_, tuple(Field(column, number) for number, column in enumerate(columns, start=1)))


def version(id_: str, batch: pa.RecordBatch, asset: str = ASSET) -> Version:
    return version_of(id_, columns_of(batch.schema), asset)


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


def load(store: ClickHouseTarget, of: Version, batches: Iterable[pa.RecordBatch]) -> Loaded:
    """One task's load in this process: every row confirmed or dirty when it returns."""
    loader = store.loader(of)
    loader.open()
    try:
        parts = [*(loader.load(batch) for batch in batches), loader.finish()]
    finally:
        loader.close()
    dirty: tuple[DirtyRow, ...] = sum((part.dirty for part in parts), ())
    return Loaded(sum(part.rows for part in parts), sum(part.size for part in parts), dirty)


def load_whole(store: ClickHouseTarget, of: Version, batches: Iterable[pa.RecordBatch]) -> Loaded:
    """Prepare, load in one task, and seal."""
    store.prepare(of)
    loaded = load(store, of, batches)
    store.seal(of)
    return loaded


def publish(store: ClickHouseTarget, id_: str, batch: pa.RecordBatch) -> Version:
    """Prepare, load, seal and publish a version of clean rows."""
    of = version(id_, batch)
    assert load_whole(store, of, [batch]).rows == batch.num_rows
    store.publish(of)
    return of
