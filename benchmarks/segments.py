"""User segments by tags over millions of users in ClickHouse: any of, all of, none of, through a SQL API and by hand.

segments.count     milliseconds to count the segment any ∧ all ∧ none, ours and the same statement by clickhouse-connect
segments.bitmaps   the same count by ours, and by hand from a bitmap of users for each tag, made beforehand
segments.page      milliseconds for the first 100 users of it
segments.export    users a second, all of the segment as Arrow, ours and the raw bytes of ClickHouse's ArrowStream
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

from benchmarks.harness import print_measure, rows_argument
from millrace.connectors.clickhouse.layout import Marker, quote_text
from millrace.connectors.clickhouse.query import ClickHouseReader
from millrace.serving.sql.builder import Select, col, count
from millrace.serving.sql.execute import SqlExecutor
from millrace.serving.sql.rules import SqlRules
from millrace.spec.types import column
from tests.servers.clickhouse import ClickHouseDatabase, running_clickhouse

ROUNDS = 5
TAGS = [f"tag_{number}" for number in range(200)]
COLUMNS = (column("id", "bigint"), column("tags", "array<string>"), column("spent", "double"))
RULES = SqlRules.of({"name": "segments"}, COLUMNS)
WHERE = (
    "hasAny(tags, ['tag_1', 'tag_2', 'tag_3']) AND hasAll(tags, ['tag_10']) AND NOT hasAny(tags, ['tag_20', 'tag_21'])"
)

_USERS = "(SELECT groupBitmapMergeState(users) FROM bitmaps WHERE tag IN ({}))"
_ANY, _ALL, _NONE = (_USERS.format(tags) for tags in ("'tag_1', 'tag_2', 'tag_3'", "'tag_10'", "'tag_20', 'tag_21'"))
_BY_BITMAPS = f"SELECT bitmapCardinality(bitmapAndnot(bitmapAnd({_ANY}, {_ALL}), {_NONE}))"


def segment() -> Select:
    """Users with any of three tags, with a fourth, and with neither of two others."""
    any_of = col("tags").has_any(["tag_1", "tag_2", "tag_3"])
    return Select().where(any_of, col("tags").has_all(["tag_10"]), col("tags").has_none(["tag_20", "tag_21"]))


def prepare(database: ClickHouseDatabase, users: int) -> None:
    """Users with 5 to 24 of 200 tags; low numbers are common, high ones rare."""
    database.query(
        "CREATE TABLE segments__v1 (id Int64, tags Array(Nullable(String)), spent Float64) ENGINE MergeTree ORDER BY id"
    )
    tag = "concat('tag_', toString(toUInt32(200 * pow((cityHash64(number, i) % 10000) / 10000, 3))))"
    tags = f"arrayDistinct(arrayMap(i -> {tag}, range(5 + number % 20)))"
    database.query(f"INSERT INTO segments__v1 SELECT number, {tags}, number % 1000 FROM numbers({users})")
    database.query(
        "CREATE TABLE bitmaps ENGINE MergeTree ORDER BY tag AS"
        " SELECT assumeNotNull(t) AS tag, groupBitmapState(toUInt64(id)) AS users"
        " FROM segments__v1 ARRAY JOIN tags AS t GROUP BY tag"
    )
    comment = quote_text(Marker("segments", "v1").text())
    database.query(f"CREATE VIEW segments AS SELECT * FROM segments__v1 COMMENT {comment}")


async def measure(database: ClickHouseDatabase) -> None:
    async with ClickHouseReader(database.connection) as reader:
        api = SqlExecutor(reader, "segments", {"connection": "bench"}, RULES, {}, b"0123456789abcdef")
        table = f"{database.name}.segments__v1"

        async def counted() -> Any:
            return (await api.run(segment().select(count()).tree())).rows

        async def counted_by_hand() -> Any:
            return (await reader.query(f"SELECT count() FROM {table} WHERE {WHERE}")).rows

        async def counted_by_bitmaps() -> Any:
            return (await reader.query(_BY_BITMAPS.replace("FROM bitmaps", f"FROM {database.name}.bitmaps"))).rows

        async def paged() -> Any:
            return (await api.run(segment().select("id").page_tree(100))).rows

        async def paged_by_hand() -> Any:
            return (await reader.query(f"SELECT id FROM {table} WHERE {WHERE} ORDER BY id LIMIT 101")).rows

        async def exported() -> int:
            stream = await api.stream(segment().select("id", "tags").tree())
            return sum([batch.num_rows async for batch in stream.batches])

        async def exported_by_hand() -> int:
            return (await reader.arrow(f"SELECT id, tags FROM {table} WHERE {WHERE}")).num_rows

        ((size,),) = await counted()
        assert (size,) == tuple((await counted_by_hand())[0])
        assert (size,) == tuple((await counted_by_bitmaps())[0])
        sides = (
            ("count", counted, counted_by_hand),
            ("bitmaps", counted, counted_by_bitmaps),
            ("page", paged, paged_by_hand),
        )
        for name, ours, theirs in sides:
            mine, raw = [await median_s(side) for side in (ours, theirs)]
            print_measure(f"segments.{name}", mine * 1000, raw * 1000, f"ms, a segment of {size} users")
        mine, raw = [await median_s(side) for side in (exported, exported_by_hand)]
        print_measure("segments.export", size / mine, size / raw, "users/s")


async def median_s(side: Any) -> float:
    found = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        await side()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def main() -> None:
    users = rows_argument(__doc__, 5_000_000)
    with running_clickhouse() as server:
        database = server.new_database()
        prepare(database, users)
        asyncio.run(measure(database))


if __name__ == "__main__":
    main()
