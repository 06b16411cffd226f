"""SQL APIs over a Druid: the same queries, answered as DuckDB answers them; sketches, pages, streams, budgets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pytest

from millrace.connectors.druid.query import DruidReader
from millrace.errors import TransientError
from millrace.serving.call import Call, Operation, Origin
from millrace.serving.sql.api import SqlApiPlan
from millrace.serving.sql.execute import SqlExecutor
from millrace.serving.sql.faults import QueryError
from millrace.serving.sql.named import named_queries
from millrace.serving.sql.rules import SqlRules
from millrace.spec.shape.apis import Cache
from millrace.spec.types import DataType, Kind
from tests.connectors.druid.stores import new_asset, publish, target
from tests.servers.druid import Druid
from tests.servers.redis import RedisServer
from tests.serving.sharing import SHARED, shared_answers
from tests.serving.sql.conftest import DEFINITION, KEY, people
from tests.serving.sql.oracle import Oracle
from tests.serving.sql.queries import COLUMNS

T = TypeVar("T")
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
QUERIES: list[dict[str, Any]] = [
    {"select": ["id"], "where": {"column": "city", "eq": "it's"}},
    {"select": ["id"], "where": {"column": "city", "in": ["oslo", "50%", "ø\\"]}},
    {"select": ["id"], "where": {"not": {"column": "city", "in": ["oslo", "nowhere"]}}},
    {"select": ["id"], "where": {"column": "city", "like": "50\\%"}},
    {"select": ["id"], "where": {"not": {"column": "city", "like": "%\\\\"}}},
    {"select": ["id"], "where": {"column": "city", "starts_with": "a_"}},
    {"select": ["id", "raw"], "where": {"column": "active", "eq": True}},
    {"select": ["id", "amount"], "where": {"column": "amount", "between": [-1, 2]}},
    {"select": ["id", "at", "seen", "born"], "where": {"column": "age", "lt": {"column": "score"}}},
    {"select": ["id"], "where": {"column": "at", "ge": NEW_YEAR + timedelta(hours=2)}},
    {"select": ["id"], "where": {"column": "at", "in": [NEW_YEAR, NEW_YEAR + timedelta(hours=3)]}},
    {"select": ["id"], "where": {"column": "seen", "between": [datetime(2026, 1, 1, 0, 0, 0, 1)] * 2}},
    {"select": ["id", "tags"], "where": {"column": "tags", "has_any": ["a", "d"]}},
    {"select": ["id"], "where": {"and": [{"column": "tags", "has_all": ["a", "b"]}, {"column": "age", "null": False}]}},
    {"select": ["city", {"count": "*", "as": "n"}, {"sum": "age"}, {"max": "amount"}], "group_by": ["city"]},
    {"select": [{"count_distinct": "city"}, {"count_distinct": "age"}, {"avg": "age"}, {"count": "active"}]},
    {"select": [{"min": "born"}, {"max": "born"}, {"min": "at"}, {"max": "seen"}]},
    {"select": ["age", {"count": "*", "as": "n"}], "group_by": ["age"], "having": {"column": "n", "gt": 5}},
]


class DruidStore:
    """The asset `users` in a Druid, and an API over it."""

    def __init__(self, druid: Druid) -> None:
        rows = people(120)
        hours = pa.array([NEW_YEAR + timedelta(hours=n % 5) for n in range(120)], pa.timestamp("us", tz="UTC"))
        self.rows = rows.set_column(rows.schema.get_field_index("at"), "at", hours)
        self.asset, self.target = new_asset(), target(druid.connection)
        self.publish("v1", self.rows)
        self._runner = asyncio.Runner()
        self.reader = DruidReader(druid.connection)
        self.run(self.reader.open())

    def publish(self, id_: str, rows: pa.Table) -> None:
        (batch,) = rows.combine_chunks().to_batches()
        publish(self.target, self.asset, id_, batch)

    def api(self) -> SqlExecutor:
        rules = SqlRules.of(DEFINITION, COLUMNS)
        options = {"connection": "druid", "timestamp": "at"}
        return SqlExecutor(self.reader, self.asset, options, rules, named_queries(DEFINITION, rules), KEY)

    def run(self, call: Awaitable[T]) -> T:
        async def wait() -> T:
            return await call

        return self._runner.run(wait())

    def close(self) -> None:
        self.run(self.reader.close())
        self._runner.close()
        self.target.close()


@pytest.fixture(scope="module")
def users(druid: Druid) -> Iterator[DruidStore]:
    store = DruidStore(druid)
    yield store
    store.close()


def counted(rows: Any) -> Counter[str]:
    return Counter(repr([_plain(value) for value in row]) for row in rows)


def _plain(value: Any) -> Any:
    """One zone; averages may differ in their last digit."""
    if isinstance(value, float):
        return round(value, 9)
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo is not None else value


@pytest.mark.parametrize("tree", QUERIES, ids=str)
def test_answers_are_the_oracles(users: DruidStore, tree: dict[str, Any]) -> None:
    found = users.run(users.api().run(tree)).rows
    assert counted(found) == counted(Oracle(users.rows).rows(tree))


def test_texts_have_no_least_and_a_sketch_counts_nearly(users: DruidStore) -> None:
    with pytest.raises(QueryError, match="no min of texts"):
        users.run(users.api().run({"select": [{"min": "city"}]}))
    ((about, half),) = users.run(
        users.api().run({"select": [{"approx_distinct": "id"}, {"quantile": "id", "at": 0.5}]})
    ).rows
    assert 110 <= about <= 130
    assert 50 <= half <= 70


def test_named_queries_are_answered(users: DruidStore) -> None:
    found = users.run(users.api().call("by_city", {"least": 1, "cities": ["oslo", "bergen"]})).rows
    oracle = Oracle(users.rows).rows(
        {
            "select": ["city", {"count": "*", "as": "n"}],
            "where": {"and": [{"column": "age", "ge": 1}, {"column": "city", "in": ["oslo", "bergen"]}]},
            "group_by": ["city"],
        }
    )
    assert counted(row[:2] for row in found) == counted(oracle)
    assert users.run(users.api().call("one", {"id": 3})).rows[0][0] == 3


@pytest.mark.parametrize(
    "tree",
    [
        {"select": ["city", "age", {"count": "*", "as": "n"}], "group_by": ["city", "age"], "order_by": ["city"]},
        {"select": ["city", {"count": "*"}], "group_by": ["city"], "order_by": [{"desc": "city"}]},
        {"select": ["city"], "order_by": [{"desc": "city"}]},  # with rows that are there many times
        {"select": ["age", "at", "score"], "where": {"column": "id", "lt": 60}, "order_by": ["age", {"desc": "at"}]},
    ],
    ids=str,
)
def test_pages_of_groups_and_of_rows_give_each_once(users: DruidStore, tree: dict[str, Any]) -> None:
    found: list[tuple[Any, ...]] = []
    after, size = None, 5 if "group_by" in tree else 13
    while True:
        answer = users.run(users.api().run({**tree, "page": {"size": size, **({"after": after} if after else {})}}))
        assert answer.version == "v1"
        found += answer.rows
        after = answer.next
        if after is None:
            break
        assert len(answer.rows) == size
    assert counted(found) == counted(Oracle(users.rows).rows(tree))


def test_rows_are_sorted_by_what_makes_groups_and_streams_by_their_time_alone(users: DruidStore) -> None:
    by_id = users.run(users.api().run({"select": ["city", "id"], "order_by": [{"desc": "id"}], "limit": 3})).rows
    assert [row[1] for row in by_id] == [119, 118, 117]
    times = users.run(users.api().run({"select": ["at"], "order_by": [{"desc": "at"}]})).rows
    assert times == sorted(times, reverse=True)
    with pytest.raises(QueryError, match="sorts rows by their time alone, and not by 'id'"):
        users.run(users.api().stream({"select": ["id"], "order_by": ["id"]}))
    with pytest.raises(QueryError, match=r"sorts rows with a array<string> \('tags'\) by their time alone"):
        users.run(users.api().run({"select": ["id", "tags"], "order_by": ["id"], "limit": 3}))


def test_a_stream_has_all_rows_and_can_be_left(users: DruidStore) -> None:
    async def main() -> int:
        whole = await users.api().stream({"select": ["id", "at", "tags", "score"]})
        rows = sum([batch.num_rows async for batch in whole.batches])
        left = await users.api().stream({})
        await left.aclose()
        return rows

    assert users.run(main()) == 120


def test_what_one_server_asked_another_finds_in_redis(
    users: DruidStore, druid: Druid, redis_server: RedisServer, tmp_path: Path
) -> None:
    plan = SqlApiPlan(
        api="users",
        asset=users.asset,
        target="druid",
        connector="druid",
        options={"connection": "druid", "timestamp": "at"},
        reader_path="millrace.connectors.druid.query:DruidReader",
        rules=SqlRules.of(DEFINITION, COLUMNS),
        cache=Cache.model_validate(SHARED),
        definition=DEFINITION,
    )
    columns = ["id", "city", "score", "amount", "born", "at", "seen", "tags"]
    where = {"column": "city", "eq": "it's"}
    queries: list[dict[str, Any]] = [{"select": columns, "where": where}, {"select": [{"avg": "age"}, {"max": "at"}]}]
    calls = [Call(Operation.QUERY, query) for query in queries]
    connections = {"druid": druid.url, "l2": redis_server.url}
    for query, (first, second) in zip(queries, shared_answers(tmp_path, connections, plan, calls), strict=True):
        assert (first.origin, second.origin) == (Origin.STORE, Origin.L2)
        assert second.body == first.body
        assert counted(first.body.rows) == counted(Oracle(users.rows).rows(query))


def test_a_query_that_takes_too_long_is_ended(users: DruidStore) -> None:
    name = f'"{users.asset}__v1"'
    slow = f"SELECT COUNT(*) FROM {name} a CROSS JOIN {name} b CROSS JOIN {name} c CROSS JOIN {name} d"
    with pytest.raises(TransientError, match=r"took longer than 0\.3 s"):
        users.run(users.reader.query(slow, types=[DataType(Kind.BIGINT)], timeout_s=0.3))
