"""Traces: from a request's own trace through the API to its store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from millrace.serving import tracing
from millrace.spec.settings import Settings
from tests.connectors.loads import people as rows
from tests.servers.clickhouse import ClickHouseDatabase
from tests.serving.http.running import serving
from tests.serving.publishing import Publisher
from tests.serving.sql.conftest import DEFINITION, people
from tests.serving.sql.publishing import SqlPublisher, olap_workspace
from tests.serving.sql.queries import COLUMNS


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.use(None)


def test_a_request_is_traced_to_its_store(
    settings: Settings, publisher: Publisher, spans: InMemorySpanExporter
) -> None:
    publisher.publish(rows(3))
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with serving(settings) as server, server.client() as client:
        headers = {"traceparent": f"00-{trace}-{parent}-01"}
        assert client.get("/v1/kv/user_profile/1", headers=headers).status_code == 200
    store, api = spans.get_finished_spans()
    assert (store.name, api.name) == ("redis get", "kv get")
    assert api.context is not None
    assert api.parent is not None
    assert store.parent is not None
    assert f"{api.context.trace_id:032x}" == f"{store.parent.trace_id:032x}" == trace
    assert f"{api.parent.span_id:016x}" == parent
    assert store.parent.span_id == api.context.span_id


def test_queries_and_streams_are_traced_to_their_store_too(
    tmp_path: Path, clickhouse_database: ClickHouseDatabase, spans: InMemorySpanExporter
) -> None:
    with olap_workspace(tmp_path, clickhouse_database.url) as (settings, catalog):
        SqlPublisher(catalog, clickhouse_database.url, "users", COLUMNS, [{"sql": DEFINITION}]).publish(people(20))
        with serving(settings) as server, server.client() as client:
            assert client.post("/v1/sql/users", json={"select": ["id"], "limit": 3}).status_code == 200
            assert client.post("/v1/sql/users:stream", json={"select": ["id"]}).status_code == 200
    found = {span.name: span for span in spans.get_finished_spans()}
    assert {"clickhouse query", "sql query", "clickhouse stream", "sql stream"} <= found.keys()
    store, api = found["clickhouse query"], found["sql query"]
    assert store.parent is not None
    assert api.context is not None
    assert store.parent.span_id == api.context.span_id
