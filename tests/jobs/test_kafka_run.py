"""Kafka to Redis in whole runs: offsets advance with publish, and what failed is read again from the same plan."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from millrace.catalog import Catalog
from millrace.cli.lag import lag_words, lags
from millrace.errors import CheckFailed
from millrace.jobs.session import SessionHolder
from tests.connectors.kafka.reads import words
from tests.jobs.conftest import Workspace, make_settings
from tests.servers.kafka import KafkaServer
from tests.servers.redis import RedisServer

SPEC = """
version: 1
asset: words
source:
  kafka:
    connection: events
    topic: {topic}
    schema: {{id: bigint, word: string}}
    metadata: [offset]
    max_messages: 100
transform:
  - where: "id <> 5"
checks:
  - between: {{column: id, min: 0, max: 1000}}
targets:
  - redis: {{connection: store, key: "{{id}}"}}
limits: {{channels: 2, dirty: {{max_rows: 1}}}}
apis:
  - kv: {{name: word}}
"""


@pytest.mark.usefixtures("spark")
def test_offsets_advance_with_publish_alone(
    tmp_path: Path, kafka: KafkaServer, redis_server: RedisServer, spark: SparkSession
) -> None:
    topic = kafka.new_topic(2)
    spec = SPEC.format(topic=topic)
    settings = make_settings(tmp_path, {"events": kafka.url, "store": redis_server.url})
    session = SessionHolder(settings)
    assert session.get().sparkContext is spark.sparkContext
    with Catalog.open(settings.catalog_url) as catalog:
        workspace = Workspace(settings, catalog, session)
        kafka.produce(topic, [*words(1, 9), b"junk"])
        kafka.produce(topic, words(10, 20), partition=1)
        report = workspace.run(spec)
        assert report.error is None
        counted = report.statistics.source
        assert (counted.rows_read, counted.rows_staged, counted.rows_dirty, counted.rows_filtered) == (21, 19, 1, 1)
        (dirty,) = catalog.dirty.list(report.run_id)
        assert (dirty.origin, dirty.raw) == ("partition 0, offset 9", b"junk")
        published = catalog.assets.watermark("words")
        assert published is not None
        assert published["next"] == {"0": 10, "1": 11}

        kafka.produce(topic, [*words(21, 24), *words(2000, 2000)])
        failed = workspace.run(spec)
        assert isinstance(failed.error, CheckFailed)
        assert catalog.assets.watermark("words") == published
        (asset,) = catalog.assets.list()
        lag = lags(catalog, settings, [asset])["words"]
        assert lag == {"behind": 5, "parts": {"0": 5, "1": 0}}
        assert lag_words(lag) == "; 5 messages behind its source"

        again = workspace.run(spec.replace("max: 1000", "max: 9999"))
        assert again.error is None
        assert again.statistics.source.rows_read == 5
        client = workspace.client()
        assert client.kv("word").get(24) == {"id": 24, "word": "word 24", "_offset": 13}
        assert lags(catalog, settings, [asset])["words"]["behind"] == 0
        client.close()
