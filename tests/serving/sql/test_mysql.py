"""SQL APIs over a MariaDB table: the same queries, answered as DuckDB answers them; pages, streams, budgets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterator
from typing import Any, TypeVar

import pytest

from millrace.connectors.mysql.query import MysqlReader
from millrace.errors import SourceError, TransientError
from millrace.serving.sql.execute import SqlExecutor
from millrace.serving.sql.rules import SqlRules
from millrace.spec.connection import parse_url
from millrace.spec.types import DataType, Kind
from tests.servers.mariadb import Database
from tests.serving.sql.conftest import KEY, people
from tests.serving.sql.oracle import Oracle
from tests.serving.sql.queries import COLUMNS

T = TypeVar("T")
LISTS = ("tags", "more")
NAMES = [column.name for column in COLUMNS if column.name not in LISTS]
TABLE = """CREATE TABLE users (id bigint PRIMARY KEY, city varchar(20) COLLATE utf8mb4_bin, age int, score double,
  amount decimal(12,2), active tinyint(1), born date, at datetime(6), seen datetime(6), raw varbinary(9), `50%` int)"""
QUERIES: list[dict[str, Any]] = [
    {"select": ["id"], "where": {"column": "city", "eq": "it's"}},
    {"select": ["id"], "where": {"column": "city", "in": ["oslo", "50%", "ø\\"]}},
    {"select": ["id"], "where": {"not": {"column": "raw", "in": [b"\x00\xff", b""]}}},
    {"select": ["id"], "where": {"not": {"column": "city", "in": ["oslo", "nowhere"]}}},
    {"select": ["id"], "where": {"column": "city", "like": "50\\%"}},
    {"select": ["id"], "where": {"not": {"column": "city", "like": "%\\\\"}}},
    {"select": ["id"], "where": {"column": "city", "starts_with": "a_"}},
    {
        "select": ["id", "raw"],
        "where": {"or": [{"column": "raw", "eq": b"\x00\xff"}, {"column": "active", "eq": True}]},
    },
    {"select": ["id", "amount"], "where": {"column": "amount", "between": [-1, 2]}},
    {"select": ["id", "at", "seen", "born"], "where": {"column": "age", "lt": {"column": "score"}}},
    {"select": ["city", {"count": "*", "as": "n"}, {"sum": "age"}, {"max": "amount"}], "group_by": ["city"]},
    {"select": [{"count_distinct": "city"}, {"min": "born"}, {"avg": "age"}, {"count": "active"}]},
    {"select": ["age", {"count": "*", "as": "n"}], "group_by": ["age"], "having": {"column": "n", "gt": 5}},
]


class MysqlStore:
    """The table `users`, and an API over it."""

    def __init__(self, database: Database) -> None:
        self.rows = people(120).select(NAMES)
        database.execute(TABLE)
        records = [(*(row[name] for name in NAMES), None) for row in self.rows.to_pylist()]
        database.insert("users", records)
        self._runner = asyncio.Runner()
        self.reader = MysqlReader(parse_url("shop", database.url, "the test"))
        self.run(self.reader.open())

    def api(self, **options: Any) -> SqlExecutor:
        rules = SqlRules.of({"name": "users"}, [column for column in COLUMNS if column.name in NAMES])
        return SqlExecutor(self.reader, "users", {"connection": "shop", "table": "users", **options}, rules, {}, KEY)

    def run(self, call: Awaitable[T]) -> T:
        async def wait() -> T:
            return await call

        return self._runner.run(wait())

    def close(self) -> None:
        self.run(self.reader.close())
        self._runner.close()


@pytest.fixture
def shop(mariadb_database: Database) -> Iterator[MysqlStore]:
    store = MysqlStore(mariadb_database)
    yield store
    store.close()


def test_answers_are_the_oracles(shop: MysqlStore) -> None:
    oracle, api = Oracle(shop.rows), shop.api()
    for tree in QUERIES:
        assert Counter(shop.run(api.run(tree)).rows) == Counter(oracle.rows(tree)), tree


def test_pages_have_every_row_once(shop: MysqlStore) -> None:
    tree = {"select": ["city", "age"], "order_by": [{"desc": "city"}]}
    found: list[tuple[Any, ...]] = []
    after = None
    while True:
        answer = shop.run(shop.api().run({**tree, "page": {"size": 13, **({"after": after} if after else {})}}))
        found += answer.rows
        after = answer.next
        if after is None:
            break
    assert found == Oracle(shop.rows).rows({**tree, "order_by": [{"desc": "city"}, "age"]})


def test_only_the_rows_of_the_sources_condition_are_seen(shop: MysqlStore) -> None:
    tree = {"select": [{"count": "*"}], "where": {"or": [{"column": "age", "null": True}, {"column": "age", "ge": -9}]}}
    api = shop.api(where="id < 30 AND city LIKE '%s%' OR id = 100")
    expected = [
        c for n, c in enumerate(shop.rows["city"].to_pylist()) if n == 100 or (n < 30 and c and "s" in c.lower())
    ]
    assert shop.run(api.run(tree)).rows == [(len(expected),)]


def test_a_stream_has_all_rows_and_can_be_left(shop: MysqlStore) -> None:
    async def main() -> int:
        whole = await shop.api().stream({"select": ["id", "at"]})
        rows = sum([batch.num_rows async for batch in whole.batches])
        left = await shop.api().stream({})
        await left.aclose()
        again = await shop.api().run({"select": [{"count": "*"}]})
        assert again.rows == [(rows,)]
        return rows

    assert shop.run(main()) == 120


def test_a_statement_that_takes_too_long_is_ended_in_the_server(shop: MysqlStore) -> None:
    slow = "SELECT count(*) FROM users a, users b, users c, users d, users e"
    bigint = [DataType(Kind.BIGINT)]
    with pytest.raises(TransientError, match=r"took longer than 0\.2 s"):
        shop.run(shop.reader.query(slow, types=bigint, timeout_s=0.2))

    async def leave() -> None:
        call = asyncio.ensure_future(shop.reader.query(slow, types=bigint, timeout_s=60))
        await asyncio.sleep(0.3)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        running = "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'SELECT count(*) FROM users a%'"
        while (await shop.reader.query(running)).rows != ((0,),):
            await asyncio.sleep(0.05)

    shop.run(asyncio.wait_for(leave(), 20))


def test_nothing_is_written_and_shards_are_refused(shop: MysqlStore) -> None:
    with pytest.raises(SourceError, match="READ ONLY"):
        shop.run(shop.reader.query("DELETE FROM users"))
    with pytest.raises(SourceError, match="many tables"):
        shop.run(shop.reader.table("users", {"connection": "shop", "table": "users_{0..3}"}))
