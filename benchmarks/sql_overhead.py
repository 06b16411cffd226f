"""What an SQL API adds to the raw client on the same query, and whether that grows over many requests.

sql_overhead          median milliseconds a query, ours and clickhouse-connect's on the same statement
sql_overhead.added    the difference, in milliseconds
sql_overhead.plan     microseconds of CPU to parse, plan and compile, in the last tenth of the requests and in the first
sql_overhead.memory   MiB of this process after all requests and after the first tenth
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.harness import print_measure
from millrace.connectors.clickhouse.layout import Marker, quote_text
from millrace.connectors.clickhouse.query import ClickHouseReader
from millrace.serving.sql.compile import compile_query
from millrace.serving.sql.dialects import Table
from millrace.serving.sql.execute import SqlExecutor
from millrace.serving.sql.parse import parse
from millrace.serving.sql.plan import plan
from millrace.serving.sql.rules import SqlRules
from millrace.spec.types import column
from tests.servers.clickhouse import ClickHouseDatabase, running_clickhouse

ROWS = 100_000
QUERIES = 200
COLUMNS = (column("id", "bigint"), column("city", "string"), column("age", "int"), column("amount", "double"))
RULES = SqlRules.of({"name": "users"}, COLUMNS)


def tree(number: int) -> dict[str, Any]:
    """A query as an application would ask it, with other values each time."""
    return {
        "select": ["city", {"count": "*", "as": "users"}, {"avg": "amount"}],
        "where": {
            "and": [
                {"column": "age", "between": [18 + number % 20, 60]},
                {"or": [{"column": "city", "in": [f"city {number % 50}", "city 1"]}, {"column": "id", "lt": number}]},
            ]
        },
        "group_by": ["city"],
        "order_by": [{"desc": "users"}, "city"],
        "limit": 10,
    }


def statement(number: int) -> Any:
    return compile_query(plan(parse(tree(number)), RULES), Table(("bench", "users__v1")), "clickhouse")


async def overhead(database: ClickHouseDatabase) -> None:
    """Both sides by turns, over one connection pool."""
    database.query(
        "CREATE TABLE users__v1 (id Int64, city String, age Int32, amount Float64) ENGINE MergeTree ORDER BY id"
    )
    database.query(
        f"INSERT INTO users__v1 SELECT number, concat('city ', number % 50), number % 90, number FROM numbers({ROWS})"
    )
    comment = quote_text(Marker("users", "v1").text())
    database.query(f"CREATE VIEW users AS SELECT * FROM users__v1 COMMENT {comment}")
    async with ClickHouseReader(database.connection) as reader:
        api = SqlExecutor(reader, "users", {"connection": "bench"}, RULES, {}, b"0123456789abcdef")
        planned = plan(parse(tree(0)), RULES)
        made = [
            compile_query(plan(parse(tree(n)), RULES), Table((database.name, "users__v1")), "clickhouse")
            for n in range(QUERIES)
        ]
        types = [output.type for output in planned.outputs]

        async def raw(number: int) -> object:
            return await reader.query(made[number].sql, made[number].params, types=types, timeout_s=30)

        async def ours(number: int) -> object:
            return await api.run(tree(number))

        times: tuple[list[float], list[float]] = ([], [])
        for number in range(QUERIES):
            sides: list[tuple[Callable[[int], Awaitable[object]], list[float]]] = list(
                zip((ours, raw), times, strict=True)
            )
            for side, found in sides if number % 2 else reversed(sides):
                started = time.perf_counter()
                await side(number)
                found.append((time.perf_counter() - started) * 1000)
    mine, theirs = (statistics.median(found[20:]) for found in times)
    print_measure("sql_overhead", mine, theirs, "ms a query")
    print_measure("sql_overhead.added", mine - theirs, 1.0, "ms a query, of at most 1")


def growth(requests: int) -> None:
    """Parse, plan and compile that often: time and memory in the end and in the beginning."""
    tenth = requests // 10
    spent: list[float] = []
    memory: list[float] = []
    for turn in range(10):
        started = time.process_time()
        for number in range(turn * tenth, (turn + 1) * tenth):
            statement(number)
        spent.append((time.process_time() - started) / tenth * 1e6)
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print_measure("sql_overhead.plan", spent[-1], spent[0], "µs of CPU a query, last tenth and first")
    print_measure("sql_overhead.memory", memory[-1], memory[0], "MiB, after all and after the first tenth")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1_000_000, help="how many for the growth (default: 1,000,000)")
    requests: int = parser.parse_args().requests
    with running_clickhouse() as server:
        asyncio.run(overhead(server.new_database()))
    growth(requests)


if __name__ == "__main__":
    main()
