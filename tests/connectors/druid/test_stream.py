"""A topic that a real Druid reads by itself, from a real Kafka: as long as the spec says so, and no longer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from millrace.catalog import Catalog
from millrace.cli.app import app
from millrace.connectors.druid import supervisor
from millrace.connectors.druid.endpoint import endpoint_of
from millrace.connectors.druid.link import Link
from millrace.errors import TargetError
from millrace.jobs.context import Silent
from millrace.jobs.session import SessionHolder
from tests.connectors.druid.stores import new_asset, plays, publish, target
from tests.jobs.conftest import Workspace, make_settings
from tests.servers.druid import Druid
from tests.servers.kafka import KafkaServer
from tests.servers.process import wait_until
from tests.servers.redis import RedisServer

SPEC = """
version: 1
asset: {asset}
source:
  log: {{path: "{path}", format: json, fields: {{at: timestamp, id: bigint, user: string}}}}
targets:
  - druid: {{connection: druid_main, timestamp: at, stream: {{topic: {topic}, brokers: "{brokers}"}}}}
versions: {{keep: 1}}
"""
_MESSAGES_S = 120.0


def messages(first: int, last: int) -> Sequence[bytes]:
    rows = plays(last).slice(first).to_pylist()
    return [json.dumps({**row, "at": row["at"].isoformat()}).encode() for row in rows]


def told(druid: Druid, asset: str) -> Any:
    """What Druid knows of the supervisor of a datasource, None when it runs none."""
    link = Link(endpoint_of(druid.connection))
    found = link.get("testing", f"/druid/indexer/v1/supervisor/{asset}")
    link.close()
    return found


def wait_for_rows(druid: Druid, datasource: str, count: int) -> None:
    def there() -> bool:
        known = druid.sql(f"SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME = '{datasource}'")
        return bool(known) and druid.sql(f'SELECT COUNT(*) AS n FROM "{datasource}"')[0]["n"] == count

    wait_until(there, f"{count} messages in {datasource}", _MESSAGES_S, druid.log_tail, 0.2)


def test_druid_reads_a_topic_as_long_as_the_options_say_so(druid: Druid, kafka: KafkaServer) -> None:
    asset, topic = new_asset(), kafka.new_topic()
    kafka.produce(topic, messages(0, 25))
    stream = {"topic": topic, "brokers": kafka.address, "task_duration": "10m"}
    store, without = target(druid.connection, stream=stream), target(druid.connection)
    of = publish(store, asset, "v1", plays(3))
    submitted = druid.get(f"/druid/indexer/v1/supervisor/{asset}/history")
    store.publish(of)
    assert druid.get(f"/druid/indexer/v1/supervisor/{asset}/history") == submitted, "submitted once"
    wait_for_rows(druid, asset, 25)
    (line,) = store.streams(asset)
    assert line.startswith(f"reads '{topic}' into '{asset}': ")
    assert store.current(asset) == "v1", "a stream has no versions"

    assert (store.stream_name(asset), without.stream_name(asset), without.streams(asset)) == (asset, None, ())
    without.publish(of)
    assert told(druid, asset) is None
    kafka.produce(topic, messages(25, 30))
    store.publish(of)
    wait_for_rows(druid, asset, 30)  # from where it was: Druid has kept the offsets
    store.unpublish(asset)
    assert told(druid, asset) is None
    assert store.end_stream(asset) is None


def test_a_supervisor_of_somebody_else_is_left_alone(druid: Druid, kafka: KafkaServer) -> None:
    asset, name, topic = new_asset(), new_asset(), kafka.new_topic()
    stream = {"topic": topic, "brokers": kafka.address}
    store = target(druid.connection, stream=stream, datasource=name)
    assert store.druid.stream is not None
    theirs = supervisor.spec(asset, name, (), store.druid, store.druid.stream)
    link = Link(endpoint_of(druid.connection))
    link.post("testing", "/druid/indexer/v1/supervisor", {**theirs, "suspended": True, "context": {}})
    assert store.end_stream(asset) is None
    target(druid.connection, datasource=name).unpublish(asset)
    with pytest.raises(TargetError, match="a supervisor that millrace did not make"):
        publish(store, asset, "v1", plays(3))
    assert told(druid, name)["suspended"] is True
    link.post("testing", f"/druid/indexer/v1/supervisor/{name}/terminate", {})
    link.close()


class _Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.usefixtures("spark")
def test_status_tells_of_a_stream_and_it_ends_when_its_target_leaves_the_spec(
    tmp_path: Path, druid: Druid, kafka: KafkaServer, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset, topic = new_asset(), kafka.new_topic()
    kafka.produce(topic, messages(0, 9))
    settings = make_settings(tmp_path, {"druid_main": druid.url, "store": redis_server.url})
    for name in ("MILLRACE_HOME", "MILLRACE_CONNECTIONS"):
        monkeypatch.setenv(name, str(tmp_path if name == "MILLRACE_HOME" else tmp_path / "connections.yaml"))
    with Catalog.open(settings.catalog_url) as catalog:
        place, watched = Workspace(settings, catalog, SessionHolder(settings)), _Notes()
        path = place.write("plays.json", [line.decode() for line in messages(0, 3)])
        text = SPEC.format(asset=asset, path=path, topic=topic, brokers=kafka.address)
        report = place.run(text)
        assert report.error is None, report.error
        wait_for_rows(druid, asset, 9)
        wait_until(lambda: "0 messages behind" in status(asset)["streams"][0], "the lag to be known", _MESSAGES_S)
        (line,) = status(asset)["streams"]
        assert line.startswith(f"druid reads '{topic}' into '{asset}': RUNNING"), line

        start, _, rest = text.partition("  - druid:")
        report = place.run(
            f'{start}  - redis: {{connection: store, key: "{{id}}"}}{rest[rest.index(chr(10)) :]}', observer=watched
        )
        assert report.error is None, report.error
        ended = f"druid: the supervisor that read '{topic}' into '{asset}' is ended; what it has read stays"
        assert watched.notes == [ended]
        assert told(druid, asset) is None
        assert status(asset)["streams"] == []


def status(asset: str) -> Any:
    done = CliRunner().invoke(app, ["status", asset, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)
