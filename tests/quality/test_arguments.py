"""What Great Expectations would refuse is known before a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from millrace.quality import validate_arguments
from millrace.spec.diagnostics import Problem
from millrace.spec.expectations import expectations
from millrace.spec.model import Between, Expectation, NotNull

REGEX = "expect_column_values_to_match_regex"
#: A value for each required argument; an expectation that can't be asked of Spark says so before it looks at them.
VALUES: Mapping[str, Any] = {
    "column": "id",
    "column_A": "id",
    "column_B": "age",
    "column_list": ["id", "age"],
    "double_sided": True,
    "json_schema": {"type": "object"},
    "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, 3]]},
    "regex": "x",
    "regex_list": ["x"],
    "strftime_format": "%Y",
    "sum_total": 5,
    "threshold": 3,
    "type_": "LongType",
    "unexpected_rows_query": "select * from {batch}",
    "value": 3,
    "value_pairs_set": [[1, 5]],
    "value_set": [1, 2],
}
BOUNDED = {"min_value": 0, "max_value": 3}
NEEDED: Mapping[str, Mapping[str, Any]] = {
    REGEX: {"regex": "x"},
    "expect_column_values_to_be_in_type_list": {"type_list": ["LongType"]},
    "expect_column_values_to_not_be_outliers": {"method": "iqr", "multiplier": 1.5},
    "expect_table_columns_to_match_ordered_list": {"column_list": ["id"]},
    "expect_table_columns_to_match_set": {"column_set": ["id"]},
}
NOT_ON_SPARK = {
    "expect_column_values_to_be_dateutil_parseable",
    "expect_column_values_to_match_like_pattern",
    "expect_column_values_to_match_like_pattern_list",
    "expect_column_values_to_not_match_like_pattern",
    "expect_column_values_to_not_match_like_pattern_list",
    "expect_query_results_to_match_comparison",
    "expect_table_row_count_to_equal_other_table",
}


def plausible(name: str) -> Expectation:
    """An expectation with arguments that it takes."""
    signature = expectations()[name]
    arguments = {**{key: VALUES.get(key, "x") for key in signature.required}, **NEEDED.get(name, {})}
    return Expectation(name, {**arguments, **BOUNDED} if "min_value" in signature.optional else arguments)


@pytest.mark.parametrize("name", sorted(set(expectations()) - NOT_ON_SPARK))
def test_sound_arguments_of_every_expectation_pass(name: str) -> None:
    assert validate_arguments(plausible(name)) == ()


@pytest.mark.parametrize("name", sorted(NOT_ON_SPARK))
def test_an_expectation_that_a_run_cannot_evaluate_is_refused(name: str) -> None:
    (problem,) = validate_arguments(plausible(name))
    assert problem.path == (name,)
    assert "on Spark" in problem.message or "second data source" in problem.message


@pytest.mark.parametrize(
    ("name", "arguments", "path", "message"),
    [
        (
            REGEX,
            {"column": "c", "regexx": "x"},
            (REGEX, "regexx"),
            "unknown argument 'regexx' of {}, did you mean 'regex'?",
        ),
        (
            REGEX,
            {"column": "c", "result_format": "BASIC"},
            (REGEX, "result_format"),
            "unknown argument 'result_format'",
        ),
        (REGEX, {"regex": "x"}, (REGEX,), "missing required argument 'column' of {}"),
        (REGEX, {"column": 3, "regex": "x"}, (REGEX, "column"), "argument 'column' of {}: str type expected"),
        (REGEX, {"column": "c", "regex": "x", "mostly": 2}, (REGEX, "mostly"), "less than or equal to 1"),
        ("expect_column_values_to_be_between", {"column": "c"}, ("{}",), "min_value and max_value cannot both be None"),
        ("expect_column_values_to_be_nise", {"column": "c"}, ("{}",), "unknown expectation"),
        (
            "expect_column_values_to_be_in_set",
            {"column": "c", "value_set": [None]},
            ("{}", "value_set"),
            "holds a null",
        ),
        (
            "unexpected_rows_expectation",
            {"unexpected_rows_query": "select 1"},
            ("{}", "unexpected_rows_query"),
            "{batch}",
        ),
    ],
)
def test_a_wrong_argument_is_named_with_its_place_in_the_check(
    name: str, arguments: dict[str, Any], path: tuple[str, ...], message: str
) -> None:
    (problem,) = validate_arguments(Expectation(name, arguments))
    assert problem.path == tuple(name if part == "{}" else part for part in path)
    assert message.replace("{}", name) in problem.message


def test_all_wrong_arguments_are_reported_at_once() -> None:
    found = validate_arguments(Expectation(REGEX, {"column": 3, "mostly": "most", "colum": "c"}))
    assert sorted(str(p.path[-1]) for p in found) == ["colum", "column", "mostly"]
    assert all(isinstance(p, Problem) for p in found)


def test_the_specs_own_checks_have_no_arguments_of_great_expectations() -> None:
    assert validate_arguments(NotNull(("id",))) == ()
    assert validate_arguments(Between("id", "x", None)) == ()
