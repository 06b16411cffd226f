"""Kafka → ClickHouse through a whole run, on a real broker and chdb's engine.

    python -m benchmarks.kafka_to_clickhouse [--rows 5000000]

`.run`: the whole run after the session's start (plan, stage, load, verify, publish, retire) against a bare Spark read
of the same offsets to nowhere. Messages of 200 bytes, JSON with seven fields, in four partitions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.harness import rows_argument
from benchmarks.kafka import Store, measure
from tests.servers.clickhouse import ClickHouseServer


@contextmanager
def store() -> Iterator[Store]:
    with ClickHouseServer() as server:
        database = server.clickhouse.new_database()
        yield Store(database.url, lambda: None)


if __name__ == "__main__":
    target = "clickhouse: {connection: bench_store, order_by: [id]}"
    measure("kafka_to_clickhouse", rows_argument(__doc__, 1_000_000), store, target)
