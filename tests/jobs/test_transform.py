"""The transform steps, on a real Spark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from millrace.connectors.gate import GateClient
from millrace.jobs.gate import GateServer, StepLimits
from millrace.jobs.transform import Transformed, transform
from millrace.spec.model import Cast, Dedupe, Derive, Mask, Rename, Select, Sql, Step, Where
from millrace.spec.types import parse_type

ROWS = [
    (1, "ann", "30", datetime(2026, 1, 1)),
    (2, "bob", "old", datetime(2026, 1, 2)),
    (2, "bobby", "41", datetime(2026, 1, 3)),
    (3, None, None, None),
]


@pytest.fixture
def server() -> Iterator[GateServer]:
    with GateServer() as running:
        yield running


@pytest.fixture
def gate(server: GateServer) -> GateClient:
    return server.open_step("cast", StepLimits())


@pytest.fixture
def people(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(ROWS, "id int, name string, age string, at timestamp")


def rows(result: Transformed) -> list[dict[str, Any]]:
    return sorted((row.asDict() for row in result.frame.collect()), key=str)


def values(result: Transformed, column: str) -> set[Any]:
    return {row[column] for row in rows(result)}


def test_where_keeps_what_is_true_and_counts_what_it_drops(people: DataFrame, gate: GateClient) -> None:
    result = transform(people, [Where("name like 'bob%'"), Where("id = 2 and age = '41'")], gate)
    assert values(result, "name") == {"bobby"}
    assert [counter.filtered for counter in result.counters] == [2, 1]


def test_select_derive_and_rename_change_columns_in_order(people: DataFrame, gate: GateClient) -> None:
    steps: Sequence[Step] = (
        Select(("id", "name")),
        Derive({"twice": "id * 2", "more": "twice + 1"}),
        Rename({"twice": "id", "id": "twice"}),
    )
    result = transform(people, steps, gate)
    assert result.frame.columns == ["twice", "name", "id", "more"]
    assert [row for row in rows(result) if row["name"] == "ann"] == [{"twice": 1, "name": "ann", "id": 2, "more": 3}]


def test_a_value_that_cannot_be_cast_sets_its_row_aside(
    people: DataFrame, gate: GateClient, server: GateServer
) -> None:
    result = transform(people, [Cast({"age": parse_type("int")})], gate)
    assert values(result, "age") == {30, 41, None}
    (dirty,) = server.dirty_rows("cast")
    assert dirty.reason == "column 'age' can't be cast to int"
    assert b'"name":"bob","age":"old"' in dirty.raw


@pytest.mark.parametrize(("keep", "name"), [("latest", "bobby"), ("earliest", "bob")])
def test_dedupe_keeps_one_row_a_key(people: DataFrame, gate: GateClient, keep: str, name: str) -> None:
    result = transform(people, [Dedupe(("id",), keep, "at")], gate)
    assert values(result, "id") == {1, 2, 3}
    assert name in values(result, "name")
    assert [counter.filtered for counter in result.counters] == [1]


def test_dedupe_among_equals_keeps_the_same_row_every_time(spark: SparkSession, gate: GateClient) -> None:
    equal = [(1, f"name{number}") for number in range(50)]
    kept = set()
    for order in (equal, equal[::-1], equal[25:] + equal[:25]):
        frame = spark.createDataFrame(order, "id int, name string").repartition(4)
        kept |= values(transform(frame, [Dedupe(("id",), "any", None)], gate), "name")
    assert len(kept) == 1


def test_masked_values_cannot_be_read_and_nulls_stay_null(people: DataFrame, gate: GateClient) -> None:
    result = transform(people, [Mask(("name",), "hash"), Mask(("age",), "redact")], gate)
    assert values(result, "age") == {"***", None}
    hashes = values(result, "name")
    assert None in hashes
    assert all(len(value) == 64 for value in hashes if value)


def test_free_sql_reads_the_view_input(people: DataFrame, gate: GateClient) -> None:
    result = transform(people, [Sql("SELECT id, count(*) AS n FROM input GROUP BY id")], gate)
    assert {(row["id"], row["n"]) for row in rows(result)} == {(1, 1), (2, 2), (3, 1)}
    assert [counter.filtered for counter in result.counters] == [1]


def test_an_overflow_stops_the_run_instead_of_wrapping_around(people: DataFrame, gate: GateClient) -> None:
    result = transform(people, [Derive({"big": "id + 2147483647"})], gate)
    with pytest.raises(PySparkException, match="ARITHMETIC_OVERFLOW"):
        result.frame.collect()
