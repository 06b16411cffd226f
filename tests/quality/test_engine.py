"""How the checks reach Spark: in few queries, each question once, nothing cached, and no verdict without an answer."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as f

from millrace.quality import run_checks
from millrace.quality.duplicates import Duplicates, count_duplicates, repeated_rows
from millrace.quality.gx.asking import Question, ask
from millrace.quality.lost import is_lost
from millrace.spec.expectations import expectations
from millrace.spec.model import Between, Check, Expectation, InSet, NotNull, RowCount, Unique
from tests.quality.test_arguments import NOT_ON_SPARK, plausible

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

REGEX = "expect_column_values_to_match_regex"
MANY: tuple[Check, ...] = (
    RowCount(1, None, None),
    NotNull(("id", "name", "city", "age")),
    Between("id", 0, 10**9),
    Between("age", 0, 150),
    InSet("city", ("berlin", "paris")),
    Expectation(REGEX, {"column": "city", "regex": "^[a-z]+$"}),
    Expectation(REGEX, {"column": "name", "regex": "\\d$"}),
    Expectation("expect_column_max_to_be_between", {"column": "age", "max_value": 99}),
    Expectation("expect_column_mean_to_be_between", {"column": "age", "max_value": 99}),
)
_groups = itertools.count()


@pytest.fixture(scope="module")
def people(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> DataFrame:
    path = str(tmp_path_factory.mktemp("people") / "stage")
    columns = "id", "concat('name-', id) as name", "if(id % 2 = 0, 'berlin', 'paris') as city", "int(id % 100) as age"
    spark.range(1000).selectExpr(*columns).write.parquet(path)
    return spark.read.parquet(path)


@pytest.fixture
def jobs(spark: SparkSession) -> Iterator[Callable[[Callable[[], object]], int]]:
    """Counts the Spark jobs that a piece of work starts, in its own threads too."""

    def count(work: Callable[[], object]) -> int:
        group = f"counted-{next(_groups)}"
        spark.sparkContext.setJobGroup(group, group)
        work()
        return len(spark.sparkContext.statusTracker().getJobIdsForGroup(group))

    yield count
    for name in ("spark.jobGroup.id", "spark.job.description", "spark.job.interruptOnCancel"):
        spark.sparkContext.setLocalProperty(name, None)  # type: ignore[arg-type]  # None is how one is taken back


def passing(frame: DataFrame, *checks: Check) -> None:
    found = run_checks(frame, checks, previous_rows=None, rows=1000)
    assert [r.check for r in found if not r.passed] == []


def test_many_checks_are_one_query(people: DataFrame, jobs: Callable[..., int]) -> None:
    one_query = jobs(lambda: people.agg(f.count(f.lit(1)), f.max("age")).collect())
    assert jobs(lambda: passing(people, *MANY)) == one_query


def test_a_check_of_repeated_values_is_one_query_more(people: DataFrame, jobs: Callable[..., int]) -> None:
    grouping = jobs(lambda: people.repartition("id").groupBy("id").count().agg(f.sum("count")).collect())
    one_query = jobs(lambda: people.agg(f.count(f.lit(1)), f.max("age")).collect())
    assert jobs(lambda: passing(people, *MANY, Unique(("id", "name")), Unique(("name",)))) == one_query + 2 * grouping
    assert jobs(lambda: passing(people, *MANY, Unique(("id",)))) <= 2 * one_query + grouping


def test_the_known_number_of_rows_needs_no_query(people: DataFrame, jobs: Callable[..., int]) -> None:
    assert jobs(lambda: passing(people, RowCount(1000, 1000, None))) == 0


def test_rows_are_read_only_for_what_failed(people: DataFrame, jobs: Callable[..., int]) -> None:
    one_query = jobs(lambda: people.agg(f.count(f.lit(1)), f.max("age")).collect())
    rows = jobs(lambda: people.filter("age > 50").limit(20).collect())
    checks = [*MANY, Between("age", 0, 50)]
    assert jobs(lambda: run_checks(people, checks, previous_rows=None, rows=1000)) <= one_query + rows + 1


def test_nothing_is_cached_in_spark(spark: SparkSession, people: DataFrame) -> None:
    passing(people, *MANY, Unique(("id",)))
    run_checks(people, [Unique(("age",)), Between("age", 0, 1)], previous_rows=None, rows=None)
    assert spark.sparkContext._jsc is not None
    assert spark.sparkContext._jsc.getPersistentRDDs().isEmpty()
    assert not people.storageLevel.useMemory


def test_every_expectation_is_answered_and_none_passes_on_a_column_that_is_not_there(people: DataFrame) -> None:
    names = sorted(set(expectations()) - NOT_ON_SPARK)
    about_columns = []
    for name in names:
        arguments = dict(plausible(name).arguments)
        for key in arguments.keys() & {"column", "column_A"}:
            arguments[key] = "nowhere"
        if "column_list" in arguments:
            arguments["column_list"] = ["id", "nowhere"]
        if "nowhere" in str(arguments):
            about_columns.append(Question(name, arguments))
    assert len(about_columns) > 40
    answers = dict(zip((q.type for q in about_columns), ask(people, about_columns, 1000), strict=True))
    assert [name for name, answer in answers.items() if answer.success] == []
    absence_is_the_answer = {"expect_column_to_exist", "expect_table_columns_to_match_ordered_list"}
    assert {name for name, answer in answers.items() if answer.error is None} == absence_is_the_answer


def test_every_expectation_can_be_asked_together_with_all_others(people: DataFrame) -> None:
    names = sorted(set(expectations()) - NOT_ON_SPARK)
    questions = []
    for name in names:
        arguments = dict(plausible(name).arguments)
        if "column" in arguments and any(part in name for part in ("json", "regex", "strftime", "lengths")):
            arguments["column"] = "name"
        questions.append(Question(name, arguments))
    answers = dict(zip(names, ask(people, questions, 1000), strict=True))
    not_json = "expect_column_values_to_match_json_schema"
    assert {name for name, answer in answers.items() if answer.error is not None} <= {
        not_json,
        "expect_column_kl_divergence_to_be_less_than",  # asked here without a distribution to compare with
    }
    assert answers[not_json].error is not None
    assert sum(answer.success for answer in answers.values()) > 15


@pytest.mark.parametrize(
    ("rows", "columns", "repeated"),
    [
        ("(1, 'a'), (1, 'a'), (2, 'a')", ["k", "v"], 2),
        ("(1, 'a'), (1, 'b'), (2, 'a')", ["k"], 2),
        ("('a', null), (null, 'a'), ('b', null)", ["k", "v"], 0),  # their hashes are equal
        ("('a', null), (null, 'a'), ('a', null)", ["k", "v"], 2),
        ("('a', 1), ('a', 2), ('b', 3)", ["k"], 2),
        ("('a', 1), ('A', 2), ('a ', 3)", ["k"], 0),
        ("(0.0D, 1), (-0.0D, 2), (1.0D, 3)", ["k"], 2),
        ("(double('NaN'), 1), (double('NaN'), 2)", ["k"], 2),
        ("(array(1), 1), (array(1), 2), (array(2), 3)", ["k"], 2),
        ("(X'00', 1), (X'00', 1), (X'0000', 1)", ["k", "v"], 2),
        ("(-1, 1), (0, 2), (1, 3), (-32768, 4), (32768, 5), (32767, 6)", ["k"], 0),
        ("(-1, 1), (0, 2), (1, 3), (-1, 4), (null, 5), (null, 6)", ["k"], 4),
        ("(9223372036854775807L, 1), (-9223372036854775808L, 2)", ["k"], 0),
        ("(9223372036854775807L, 1), (9223372036854775806L, 2)", ["k"], 0),
        ("(9223372036854775807L, 1), (9223372036854775807L, 2)", ["k"], 2),
    ],
)
def test_repeated_keys_are_counted_exactly(spark: SparkSession, rows: str, columns: list[str], repeated: int) -> None:
    frame = spark.sql(f"select * from values {rows} as t(k, v)")
    found = count_duplicates(frame, columns)
    assert found == Duplicates(frame.count(), repeated)
    assert len(repeated_rows(frame, columns).collect()) == repeated


@pytest.mark.parametrize(
    ("query", "rows", "repeated"),
    [
        ("select id as v from range(-100000, 100000)", 200_000, 0),
        ("select id * 4 as v from range(9223372036854, 9223372136854)", 100_000, 0),
        ("select int(id) as v from range(100000) union all select 32768", 100_001, 2),
        ("select id div 2 as v from range(70000)", 70_000, 70_000),
        ("select if(id = 7, 8, id) as v from range(70000)", 70_000, 2),
        ("select cast(id as decimal(20, 0)) as v from range(-5, 70000)", 70_005, 0),
        ("select 1e19BD * (id div 2) as v from range(4)", 4, 4),
    ],
)
def test_whole_numbers_close_together_are_counted_exactly(
    spark: SparkSession, query: str, rows: int, repeated: int
) -> None:
    """They may be counted in bitmaps, of 32,768 numbers each."""
    assert count_duplicates(spark.sql(query), ["v"]) == Duplicates(rows, repeated)


@settings(max_examples=5, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 5), min_size=1, max_size=20))
def test_any_whole_numbers_are_counted_exactly(spark: SparkSession, values: list[int]) -> None:
    frame = spark.createDataFrame([(value,) for value in values], "v bigint")
    repeated = sum(count for count in Counter(values).values() if count > 1)
    assert count_duplicates(frame, ["v"]) == Duplicates(len(values), repeated)


def test_repeated_values_are_counted_as_great_expectations_counts_them(people: DataFrame, tmp_path: Path) -> None:
    """Against the library's own window metrics, on its own engine."""
    from great_expectations.execution_engine.sparkdf_execution_engine import SparkDFExecutionEngine
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.validator.validator import Validator

    query = ["if(id % 7 = 0, null, id div 3) as a", "if(id % 5 = 0, null, string(id div 4)) as b"]
    people.selectExpr(*query).write.parquet(str(tmp_path / "stage"))
    frame = people.sparkSession.read.parquet(str(tmp_path / "stage"))
    asked: list[tuple[str, dict[str, Any]]] = [
        ("expect_column_values_to_be_unique", {"column": "a"}),
        ("expect_column_values_to_be_unique", {"column": "b"}),
        ("expect_column_values_to_be_unique", {"column": "b", "row_condition": "a > 9", "condition_parser": "spark"}),
        ("expect_compound_columns_to_be_unique", {"column_list": ["a", "b"]}),
        ("expect_compound_columns_to_be_unique", {"column_list": ["a", "b"], "ignore_row_if": "never"}),
        ("expect_compound_columns_to_be_unique", {"column_list": ["a", "b"], "ignore_row_if": "any_value_is_missing"}),
    ]
    stock = SparkDFExecutionEngine(persist=False, spark=frame.sparkSession)
    stock.load_batch_data("stage", frame)
    validator = Validator(execution_engine=stock)
    validator.metrics_calculator.show_progress_bars = False
    theirs = validator.graph_validate(
        [ExpectationConfiguration(type_, dict(arguments)) for type_, arguments in asked],
        runtime_configuration={"result_format": "BASIC"},
    )
    ours = ask(frame, [Question(type_, arguments) for type_, arguments in asked], None)
    counted = ("element_count", "unexpected_count", "missing_count", "unexpected_percent")
    assert [[answer.result.get(key) for key in counted] for answer in ours] == [
        [result.result.get(key) for key in counted] for result in theirs
    ]
    assert all(answer.result["unexpected_count"] > 0 for answer in ours)


