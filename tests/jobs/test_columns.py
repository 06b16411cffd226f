"""What a spec's check says of columns after each step, held against what Spark makes of the same steps."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from millrace.connectors.gate import GateClient
from millrace.jobs.gate import GateServer, StepLimits
from millrace.jobs.transform import transform
from millrace.spec import columns as flow
from millrace.spec.model import Cast, Dedupe, Derive, Mask, Rename, Select, Sql, Step, Where
from millrace.spec.types import parse_type

SCHEMA = "id bigint, name string, age int, tags array<string>"


@pytest.fixture(scope="module")
def gate() -> GateClient:
    with GateServer() as server:
        return server.open_step("columns", StepLimits())


def before() -> flow.Columns:
    return {name: parse_type(type_) for name, type_ in (column.split(" ") for column in SCHEMA.split(", "))}


GOOD: Sequence[Sequence[Step]] = [
    [Where("age > 1 and NAME is not null"), Select(("age", "id"))],
    [Derive({"x": "id + 1", "y": "x * 2", "z": "cast(y as decimal(20,2))"})],
    [Derive({"age": "cast(age as string)"}), Derive({"AGE": "1"})],
    [Rename({"age": "name", "name": "age"}), Cast({"age": parse_type("bigint")})],
    [Dedupe(("id",), "latest", "age"), Mask(("id", "name"), "hash")],
    [Sql("select *, id + 1 as n from input"), Where("n > 1")],
    [Sql("select * except (age, tags), upper(name) as big from input i")],
    [Sql("select i.id as key, cast(age as double) as a from input i where i.age > 0")],
    [Sql("select name, count(*) as n from input group by all having n > 1 order by n")],
    [Sql("select id, explode(tags) as tag from input"), Select(("tag",))],
    [Sql("select ID, Name from INPUT"), Derive({"x": "iD"})],
    [Sql("from input select id, age + 1 as b, b * 2 as c")],
]
BAD: Sequence[Sequence[Step]] = [
    [Where("aeg > 1")],
    [Derive({"x": "y", "y": "1"})],
    [Select(("id", "nmae"))],
    [Rename({"age": "name"}), Select(("name",))],
    [Dedupe(("id",), "latest", "at")],
    [Sql("select nmae from input")],
    [Sql("select id from inputs")],
    [Derive({"x": "transform(tags, t -> t || u)"})],
]


def followed(steps: Sequence[Step]) -> tuple[flow.Columns | None, list[str]]:
    columns: flow.Columns | None = before()
    messages: list[str] = []
    for step in steps:
        columns, problems = flow.follow(step, columns)
        messages += [problem.message for problem in problems]
    return columns, messages


@pytest.mark.parametrize("steps", GOOD)
def test_names_and_known_types_are_those_of_spark(spark: SparkSession, gate: GateClient, steps: Sequence[Step]) -> None:
    columns, messages = followed(steps)
    assert messages == []
    assert columns is not None
    made = transform(spark.createDataFrame([], SCHEMA), steps, gate).frame
    assert list(columns) == made.columns
    types = dict(made.dtypes)
    assert {name: str(type_) for name, type_ in columns.items() if type_} == {
        name: types[name] for name, type_ in columns.items() if type_
    }


@pytest.mark.parametrize("steps", BAD)
def test_what_is_refused_spark_would_refuse_too(spark: SparkSession, gate: GateClient, steps: Sequence[Step]) -> None:
    assert followed(steps)[1]
    with pytest.raises(AnalysisException):
        transform(spark.createDataFrame([], SCHEMA), steps, gate).frame.explain()
