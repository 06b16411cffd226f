"""Kafka → Redis through a whole run, on a real broker and a real Redis.

    python -m benchmarks.kafka_to_redis [--rows 5000000]

`.run`: the whole run after the session's start (plan, stage, load, verify, publish, retire) against a bare Spark read
of the same offsets to nowhere. Messages of 200 bytes, JSON with seven fields, in four partitions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.harness import rows_argument
from benchmarks.kafka import Store, measure
from tests.servers.redis import RedisServer


@contextmanager
def store() -> Iterator[Store]:
    with RedisServer() as server:
        yield Store(server.url, server.flush)


if __name__ == "__main__":
    measure("kafka_to_redis", rows_argument(__doc__, 1_000_000), store, 'redis: {connection: bench_store, key: "{id}"}')
