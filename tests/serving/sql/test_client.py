"""SQL and union APIs through the library, in this process and through a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from millrace.serving import connect, connect_async
from millrace.serving.refusals import UnknownApi
from millrace.serving.sql import avg, col, count, desc, sum_
from millrace.serving.sql.faults import QueryError
from millrace.spec.settings import Settings
from tests.servers.clickhouse import ClickHouse
from tests.serving.http.running import serving
from tests.serving.sql.conftest import DEFINITION, people
from tests.serving.sql.publishing import SqlPublisher, olap_workspace
from tests.serving.sql.queries import COLUMNS

UNION = {
    "name": "card",
    "mode": "series",
    "parts": [
        {"api": "users", "name": "user", "input": {"query": "one", "parameters": {"id": "{id}"}}},
        {"api": "users", "name": "others", "input": {"where": {"column": "id", "in": "{user.id}"}, "select": ["id"]}},
        {"api": "nothing", "required": False, "default": "?", "input": {"limit": 1}},
    ],
}


@pytest.fixture(scope="module")
def settings(clickhouse: ClickHouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    database = clickhouse.new_database()
    folder: Path = tmp_path_factory.mktemp("library")
    with olap_workspace(folder, database.url) as (found, catalog):
        SqlPublisher(catalog, database.url, "users", COLUMNS, [{"sql": DEFINITION}, {"union": UNION}]).publish(
            people(100)
        )
        yield found
    database.drop()


@pytest.fixture(scope="module", params=["in process", "through a server"])
def where(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Settings | str]:
    """What `connect` is given."""
    if request.param == "in process":
        yield settings
        return
    with serving(settings) as server:
        yield server.url


def test_a_query_is_built_and_asked(where: Settings | str) -> None:
    with connect(where) as client:
        users = client.sql("users")
        young = users.where((col("age") < 3) & ~col("city").in_(["oslo"]) | (col("born") == date(1999, 12, 28)))
        groups = young.select("city", count().as_("n"), sum_("amount"), avg("age")).group_by("city")
        rows = groups.having(col("n") >= 1).order_by(desc("n"), "city").limit(3).rows()
        assert len(rows) == 3
        assert isinstance(rows[0]["sum_amount"], Decimal)
        assert [row["n"] for row in rows] == sorted((row["n"] for row in rows), reverse=True)
        narrowed = users.select("id").where(col("id") >= 10).where(col("id") < col("age"))
        assert narrowed.rows() == []


def test_pages_and_batches_have_all_rows(where: Settings | str) -> None:
    with connect(where) as client:
        query = client.sql("users").select("id", "tags")
        pages = list(query.pages(30))
        assert [len(page.rows) for page in pages] == [30, 30, 30, 10]
        assert [row["id"] for page in pages for row in page.rows] == list(range(100))
        assert sum(batch.num_rows for batch in query.batches()) == 100
        for batch in query.batches():  # given up after the first
            assert batch.schema.names == ["id", "tags"]
            break


def test_named_queries_and_unions_are_called_with_python_values(where: Settings | str) -> None:
    with connect(where) as client:
        found = client.sql("users").call("one", id=7)
        assert [row["id"] for row in found.rows] == [7]
        card = client.union("card")(id=7)
        assert card.parts["others"] == [{"id": 7}]
        assert card.parts["nothing"] == "?"
        assert "'nothing'" in card.missing["nothing"]


def test_the_same_for_asyncio(where: Settings | str) -> None:
    async def main() -> list[int]:
        async with connect_async(where) as client:
            users = await client.sql("users")
            found = [row["id"] async for page in users.select("id").pages(60) for row in page.rows]
            count_, card = await asyncio.gather(users.select(count()).rows(), (await client.union("card"))(id=1))
            assert count_ == [{"count": 100}]
            assert card.parts["others"] == [{"id": 1}]
            return found

    assert asyncio.run(main()) == list(range(100))


def test_mistakes_are_told_before_anything_is_asked(settings: Settings) -> None:
    with connect(settings) as client:
        with pytest.raises(UnknownApi, match="did you mean 'users'"):
            client.sql("user")
        with pytest.raises(UnknownApi, match="'users' is a sql API, not a union API"):
            client.union("users")
        with pytest.raises(QueryError, match="did you mean 'city'"):
            client.sql("users").where(col("citi") == "oslo").rows()
        with pytest.raises(TypeError, match="join conditions with"):
            bool(col("age") > 1 and col("age") < 2)
