"""A target as a format that any PySpark program writes to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from millrace.connectors.redis.lookup import RedisReader
from millrace.connectors.spark_format import register
from millrace.spec.connection import parse_url
from tests.servers.redis import RedisServer


@pytest.fixture
def options(spark: SparkSession, redis_server: RedisServer) -> dict[str, str]:
    assert "millrace_redis" in register(spark)
    return {"url": redis_server.url, "asset": "people", "key": "{id}"}


def read(redis_server: RedisServer, key: int) -> Any:
    async def ask() -> Any:
        reader = RedisReader(parse_url("store", redis_server.url, "the test"), "people")
        await reader.open()
        try:
            return await reader.get(key)
        finally:
            await reader.close()

    return asyncio.run(ask())


def test_a_frame_is_published_when_every_task_has_committed(
    spark: SparkSession, redis_server: RedisServer, options: dict[str, str]
) -> None:
    frame = spark.range(1000).selectExpr("id", "concat('name ', id) AS name").repartition(3)
    frame.write.format("millrace_redis").options(**options).mode("append").save()
    assert read(redis_server, 42) == {"id": 42, "name": "name 42"}
    assert redis_server.client().dbsize() == 1000 + 2


def test_a_row_that_cannot_be_written_fails_the_write_and_leaves_readers_alone(
    spark: SparkSession, redis_server: RedisServer, options: dict[str, str]
) -> None:
    good = spark.range(10).selectExpr("id", "1 AS try")
    good.write.format("millrace_redis").options(**options).mode("append").save()
    bad = spark.sql("SELECT cast(NULL AS bigint) AS id, 2 AS try UNION ALL SELECT 5, 2")
    with pytest.raises(PySparkException, match="null"):
        bad.write.format("millrace_redis").options(**options).mode("append").save()
    assert read(redis_server, 5) == {"id": 5, "try": 1}
