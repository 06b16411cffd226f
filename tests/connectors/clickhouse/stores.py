"""What the tests of ClickHouse share: targets on real servers, versions, batches, loads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from millrace.connectors.base import Field, Version
from millrace.connectors.clickhouse.load import ClickHouseTarget
from millrace.connectors.clickhouse.options import ClickHouseOptions
from millrace.connectors.wire.arrow_types import columns_of
from millrace.spec.connection import Connection
from millrace.spec.types import Column
from tests.connectors.loads import load_whole

ASSET = "requests"


def target(connection: Connection, **options: Any) -> ClickHouseTarget:
    return ClickHouseTarget(ClickHouseOptions(connection="clickhouse_test", **options), connection)


def version_of(id_: str, columns: Sequence[Column], asset: str = ASSET) -> Version:
    return Version(asset, id_, tuple(Field(column, number) for number, column in enumerate(columns, start=1)))


def version(id_: str, batch: pa.RecordBatch, asset: str = ASSET) -> Version:
    return version_of(id_, columns_of(batch.schema), asset)


def publish(store: ClickHouseTarget, id_: str, batch: pa.RecordBatch) -> Version:
    """Prepare, load, seal and publish a version of clean rows."""
    of = version(id_, batch)
    assert load_whole(store, of, [batch]).rows == batch.num_rows
    store.publish(of)
    return of
