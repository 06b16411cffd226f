"""A SQL API asked by consumers who may not see all of it: hidden columns and rows can't be got at in any way."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any

import httpx
import pytest

from millrace.catalog.access_model import Consumer, Terms
from millrace.serving.guards.protection import Protection, Rules
from tests.servers.clickhouse import ClickHouseDatabase
from tests.serving.http.running import serving
from tests.serving.sql.conftest import DEFINITION, people
from tests.serving.sql.publishing import SqlPublisher, olap_workspace
from tests.serving.sql.queries import COLUMNS

LONGEST_S = 20.0


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory, clickhouse: Any) -> Iterator[dict[str, httpx.Client]]:
    """Of consumers who may see all, some columns, and some rows; the API has a cache."""
    database: ClickHouseDatabase = clickhouse.new_database()
    terms = {
        "all": Terms(),
        "columns": Terms(columns=("id", "city")),
        "rows": Terms(row_filter={"column": "city", "eq": "oslo"}),
    }
    with olap_workspace(tmp_path_factory.mktemp("views"), database.url) as (settings, catalog):
        apis = [{"sql": {**DEFINITION, "cache": {"ttl": "60s"}}}]
        SqlPublisher(catalog, database.url, "users", COLUMNS, apis).publish(people(300))
        found = {}
        with serving(settings, protection=Protection(Rules(permissions=True))) as running:
            for name, of in terms.items():
                catalog.access.add_consumer(Consumer(name), "olga")
                catalog.access.approve(catalog.access.request(name, "users", of, "", "sam").id, "olga")
                token = catalog.access.issue_token(name, "olga")
                found[name] = running.client(headers={"Authorization": f"Bearer {token}"})
            _wait_for(found["rows"])
            yield found
            for client in found.values():
                client.close()
    database.drop()


def _wait_for(client: httpx.Client) -> None:
    deadline = monotonic() + LONGEST_S
    while client.post("/v1/sql/users", json={"limit": 0}).status_code != 200:
        assert monotonic() < deadline, "the grants did not take effect"
        sleep(0.05)


def ask(client: httpx.Client, tree: Any) -> httpx.Response:
    return client.post("/v1/sql/users", json=tree)


def test_hidden_columns_are_as_if_they_were_not_there(clients: dict[str, httpx.Client]) -> None:
    everything = ask(clients["columns"], {"limit": 3})
    assert [column["name"] for column in everything.json()["columns"]] == ["id", "city"]
    for tree in (
        {"select": ["age"]},
        {"where": {"column": "age", "gt": 3}},
        {"select": ["city", {"max": "age"}], "group_by": ["city"]},
        {"order_by": ["age"]},
        {"where": {"column": "id", "eq": {"column": "age"}}},
    ):
        refused = ask(clients["columns"], tree)
        assert refused.status_code == 400
        assert "unknown column 'age'" in refused.text
    assert (
        ask(clients["columns"], {"query": "by_city", "parameters": {"least": 0, "cities": ["oslo"]}}).status_code != 200
    )


def test_hidden_rows_are_in_no_answer_no_aggregate_and_no_stream(clients: dict[str, httpx.Client]) -> None:
    tree = {"select": ["city", {"count": "*", "as": "n"}], "group_by": ["city"]}
    assert [row["city"] for row in ask(clients["rows"], tree).json()["rows"]] == ["oslo"]
    either = {"where": {"or": [{"column": "city", "ne": "oslo"}, {"column": "city", "null": True}]}, "limit": 10}
    assert ask(clients["rows"], either).json()["rows"] == []
    assert ask(clients["all"], either).json()["rows"] != []
    named = {"query": "by_city", "parameters": {"least": -10, "cities": ["oslo", "bergen"]}}
    assert {row["city"] for row in ask(clients["rows"], named).json()["rows"]} == {"oslo"}
    with clients["rows"].stream(
        "POST", "/v1/sql/users", json={"select": ["city"]}, headers={"Accept": "text/csv"}
    ) as streamed:
        lines = streamed.read().decode().splitlines()[1:]
    assert {line.strip('"') for line in lines if line} == {"oslo"}


def test_a_cached_answer_is_not_shown_to_who_may_see_less(clients: dict[str, httpx.Client]) -> None:
    tree = {"select": [{"count": "*", "as": "n"}]}
    whole = ask(clients["all"], tree).json()["rows"]
    assert whole == [{"n": 300}]
    assert ask(clients["rows"], tree).json()["rows"][0]["n"] < 300
    assert ask(clients["all"], tree).json()["rows"] == whole
