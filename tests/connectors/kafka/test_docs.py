"""docs/kafka.md says what is so, and its spec runs on a real broker."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from millrace.catalog import Catalog
from millrace.connectors.kafka.endpoint import PARAMS
from millrace.jobs.session import SessionHolder
from tests.jobs.conftest import Workspace, make_settings
from tests.servers.kafka import KafkaServer
from tests.servers.redis import RedisServer

PAGE = (Path(__file__).parents[3] / "docs/kafka.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    found = re.search(rf"^```yaml {name}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group(1)


def test_every_parameter_is_on_the_page() -> None:
    assert set(PARAMS) <= set(re.findall(r"`(\w+)`", PAGE))


@pytest.mark.usefixtures("spark")
def test_the_spec_of_the_page_runs(
    tmp_path: Path, kafka: KafkaServer, redis_server: RedisServer, spark: SparkSession
) -> None:
    topic = kafka.new_topic(2)
    plays = [{"user_id": 1, "song": "a", "at": 1_000}, {"user_id": 2, "song": "b", "at": 2_000}]
    kafka.produce(topic, [json.dumps(play).encode() for play in plays])
    kafka.produce(topic, [b'{"user_id": 1, "song": "c", "at": 3000}', b"[]"], partition=1)
    settings = make_settings(tmp_path, {"events": kafka.url, "redis_online": redis_server.url})
    session = SessionHolder(settings)
    assert session.get().sparkContext is spark.sparkContext
    with Catalog.open(settings.catalog_url) as catalog:
        workspace = Workspace(settings, catalog, session)
        report = workspace.run(block("plays.yaml").replace("topic: plays", f"topic: {topic}"))
        assert report.error is None
        assert report.statistics.source.rows_dirty == 1
        with workspace.stack:
            found = workspace.client().kv("last_play").get(1)
            assert found is not None
            assert (found["song"], found["_partition"], found["_offset"]) == ("c", 1, 0)