def test_when_spark_is_lost_no_question_waits_for_ever(people: DataFrame) -> None:
    full = f.expr("if(id >= 0, bigint(raise_error('No space left on device')), id)")
    checks: list[Check] = [NotNull(("lost", "id")), Unique(("lost",)), Unique(("id",)), Between("age", 0, 150)]
    with pytest.raises(Exception, match="No space left on device") as raised:
        run_checks(people.withColumn("lost", full), checks, previous_rows=None, rows=None)
    assert is_lost(raised.value)


def test_a_cancelled_job_is_no_verdict_on_the_data(spark: SparkSession, people: DataFrame, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    def wait(value: int) -> int:
        while not gate.exists():
            time.sleep(0.02)
        return value

    slow = people.withColumn("slow", f.udf(wait, "bigint", useArrow=False)("id"))
    raised: list[BaseException] = []

    def check() -> None:
        try:
            run_checks(slow, [NotNull(("slow", "id")), Unique(("slow",))], previous_rows=None, rows=None)
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=check)
    thread.start()
    while thread.is_alive():
        if spark.sparkContext.statusTracker().getActiveJobsIds():
            spark.sparkContext.cancelAllJobs()
        time.sleep(0.05)
    gate.touch()
    assert len(raised) == 1
    assert is_lost(raised[0])
    passing(people, NotNull(("id",)))
