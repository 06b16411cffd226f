"""A SQL API whose store is silent: the rows of its spec, marked as such whichever way one asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from millrace.serving import connect
from millrace.serving.grpc.schema import message
from millrace.serving.sql.degraded import Fallback
from millrace.serving.views import View
from millrace.spec.shape.apis import ApiEntry
from tests.servers.clickhouse import ClickHouseServer
from tests.serving.grpc.test_grpc import call
from tests.serving.grpc.test_grpc import serving as serving_grpc
from tests.serving.http.running import serving
from tests.serving.sql.conftest import DEFINITION, people
from tests.serving.sql.publishing import SqlPublisher, olap_workspace
from tests.serving.sql.queries import COLUMNS

NOBODY = [{"city": "unknown", "n": 0, "share": 0.5}]
QUERY = {"select": ["city", {"count": "*", "as": "n"}], "group_by": ["city"]}
ONE: dict[str, Any] = DEFINITION["queries"]["one"]  # type: ignore[index]  # it is there
APIS: list[dict[str, Any]] = [
    {
        "sql": {
            "name": "users",
            "limits": {"timeout": "300ms"},
            "queries": {"one": ONE | {"default": []}},
            "default": NOBODY,
        }
    },
    {"union": {"name": "card", "parts": [{"api": "users", "name": "cities", "input": QUERY | {"limit": "{most}"}}]}},
]


@pytest.fixture
def store() -> Iterator[ClickHouseServer]:
    """One to be paused."""
    with ClickHouseServer() as server:
        yield server


def test_the_default_is_given_and_marked_while_the_store_is_silent(tmp_path: Path, store: ClickHouseServer) -> None:
    named = {"query": "one", "parameters": {"id": 1}}
    url = store.clickhouse.new_database().url
    with ExitStack() as stack:
        settings, catalog = stack.enter_context(olap_workspace(tmp_path, url))
        SqlPublisher(catalog, url, "users", COLUMNS, APIS).publish(people(10))
        server = stack.enter_context(serving(settings))
        client = stack.enter_context(server.client())
        channel = stack.enter_context(serving_grpc(settings))
        remote = stack.enter_context(connect(server.url, timeout_s=30))
        stack.callback(store.resume)
        store.pause()
        answer = client.post("/v1/sql/users", json=QUERY)
        assert (answer.status_code, answer.headers["x-millrace-origin"]) == (200, "default")
        body = answer.json()
        assert (body["rows"], body["origin"], body["next"]) == (NOBODY, "default", None)
        assert [column["type"] for column in body["columns"]] == ["string", "bigint", "double"]
        assert client.post("/v1/sql/users", json=named).json()["rows"] == []
        card = client.post("/v1/union/card", json={"most": 5})
        assert (card.headers["x-millrace-origin"], card.json()["origins"]) == ("default", {"cities": "default"})
        assert card.json()["parts"] == {"cities": NOBODY}
        rows = remote.sql("users").query(QUERY)
        assert (rows.rows, rows.origin) == (NOBODY, "default")
        assert remote.union("card")(most=5).origins == {"cities": "default"}
        request = message("QueryRequest")(api="users", query='{"select": ["city"]}')
        assert call(channel, "Sql/Query", "Table", request).origin == "default"


def test_a_default_shows_nobody_what_they_may_not_see() -> None:
    fallback = Fallback({"default": NOBODY}, ["city", "age"])
    table = fallback.table(QUERY, View(("age",)))
    assert table is not None
    assert (table.columns, table.rows) == (["n", "share"], [[0, 0.5]])


def test_rows_of_a_default_have_the_same_columns() -> None:
    with pytest.raises(ValidationError, match="different columns"):
        ApiEntry.model_validate({"sql": {"name": "a", "default": [{"n": 1}, {"m": 1}]}})
