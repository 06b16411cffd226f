"""The library: the same interface in process and through a server, with the same values and the same errors."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from millrace.errors import NotFound, TransientError
from millrace.serving import Client, connect, connect_async
from millrace.spec.settings import Settings
from tests.connectors.loads import people
from tests.servers.process import wait_until
from tests.servers.redis import RedisServer
from tests.serving.http.running import serving
from tests.serving.publishing import Publisher, workspace

AT = datetime.datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=datetime.UTC)
ROW = {
    "country": "de",
    "day": datetime.date(2026, 3, 1),
    "price": Decimal("12.50"),
    "at": AT,
    "raw": b"\x00\xff",
    "tags": ["a", "b"],
    "counts": {"x": 1},
    "nothing": None,
}
FIELDS: list[Any] = [
    pa.field("country", pa.string()),
    pa.field("day", pa.date32()),
    pa.field("price", pa.decimal128(10, 2)),
    pa.field("at", pa.timestamp("us", tz="UTC")),
    pa.field("raw", pa.binary()),
    pa.field("tags", pa.list_(pa.string())),
    pa.field("counts", pa.map_(pa.string(), pa.int32())),
    pa.field("nothing", pa.float64()),
]
SCHEMA = pa.schema(FIELDS)


@contextmanager
def client_of(how: str, settings: Settings) -> Iterator[Client]:
    if how == "in process":
        with connect(settings) as client:
            yield client
    else:
        with serving(settings) as server, connect(server.url) as client:
            yield client


@pytest.fixture(params=["in process", "through a server"])
def how(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("cache", [None, {"ttl": "30s"}], ids=["no cache", "cache"])
def test_rows_have_the_same_values_everywhere(settings: Settings, publisher: Publisher, how: str, cache: Any) -> None:
    publisher.key = "{country}:{day}"
    publisher.apis = ({"kv": {"name": "user_profile", **({"cache": cache} if cache else {})}},)
    version = publisher.publish(pa.RecordBatch.from_pylist([ROW], schema=SCHEMA))
    with client_of(how, settings) as client:
        kv = client.kv("user_profile")
        for _ in range(2):
            row = kv.get("de", ROW["day"])
            assert row == ROW
            assert row is not None
            row["tags"].append("changed by its caller") if cache is None else None
        assert kv.multi_get([("de", "2026-03-01"), ("fr", ROW["day"])]) == [ROW, None]
        assert kv.exists("de", ROW["day"])
        assert not kv.exists("fr", ROW["day"])
        assert kv.version == version.id


def test_errors_are_the_same_everywhere(settings: Settings, publisher: Publisher, how: str) -> None:
    publisher.publish(people(3))
    with client_of(how, settings) as client:
        with pytest.raises(NotFound, match="nothing_like_it"):
            client.kv("nothing_like_it").get(1)
        with pytest.raises(ValueError, match="'abc' is not a bigint"):
            client.kv("user_profile").get("abc")
        assert client.kv("user_profile").get(99) is None


def test_connections_outlive_a_restart_of_the_store(tmp_path: Path, how: str) -> None:
    with RedisServer(persistent=True) as store, workspace(tmp_path, store.url) as (settings, catalog):
        Publisher(catalog, store.url).publish(people(3))
        with client_of(how, settings) as client:
            kv = client.kv("user_profile")
            assert kv.get(1)
            store.kill()
            with pytest.raises(TransientError):
                kv.get(1)
            store.restart()

            def is_back() -> bool:
                try:
                    return kv.get(1) is not None
                except TransientError:
                    return False

            wait_until(is_back, "the store")


def test_many_tasks_share_one_client(settings: Settings, publisher: Publisher) -> None:
    publisher.apis = ({"kv": {"name": "user_profile", "cache": {"ttl": "30s", "size": 50}}},)
    publisher.publish(people(100))

    async def main() -> None:
        async with connect_async(settings) as client:
            kv = await client.kv("user_profile")
            for _ in range(3):
                rows = await asyncio.gather(*(kv.get(number % 100) for number in range(1000)))
                assert [row["id"] for row in rows if row] == [number % 100 for number in range(1000)]

    asyncio.run(main())
