"""The stores that every behaviour of `target.TargetCase` is tried on."""

from __future__ import annotations

import pytest

from millrace.connectors.base import Target
from tests.conformance.target import TargetCase
from tests.connectors.clickhouse import stores as clickhouse_stores
from tests.connectors.redis import stores as redis_stores
from tests.servers.clickhouse import ClickHouseDatabase
from tests.servers.redis import RedisServer


class TestClickHouse(TargetCase):
    @pytest.fixture(autouse=True)
    def _store(self, clickhouse_database: ClickHouseDatabase) -> None:
        self.database = clickhouse_database

    def open(self) -> Target:
        return clickhouse_stores.target(self.database.connection, order_by=("id",))


class TestRedis(TargetCase):
    @pytest.fixture(autouse=True)
    def _store(self, redis_server: RedisServer) -> None:
        self.server = redis_server

    def open(self) -> Target:
        return redis_stores.target(self.server.url)
