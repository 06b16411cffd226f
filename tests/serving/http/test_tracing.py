"""Traces: from a request's own trace through the API to its store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from millrace.serving import tracing
from millrace.spec.settings import Settings
from tests.connectors.loads import people
from tests.serving.http.running import serving
from tests.serving.publishing import Publisher


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
    publisher.publish(people(3))
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
