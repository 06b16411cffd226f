"""The OpenAPI document: what it says is what the server does, as schemathesis tries it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from millrace.spec.settings import Settings
from tests.connectors.loads import people
from tests.serving.http.running import serving
from tests.serving.publishing import Publisher

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]


def test_the_document_says_what_the_server_does(settings: Settings, publisher: Publisher) -> None:
    publisher.key = "{country}:{id}"
    fields: list[Any] = [
        pa.field("country", pa.string()),
        pa.field("id", pa.int64()),
        pa.field("score", pa.float64()),
        pa.field("tags", pa.list_(pa.string())),
    ]
    rows = [{"country": "de", "id": number, "score": float("nan"), "tags": ["a", None]} for number in range(3)]
    rows = [{**row, "tags": ["a"]} for row in rows]
    publisher.publish(pa.RecordBatch.from_pylist(rows, schema=pa.schema(fields)))
    with serving(settings) as server:
        schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        found: list[Any] = [*schema.get_all_operations()]
        operations = [operation.ok() for operation in found]
        assert {operation.path for operation in operations} >= {
            "/v1/kv/user_profile/{country}/{id}",
            "/v1/kv/user_profile:mget",
            "/livez",
        }
        for operation in operations:
            _try(operation)
        with server.client() as client:
            row = client.get("/v1/kv/user_profile/de/1").json()
            assert row == {"country": "de", "id": 1, "score": "NaN", "tags": ["a"]}


def _try(operation: Any) -> None:
    @hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=operation.as_strategy())
    def attempt(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    attempt()


def test_the_page_needs_nothing_from_elsewhere(settings: Settings, publisher: Publisher) -> None:
    publisher.publish(people(1))
    with serving(settings) as server, server.client() as client:
        page = client.get("/docs")
        about = client.get("/openapi.json").json()
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert about["components"]["schemas"]["user_profile"]["properties"]["id"]["anyOf"][0]["type"] == "integer"
