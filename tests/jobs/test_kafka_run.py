"""Kafka to Redis in whole runs: offsets advance with publish, and what failed is read again from the same plan."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from millrace.catalog import Catalog
from millrace.cli.inspect_commands import checks, status
from millrace.cli.lag import lag_words, lags
from millrace.cli.output import results
from millrace.cli.workspace import kept_spec
from millrace.errors import CheckFailed
from millrace.jobs import steps
from millrace.jobs.request import RunRequest
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
  - reconcile: {{rows: exact, sum: [id], sample: 100}}
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
        held = {c.result.description: c.result.observed for c in catalog.checks.of_run(report.run_id)}
        assert held["reconcile: {rows: exact}"] == 19, "the plan's offsets, read again and transformed"
        assert held["reconcile: {sum: id}"] == "205"
        assert held["reconcile: {sample: 100}"] == {"rows": 19, "only staged": 0, "only in the source": 0}
        published = catalog.assets.watermark("words")
        assert published is not None
        assert published["next"] == {"0": 10, "1": 11}

        kafka.produce(topic, [*words(21, 24), *words(2000, 2000)])
        failed = workspace.run(spec)
        assert isinstance(failed.error, CheckFailed)
        assert catalog.assets.watermark("words") == published
        (asset,) = catalog.assets.list()
        lag = lags(catalog, settings, {"words": kept_spec(catalog, asset)})["words"]
        assert lag == {"behind": 5, "parts": {"0": 5, "1": 0}}
        assert lag_words(lag) == "; 5 messages behind its source"

        again = workspace.run(spec.replace("max: 1000", "max: 9999"))
        assert again.error is None
        assert again.statistics.source.rows_read == 5
        client = workspace.client()
        assert client.kv("word").get(24) == {"id": 24, "word": "word 24", "_offset": 13}
        assert lags(catalog, settings, {"words": kept_spec(catalog, asset)})["words"]["behind"] == 0
        client.close()


@pytest.mark.usefixtures("spark")
def test_messages_that_are_gone_before_they_are_reconciled_fail_the_check_and_it_says_why(
    kafka: KafkaServer, workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = kafka.new_topic()
    with workspace.settings.connections_file.open("a") as file:
        file.write(f"events: {kafka.url!r}\n")
    kafka.produce(topic, words(1, 10))
    settings, session = workspace.settings, workspace.session
    run_id = steps.begin(workspace.spec(SPEC.format(topic=topic)), settings, RunRequest(key="gone"))
    steps.do_step(run_id, "stage", settings, session=session)
    kafka.delete_records(topic, before=4)
    with pytest.raises(CheckFailed) as refused:
        steps.do_step(run_id, "check", settings, session=session)
    steps.give_up(run_id, refused.value, settings, session=session)
    why = f"reading {topic}: since the run was planned, its partition 0 has lost the offsets 0 to 3"
    assert f"reconcile: {{rows: exact}} — could not be evaluated: {why}" in refused.value.message
    kept = [found.result for found in workspace.catalog.checks.of_run(run_id)]
    assert [(result.passed, why in (result.error or "")) for result in kept] == [(True, False), *[(False, True)] * 3]
    monkeypatch.setenv("MILLRACE_HOME", str(settings.home))
    monkeypatch.setattr(results, "width", 400)
    checks("words")
    assert why in capsys.readouterr().out
    status("words")
    assert why in capsys.readouterr().out
