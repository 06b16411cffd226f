"""Druid as a target, on a real one: loads, versions, intervals, roll-up and failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from benchmarks.examples import plays as plays_of_example
from millrace.catalog import Catalog
from millrace.connectors.druid import layout
from millrace.connectors.druid.endpoint import endpoint_of
from millrace.connectors.druid.link import Link
from millrace.connectors.druid.loader import staged
from millrace.connectors.staging import StagingFolder
from millrace.connectors.wire.arrow_types import columns_of
from millrace.errors import CheckFailed, TargetError, TransientError
from millrace.jobs.request import RunRequest
from millrace.jobs.session import SessionHolder
from millrace.jobs.windows import parse_window
from millrace.serving import connect
from millrace.serving.sql import approx_distinct, sum_
from millrace.spec.connection import Connection, parse_url
from millrace.spec.connector import Mode
from tests.connectors.druid.stores import DAY, every_type, new_asset, plays, publish, target, version_of
from tests.connectors.loads import load, load_whole
from tests.jobs.conftest import Workspace, make_settings
from tests.servers.druid import Druid
from tests.servers.kafka import KafkaServer
from tests.servers.process import free_port, wait_until

SPEC = Path(__file__).parents[3] / "specs/play_hours.yaml"


def rows_of(druid: Druid, datasource: str, what: str = "COUNT(*)", where: str = "") -> Any:
    (row,) = druid.sql(f'SELECT {what} AS found FROM "{datasource}" {where}')
    return row["found"]


def test_every_type_comes_back_as_it_was_sent(druid: Druid) -> None:
    store, batch, asset = target(druid.connection, segment_granularity="all"), every_type(), new_asset()
    of = version_of(asset, "v1", columns_of(batch.schema))
    store.check(of.columns)
    assert load_whole(store, of, [batch]).rows == 4
    assert store.count(of) == 4
    assert store.mismatches(of, pa.Table.from_batches([batch])) == []


def test_a_version_is_seen_by_nobody_before_its_publish_and_a_rollback_is_a_flip(druid: Druid) -> None:
    store, asset = target(druid.connection), new_asset()
    first = publish(store, asset, "v1", plays(50))
    second = version_of(asset, "v2", first.columns)
    load_whole(store, second, [plays(80, "new")])
    assert store.current(asset) == "v1"
    assert len(store.mismatches(second, pa.Table.from_batches([plays(30, "old")]))) == 30
    store.publish(second)
    store.publish(second)
    assert store.current(asset) == "v2"
    store.publish(first)
    assert store.current(asset) == "v1"
    with pytest.raises(TargetError, match=r"readers of .* see this version now"):
        store.drop(first)
    store.drop(second)
    store.drop(second)
    wait_until(
        lambda: f"{asset}__v2" not in druid.get("/druid/coordinator/v1/metadata/datasources"), "the segments to be gone"
    )
    with pytest.raises(TargetError, match="nothing, or only a half-loaded datasource"):
        store.publish(second)
    store.unpublish(asset)
    assert store.current(asset) is None


def test_a_load_that_died_while_druid_took_its_rows_in_starts_anew(druid: Druid) -> None:
    store, asset, batch = target(druid.connection), new_asset(), plays(500)
    of = version_of(asset, "v1", columns_of(batch.schema))
    store.prepare(of)
    lost = store.loader(of)
    lost.open()
    lost.load(plays(77))  # killed in its middle: its list is never written
    load(store, of, [plays(400)])
    folder = StagingFolder(endpoint_of(druid.connection).staging, f"{asset}__v1")
    written = staged(folder)
    assert written.rows == 400
    source = layout.input_source(folder.url, written.files)
    link = Link(endpoint_of(druid.connection))
    link.post("testing", "/druid/indexer/v1/task", layout.ingestion(of, f"lost_{asset}", source, written, store.druid))

    again = target(druid.connection)
    assert load_whole(again, of, [batch]).rows == 500
    assert again.count(of) == 500
    assert again.mismatches(of, pa.Table.from_batches([batch])) == []
    assert folder.files() == []
    lost.close()


def test_rows_without_a_time_are_dirty_and_an_empty_version_has_its_columns(druid: Druid) -> None:
    store, asset = target(druid.connection), new_asset()
    batch = plays(3)
    timeless = batch.set_column(0, "at", pa.array([None, batch["at"][1].as_py(), None], batch["at"].type))
    of = version_of(asset, "v1", columns_of(batch.schema))
    loaded = load_whole(store, of, [timeless])
    assert (loaded.rows, [row.reason for row in loaded.dirty]) == (1, ["at is null"] * 2)
    assert store.count(of) == 1
    empty = publish(store, asset, "v2", plays(0))
    assert store.count(empty) == 0
    assert rows_of(druid, f"{asset}__v2", "COUNT(*)", "WHERE seconds > 5 AND user = 'x'") == 0


def test_append_replaces_its_interval_alone_and_again_with_the_same(druid: Druid) -> None:
    store, asset = target(druid.connection), new_asset()
    first = publish(store, asset, "v1", plays(30, day=1), mode=Mode.APPEND, day=1)
    line: dict[str, Any] = {"mode": Mode.APPEND, "rows_id": "v1"}
    second = publish(store, asset, "v2", plays(20, day=2), day=2, **line)
    assert (store.count(first), store.count(second)) == (30, 20)
    for id_, rows in (("v3", 10), ("v4", 10), ("v5", 0)):
        changed = publish(store, asset, id_, plays(rows, id_, day=2), day=2, **line)
        assert store.count(changed) == rows
        assert rows_of(druid, f"{asset}__v1") == 30 + rows
    store.forget(second)
    assert store.current(asset) == "v5"
    for id_ in ("v6", "v7"):
        load_whole(store, version_of(asset, id_, first.columns, day=1, **line), [plays(99, id_)])
        assert rows_of(druid, f"{asset}__v1") == 99, "Druid's own switch comes before anyone could look"
        if id_ == "v6":  # both are refused; of v7, that is not known before the next load
            store.forget(version_of(asset, id_, first.columns, day=1, **line))
            assert store.count(first) == 30

    of = version_of(asset, "v6", first.columns, day=2, **line)
    store.prepare(of)
    load(store, of, [plays(5, day=3)])
    with pytest.raises(TargetError, match="outside of the run's interval"):
        store.seal(of)
    other = target(druid.connection, segment_granularity="month")
    with pytest.raises(TargetError, match="is not where a segment of one month begins"):
        other.prepare(of)
    with pytest.raises(TargetError, match="not one of the versions that this one goes on from"):
        store.prepare(version_of(asset, "v7", first.columns, Mode.APPEND, "v0", 2))


def test_rows_roll_up_into_metrics_and_sketches(druid: Druid) -> None:
    metrics = {
        "plays": {"kind": "count"},
        "seconds": {"kind": "sum", "column": "seconds"},
        "longest": {"kind": "max", "column": "seconds"},
        "users": {"kind": "distinct", "column": "id"},
        "fans": {"kind": "theta", "column": "id"},
        "spread": {"kind": "quantiles", "column": "seconds"},
    }
    store = target(druid.connection, dimensions=["user"], metrics=metrics, query_granularity="hour")
    asset, batch = new_asset(), plays(7200)
    store.check(columns_of(batch.schema))
    of = publish(store, asset, "v1", batch)
    assert store.count(of) == 7200
    assert store.mismatches(of, pa.Table.from_batches([batch.slice(0, 100)])) == []
    assert len(store.mismatches(of, pa.Table.from_batches([plays(60, users=60)]))) > 40
    name = f"{asset}__v1"
    assert rows_of(druid, name) == 2 * 7
    assert rows_of(druid, name, "SUM(plays)") == 7200
    assert rows_of(druid, name, "SUM(seconds)") == sum(n % 100 for n in range(7200))
    assert rows_of(druid, name, "MAX(longest)") == 99
    assert abs(rows_of(druid, name, "APPROX_COUNT_DISTINCT_DS_HLL(users)") - 7200) < 360
    assert abs(rows_of(druid, name, "APPROX_COUNT_DISTINCT_DS_THETA(fans)") - 7200) < 360
    assert abs(rows_of(druid, name, "APPROX_QUANTILE_DS(spread, 0.5)") - 50) < 5


def test_ranges_and_multi_value_dimensions(druid: Druid) -> None:
    asset, batch = new_asset(), plays(300)
    tags = pa.array([["a", "b"], ["b"], [], None] * 75, pa.list_(pa.string()))
    batch = batch.append_column("tags", tags)
    store = target(druid.connection, multi_value=["tags"], partition_by=["user"], rows_per_segment=1000)
    of = publish(store, asset, "v1", batch)
    assert store.mismatches(of, pa.Table.from_batches([batch.slice(0, 100)])) == []
    assert rows_of(druid, f"{asset}__v1", "COUNT(*)", "WHERE tags = 'b'") == 150


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timestamp": "id"}, "timestamp names 'id', but that is a bigint"),
        ({"dimensions": ["nobody"]}, "names the column 'nobody', but there are at, id"),
        ({"partition_by": ["id"]}, "partition_by names 'id', which is not a dimension of strings"),
        ({"multi_value": ["user"]}, "multi_value names 'user', but that is a string"),
        ({"metrics": {"n": {"kind": "sum", "column": "note"}}}, "needs numbers, but 'note' is a string"),
        ({"metrics": {"user": {"kind": "count"}}}, "the metric 'user' has the name of a dimension"),
    ],
)
def test_options_that_do_not_fit_the_columns_are_refused(options: dict[str, Any], message: str) -> None:
    nowhere = parse_url("druid_test", "druid://127.0.0.1:1/?staging=file:///tmp", "the test")
    with pytest.raises(TargetError, match=message):
        target(nowhere, **options).check(columns_of(plays(1).schema))


def test_a_datasource_of_another_asset_is_left_alone(druid: Druid) -> None:
    name = new_asset()
    publish(target(druid.connection, datasource=name), new_asset(), "v1", plays(5))
    other = target(druid.connection, datasource=name)
    with pytest.raises(TargetError, match="is of the asset 'plays_"):
        publish(other, new_asset(), "v2", plays(5))


def test_who_is_away_is_named(druid: Druid) -> None:
    port, there = free_port(), endpoint_of(druid.connection)
    url = f"druid://127.0.0.1:{druid.broker.port}/?coordinator=127.0.0.1:{port}&staging={there.staging}"
    with pytest.raises(TransientError, match=f"its coordinator at http://127.0.0.1:{port} can't be reached"):
        target(parse_url("druid_test", url, "the test")).check(columns_of(plays(1).schema))
    url = f"druid://127.0.0.1:{port}/?coordinator={there.coordinator}&staging={there.staging}"
    with pytest.raises(TransientError, match=f"its router or broker at http://127.0.0.1:{port} can't be reached"):
        target(parse_url("druid_test", url, "the test")).check(columns_of(plays(1).schema))
    with pytest.raises(TargetError, match="passes nothing on to Druid's overlord"):
        target(_broker_alone(druid)).check(columns_of(plays(1).schema))


def test_a_coordinator_that_dies_in_a_load_costs_readers_nothing(druid: Druid) -> None:
    store, asset = target(druid.connection), new_asset()
    first = publish(store, asset, "v1", plays(40))
    second = version_of(asset, "v2", first.columns)
    store.prepare(second)
    load(store, second, [plays(60)])
    druid.coordinator.kill()
    assert rows_of(druid, f"{asset}__v1") == 40
    with pytest.raises(TransientError, match=r"its coordinator at .* can't be reached"):
        store.seal(second)
    druid.restart_coordinator()
    assert store.current(asset) == "v1"
    assert load_whole(store, second, [plays(60)]).rows == 60
    store.publish(second)
    assert store.current(asset) == "v2"


@pytest.mark.usefixtures("spark")
def test_the_example_spec_runs_from_kafka_to_its_api(tmp_path: Path, druid: Druid, kafka: KafkaServer) -> None:
    asset, topic = new_asset(), kafka.new_topic(2)
    text = SPEC.read_text().replace("asset: play_hours", f"asset: {asset}").replace("topic: plays", f"topic: {topic}")
    assert asset in text
    day = parse_window("2026-01-01/2026-01-02")
    start_ms = int(DAY.timestamp() * 1000)
    for partition in range(2):
        messages = list(plays_of_example(partition))[:500]
        kafka.produce(topic, messages, partition, timestamp_ms=start_ms + 1000)
    settings = make_settings(tmp_path, {"events": kafka.url, "druid_main": druid.url})
    session = SessionHolder(settings)
    with Catalog.open(settings.catalog_url) as catalog, connect(settings) as client:
        place = Workspace(settings, catalog, session)
        for _ in range(2):  # the same interval again is the same
            report = place.run(text, RunRequest(day))
            assert report.error is None, report.error
            api = client.sql("play_hours")
            found = api.select("country", sum_("plays"), approx_distinct("user_id")).group_by("country").rows()
            assert sum(row["sum_plays"] for row in found) == 1000
            assert 900 < sum(row["approx_distinct_user_id"] for row in found) <= 1050
        published = catalog.versions.current(asset)
        refused = place.run(text.replace("not_null: [song, at]", "unique: [country]"), RunRequest(day))
        assert isinstance(refused.error, CheckFailed)
        assert catalog.versions.current(asset) == published
        assert api.select(sum_("plays")).rows() == [{"sum_plays": 1000}]


def _broker_alone(druid: Druid) -> Connection:
    staging = endpoint_of(druid.connection).staging
    return parse_url("druid_test", f"druid://127.0.0.1:{druid.broker.port}/?staging={staging}", "the test")
