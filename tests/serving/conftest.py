"""A published asset on a real Redis, for tests of what serves it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.catalog import Catalog
from millrace.spec.settings import Settings
from tests.servers.redis import RedisServer
from tests.serving.publishing import Publisher, workspace


@pytest.fixture
def served_catalog(tmp_path: Path, redis_server: RedisServer) -> Iterator[tuple[Settings, Catalog]]:
    """An empty catalog, and settings whose connection `online` is the test's Redis."""
    with workspace(tmp_path, redis_server.url) as opened:
        yield opened


@pytest.fixture
def settings(served_catalog: tuple[Settings, Catalog]) -> Settings:
    return served_catalog[0]


@pytest.fixture
def publisher(served_catalog: tuple[Settings, Catalog], redis_server: RedisServer) -> Publisher:
    """Publishes `user_profile` with one KV API of that name."""
    return Publisher(served_catalog[1], redis_server.url)
