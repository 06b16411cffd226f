"""An asset with a column of each kind, published in ClickHouse, and its SQL API."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import pyarrow as pa
import pytest

from millrace.connectors.clickhouse.query import ClickHouseReader
from millrace.connectors.wire.arrow_types import to_arrow
from millrace.serving.sql.execute import SqlExecutor
from millrace.serving.sql.named import named_queries
from millrace.serving.sql.rules import SqlRules
from tests.connectors.clickhouse.stores import target, version
from tests.connectors.loads import load_whole
from tests.servers.clickhouse import ClickHouse, ClickHouseDatabase
from tests.serving.sql.queries import COLUMNS

T = TypeVar("T")
ASSET = "users"
KEY = b"a key of 32 bytes, for the tests"
DEFINITION = {
    "name": "users",
    "limits": {"rows": 1000, "timeout": "30s"},
    "queries": {
        "by_city": {
            "sql": "SELECT city, count(*) AS n, sum(amount) AS total FROM input WHERE age >= :least"
            " AND city IN (:cities) GROUP BY city ORDER BY n DESC, city",
            "parameters": {"least": "int", "cities": "array<string>"},
        },
        "one": {"sql": "SELECT id, upper(city) AS city FROM input WHERE id = :id", "parameters": {"id": "bigint"}},
    },
}


def people(count: int, seed: int = 7) -> pa.Table:
    """Rows over small domains, so that conditions hit; a fifth of the values are null."""
    dice = random.Random(seed)

    def some(value: Any) -> Any:
        return None if dice.random() < 0.2 else value

    rows = [
        {
            "id": number,
            "city": some(dice.choice(["oslo", "Oslo", "bergen", "50%", "a_b", "", "it's", "ø\\"])),
            "age": some(dice.randint(-2, 6)),
            "score": some(dice.randint(-4, 4) / 4),
            "amount": some(Decimal(dice.randint(-500, 500)) / 100),
            "active": some(dice.random() < 0.5),
            "born": some(date(1999, 12, 28) + timedelta(days=dice.randint(0, 6))),
            "at": some(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=dice.randint(0, 5))),
            "seen": some(datetime(2026, 1, 1) + timedelta(microseconds=dice.randint(0, 4))),
            "raw": some(dice.choice([b"", b"\x00\xff", b"a"])),
            "tags": dice.sample(["a", "b", "c", "d", None], dice.randint(0, 4)),
            "more": {"k": 1},
        }
        for number in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema([(c.name, to_arrow(c.type)) for c in COLUMNS]))


class Store:
    """The asset in a store, its reader on a loop of its own, and its API."""

    def __init__(self, database: ClickHouseDatabase, rows: pa.Table) -> None:
        self.rows = rows
        self.database = database
        self.target = target(database.connection, order_by=("id",))
        self.publish("v1", rows)
        self._runner = asyncio.Runner()
        self.reader = ClickHouseReader(database.connection)
        self.run(self.reader.open())
        self._api = self.api()

    def publish(self, id_: str, rows: pa.Table) -> None:
        (batch,) = rows.combine_chunks().to_batches()
        of = version(id_, batch, ASSET)
        assert load_whole(self.target, of, [batch]).rows == rows.num_rows
        self.target.publish(of)

    def api(self, **definition: Any) -> SqlExecutor:
        given = {**DEFINITION, **definition}
        rules = SqlRules.of(given, COLUMNS)
        return SqlExecutor(self.reader, ASSET, {"connection": "test"}, rules, named_queries(given, rules), KEY)

    def run(self, call: Awaitable[T]) -> T:
        async def wait() -> T:
            return await call

        return self._runner.run(wait())

    def ask(self, tree: Any, **definition: Any) -> list[tuple[Any, ...]]:
        """The rows of a query's answer."""
        api = self.api(**definition) if definition else self._api
        return list(self.run(api.run(tree)).rows)

    def pages(self, tree: Any, size: int) -> list[list[tuple[Any, ...]]]:
        """All pages of a query."""
        found: list[list[tuple[Any, ...]]] = []
        after: str | None = None
        while True:
            page = {"size": size, **({"after": after} if after else {})}
            answer = self.run(self._api.run({**tree, "page": page}))
            found.append(list(answer.rows))
            after = answer.next
            if after is None:
                return found

    def close(self) -> None:
        self.run(self.reader.close())
        self._runner.close()
        self.target.close()


@pytest.fixture(scope="module")
def users(clickhouse: ClickHouse) -> Iterator[Store]:
    """120 users, for tests that only read."""
    database = clickhouse.new_database()
    store = Store(database, people(120))
    yield store
    store.close()
    database.drop()


@pytest.fixture
def own_users(clickhouse_database: ClickHouseDatabase) -> Iterator[Store]:
    """60 users of one test, which may publish more."""
    store = Store(clickhouse_database, people(60))
    yield store
    store.close()
