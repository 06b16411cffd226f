"""Checks of real Parquet on real Spark, judged by the real Great Expectations."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from millrace.quality import CheckResult, explain, run_checks
from millrace.spec.model import Between, Check, Expectation, InSet, NotNull, RowCount, Severity, Unique

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Staged = Callable[..., "DataFrame"]
REGEX = "expect_column_values_to_match_regex"


@pytest.fixture
def staged(spark: SparkSession, tmp_path: Path) -> Staged:
    """Rows as a stage holds them: Parquet. Values are given as Spark SQL literals, or a whole query."""

    def write(columns: str, *rows: str, query: str = "") -> DataFrame:
        names = ", ".join(f"`{name}`" for name in columns.split("|"))
        source = query or f"select * from values {', '.join(rows)} as staged({names})"
        path = str(tmp_path / f"{len(list(tmp_path.iterdir()))}.parquet")
        spark.sql(source).write.parquet(path)
        return spark.read.parquet(path)

    return write


def results(frame: DataFrame, *checks: Check, previous_rows: int | None = None) -> tuple[CheckResult, ...]:
    return run_checks(frame, checks, previous_rows=previous_rows, rows=None)


def result(frame: DataFrame, check: Check, previous_rows: int | None = None) -> CheckResult:
    (found,) = results(frame, check, previous_rows=previous_rows)
    return found


def verdicts(found: Sequence[CheckResult]) -> dict[str, bool]:
    return {r.check: r.passed for r in found}


def test_each_check_is_judged_by_itself_and_kept_in_order(staged: Staged) -> None:
    frame = staged("id|name|age", "(1L, 'a', 10)", "(2L, null, 200)", "(2L, 'c', null)")
    checks: list[Check] = [
        NotNull(("id", "name")),
        Unique(("id",)),
        Unique(("id", "name")),
        Between("age", 0, 150),
        InSet("name", ("a", "b", "c")),
        RowCount(3, 3, None),
        RowCount(None, 2, None, Severity.WARN),
    ]
    found = results(frame, *checks)
    assert verdicts(found) == {
        "not_null: id": True,
        "not_null: name": False,
        "unique: id": False,
        "unique: [id, name]": True,
        "between: {column: age, min: 0, max: 150}": False,
        "in_set: {column: name, values: [a, b, c]}": True,
        "row_count: {min: 3, max: 3}": True,
        "row_count: {max: 2}": False,
    }
    assert list(verdicts(found)) == [r.check for r in found]
    assert [r.kind for r in found if r.blocks] == ["not_null", "unique", "between"]
    assert all(r.error is None for r in found)


def test_a_failed_check_shows_how_many_rows_failed_and_which(staged: Staged) -> None:
    frame = staged("id|name", "(1L, 'a')", "(2L, null)", "(3L, 'c')", "(4L, null)")
    found = result(frame, NotNull(("name",)))
    assert (found.unexpected_count, found.unexpected_ratio) == (2, 0.5)
    assert found.observed == {"rows": 4, "unexpected": 2}
    assert found.expected == "no nulls"
    assert sorted(row["id"] for row in found.samples) == [2, 4]
    assert all(row.keys() == {"id", "name"} for row in found.samples)


def test_a_masked_column_stays_masked_in_the_samples(staged: Staged) -> None:
    frame = staged("id|email", "(1L, '***')", "(1L, '***')")
    assert [row["email"] for row in result(frame, Unique(("id",))).samples] == ["***", "***"]


def test_samples_are_at_most_twenty_rows_with_long_texts_cut_off(staged: Staged) -> None:
    query = (
        "select id, repeat('ä', 10000) as text, cast(repeat('b', 10000) as binary) as raw, 0 as zero from range(100)"
    )
    frame = staged("", query=query)
    found = results(frame, InSet("zero", (1,)), Unique(("zero",)))
    for failed in found:
        assert failed.unexpected_count == 100
        assert len(failed.samples) == 20
        assert failed.samples[0]["text"] == "ä" * 200 + "…"
        assert failed.samples[0]["raw"].endswith("…")
        assert len(json.dumps(failed.samples)) < 40_000


def test_repeated_rows_are_shown_beside_each_other(staged: Staged) -> None:
    frame = staged("", query="select id div 2 as key, id from range(100) where id not in (7, 9)")
    keys = [row["key"] for row in result(frame, Unique(("key",))).samples]
    assert keys == sorted(keys)
    assert all(keys.count(key) == 2 for key in keys)


def test_samples_and_observed_values_are_json_for_every_type(staged: Staged) -> None:
    query = """select 1L as id, date'2024-02-29' as born, timestamp'2024-01-01 00:00:00+01:00' as seen,
        timestamp_ntz'2024-01-01 00:00:00' as local, cast('12.50' as decimal(10,2)) as price, double('NaN') as score,
        float('-Infinity') as low, X'00FF' as raw, array(1, null) as list, map('k', date'2024-01-01') as lookup,
        named_struct('a', 1, 'b', array('x')) as nested, true as flag, cast(null as string) as nothing"""
    found = results(
        staged("", query=query),
        NotNull(("nothing",)),
        Expectation("expect_column_max_to_be_between", {"column": "born", "max_value": "2023-01-01"}),
    )
    assert json.loads(json.dumps(found[0].samples[0])) == {
        "id": 1,
        "born": "2024-02-29",
        "seen": "2023-12-31T23:00:00+00:00",
        "local": "2024-01-01T00:00:00",
        "price": "12.50",
        "score": "NaN",
        "low": "-Infinity",
        "raw": "base64:AP8=",
        "list": [1, None],
        "lookup": {"k": "2024-01-01"},
        "nested": {"a": 1, "b": ["x"]},
        "flag": True,
        "nothing": None,
    }
    assert found[1].observed == "2024-02-29"
    assert not found[1].passed


def test_an_empty_stage_passes_what_looks_at_rows_and_fails_the_row_count(staged: Staged) -> None:
    frame = staged("", query="select id, string(id) as name from range(0)")
    found = results(
        frame,
        NotNull(("id",)),
        Unique(("id",)),
        Unique(("id", "name")),
        Between("id", 0, 1),
        InSet("name", ("a",)),
        RowCount(1, None, None),
        RowCount(None, None, 0.5),
        previous_rows=10,
    )
    assert [r.passed for r in found] == [True, True, True, True, True, False, False]
    assert [r.observed for r in found[-2:]] == [0, 0]


def test_nulls_pass_every_check_but_not_null(staged: Staged) -> None:
    frame = staged("", query="select cast(null as int) as age, cast(null as string) as city from range(3)")
    found = results(
        frame,
        Unique(("age",)),
        Unique(("age", "city")),
        Between("age", 0, 1),
        InSet("city", ("a",)),
        NotNull(("age",)),
    )
    assert [r.passed for r in found] == [True, True, True, True, False]
    assert found[-1].unexpected_count == 3


def test_nan_is_a_value_that_lies_within_no_bounds(staged: Staged) -> None:
    frame = staged("score|low", "(double('NaN'), float('NaN'))", "(1.5D, float(1.5))", "(double('Infinity'), null)")
    found = results(
        frame,
        NotNull(("score",)),
        Between("score", 0, None),
        Between("score", None, 2),
        Between("low", 0, 2),
        Unique(("score",)),
    )
    assert [r.unexpected_count for r in found] == [0, 1, 2, 1, 0]


@pytest.mark.parametrize(
    ("literal", "check", "passes"),
    [
        ("9007199254740993L", Between("v", None, 9007199254740992), False),
        ("9007199254740993L", InSet("v", (9007199254740992,)), False),
        ("9223372036854775807L", Between("v", 0, 2**70), True),
        ("cast(100 as tinyint)", Between("v", 0, 300), True),
        ("cast('12345678901234567890.12' as decimal(38,2))", Between("v", "12345678901234567890.121", None), False),
        ("cast('0.10' as decimal(10,2))", InSet("v", (0.1,)), True),
        ("cast('0.10' as decimal(10,2))", Between("v", None, "0.099"), False),
        ("cast(0.1 as float)", Between("v", None, 0.1), True),
        ("cast(0.1 as float)", InSet("v", (0.1,)), True),
        ("date'2024-02-29'", Between("v", "2024-02-29", "2024-02-29"), True),
        ("date'2024-02-29'", Between("v", "2024-03-01", None), False),
        ("timestamp'2024-01-01 00:30:00+01:00'", Between("v", None, "2024-01-01T00:30:00+01:00"), True),
        ("timestamp'2024-01-01 00:30:00+01:00'", Between("v", "2024-01-01", None), False),
        ("timestamp_ntz'2024-01-01 00:30:00'", Between("v", "2024-01-01 00:30", None), True),
        ("timestamp_ntz'2024-01-01 00:30:00'", InSet("v", ("2024-01-01T00:30:00",)), True),
        ("'m'", Between("v", "a", "z"), True),
        ("'東京'", InSet("v", ("東京", "京都")), True),
        ("'7'", InSet("v", (7, "x")), True),
        ("true", InSet("v", (False,)), False),
    ],
)
def test_bounds_and_members_compare_exactly_with_every_type(
    staged: Staged, literal: str, check: Check, passes: bool
) -> None:
    found = result(staged("", query=f"select {literal} as v"), check)
    assert (found.passed, found.error) == (passes, None)


@pytest.mark.parametrize("name", ["a.b", "with space", "back`tick", "größe", "*", "count", "a-b", "`q`", "😀"])
def test_a_column_may_have_any_name(staged: Staged, name: str) -> None:
    quoted = "`" + name.replace("`", "``") + "`"
    frame = staged("", query=f"select * from values (1, 'x'), (1, null) as t({quoted}, other)")
    condition = {"row_condition": f"{quoted} > 5", "condition_parser": "spark"}
    found = results(
        frame,
        NotNull((name,)),
        Unique((name,)),
        Unique((name, "other")),
        Between(name, 2, 3),
        InSet(name, (1,)),
        Expectation("expect_column_max_to_be_between", {"column": name, "max_value": 1}),
        Expectation("expect_column_values_to_not_be_null", {"column": "other", **condition}),
        Expectation("expect_table_columns_to_match_set", {"column_set": [name, "other"]}),
        Expectation("expect_table_columns_to_match_ordered_list", {"column_list": ["other", name]}),
    )
    assert [r.passed for r in found] == [True, False, True, False, True, True, True, True, False]
    assert all(r.error is None for r in found)
    assert found[1].samples[0].keys() == {name, "other"}
    assert found[-1].observed == [name, "other"]


def test_a_column_inside_a_struct_can_be_checked(staged: Staged) -> None:
    frame = staged("", query="select named_struct('city', if(id = 1, null, 'x')) as address from range(3)")
    assert result(frame, NotNull(("address.city",))).unexpected_count == 1
    assert result(frame, Unique(("address.city",))).unexpected_count == 2
    assert "no column 'address.town'" in str(result(frame, NotNull(("address.town",))).error)


def test_any_expectation_can_be_asked_by_its_name(staged: Staged) -> None:
    frame = staged("id|city", "(1, 'berlin')", "(2, 'Rome')", "(3, null)")
    query = {"unexpected_rows_query": "select * from {batch} where id > 1"}
    found = results(
        frame,
        Expectation(REGEX, {"column": "city", "regex": "^[a-z]+$"}),
        Expectation(REGEX, {"column": "city", "regex": "^[a-z]+$", "mostly": 0.5}),
        Expectation("expect_column_mean_to_be_between", {"column": "id", "min_value": 2, "max_value": 2}),
        Expectation("unexpected_rows_expectation", query),
    )
    assert [r.passed for r in found] == [False, True, True, False]
    assert [row["city"] for row in found[0].samples] == ["Rome"]
    assert found[1].unexpected_count == 1
    assert found[2].observed == 2.0
    assert sorted(row["id"] for row in found[3].samples) == [2, 3]


def test_the_same_check_twice_has_two_results(staged: Staged) -> None:
    frame = staged("id", "(1)", "(null)")
    found = results(frame, NotNull(("id",)), NotNull(("id",), Severity.WARN))
    assert [(r.passed, r.severity.value) for r in found] == [(False, "block"), (False, "warn")]


@pytest.mark.parametrize(
    ("check", "error"),
    [
        (NotNull(("idd",)), "there is no column 'idd', did you mean 'id'?"),
        (Between("city", 1, 2), "sorts as text"),
        (InSet("id", ("x",)), "values: 'x' is not a number"),
        (Between("tags", 1, 2), "can't be compared with type array<int>"),
        (Expectation(REGEX, {"column": "id", "regexx": "x"}), "unknown argument 'regexx'"),
        (Expectation(REGEX, {"regex": "x"}), "missing required argument 'column'"),
        (Expectation(REGEX, {"column": "city", "regex": "("}), "regex"),
        (Expectation(REGEX, {"column": "tags", "regex": "x"}), "DATATYPE_MISMATCH"),
        (Expectation("expect_column_mean_to_be_between", {"column": "tags", "min_value": 1}), "numeric column type"),
        (Expectation("expect_column_values_to_be_nice", {"column": "id"}), "unknown expectation"),
        (Expectation("expect_column_values_to_be_in_set", {"column": "id", "value_set": [1, None]}), "holds a null"),
        (Expectation("expect_column_values_to_match_like_pattern", {"column": "city", "like_pattern": "a"}), "Spark"),
        (Expectation("expect_table_row_count_to_equal_other_table", {"other_table_name": "x"}), "second data source"),
        (
            Expectation("expect_column_values_to_match_json_schema", {"column": "city", "json_schema": {}}),
            "JSONDecodeError: Expecting value",
        ),
    ],
)
def test_a_check_that_cannot_be_evaluated_fails_with_its_error_and_spares_the_others(
    staged: Staged, check: Check, error: str
) -> None:
    frame = staged("id|city|tags", "(1, 'x', array(1))")
    before, found, after = results(frame, NotNull(("id",)), check, Between("id", 1, 1))
    assert not found.passed
    assert error in str(found.error)
    assert "could not be evaluated" in explain(found)
    assert (before.passed, after.passed) == (True, True)


def test_a_value_that_an_expression_cannot_take_fails_only_its_own_check(staged: Staged) -> None:
    """Found while Spark runs, not while it analyses: the one query of all aggregates breaks."""
    frame = staged("id|number", "(1, '5')", "(2, 'five')")
    condition = {"row_condition": "cast(number as int) > 1", "condition_parser": "spark"}
    found = results(
        frame,
        NotNull(("id",)),
        Expectation("expect_column_values_to_not_be_null", {"column": "id", **condition}),
        Expectation(REGEX, {"column": "number", "regex": "^\\d"}),
        Expectation("expect_column_sum_to_be_between", {"column": "number", "max_value": 9}),
        Unique(("number",)),
    )
    assert [r.passed for r in found] == [True, False, False, False, True]
    assert [bool(r.error) for r in found] == [False, True, False, True, False]
    assert "CAST_INVALID_INPUT" in str(found[1].error)


def test_no_checks_are_no_results(staged: Staged) -> None:
    assert results(staged("id", "(1)")) == ()


def test_the_number_of_rows_may_be_given_or_counted(staged: Staged) -> None:
    frame = staged("id", "(1)", "(2)", "(null)")
    checks: list[Check] = [RowCount(3, 3, None), NotNull(("id",))]
    given = run_checks(frame, checks, previous_rows=None, rows=3)
    assert given == run_checks(frame, checks, previous_rows=None, rows=None)
    conditional: dict[str, Any] = {"row_condition": "id > 1", "condition_parser": "spark"}
    check = Expectation("expect_column_values_to_not_be_null", {"column": "id", **conditional})
    (found,) = run_checks(frame, [check], previous_rows=None, rows=3)
    assert found.observed == {"rows": 1, "unexpected": 0}
