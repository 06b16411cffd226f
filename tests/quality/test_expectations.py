"""From checks to expectations, compared with a golden file that a person has read."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.quality import Past, PlannedExpectation, to_expectations
from millrace.spec.model import Between, Check, Expectation, InSet, NotNull, RowCount, Severity, Unique
from millrace.spec.types import DataType, parse_type

GOLDEN = Path(__file__).parent / "golden" / "expectations.json"

COLUMNS: dict[str, DataType | None] = {
    "id": parse_type("bigint"),
    "name": parse_type("string"),
    "größe in m": parse_type("double"),
    "a.b": parse_type("int"),
    "price": parse_type("decimal(12,2)"),
    "born": parse_type("date"),
    "seen": parse_type("timestamp"),
    "flag": parse_type("boolean"),
    "address": parse_type("struct<city:string,geo:struct<lat:double>>"),
    "odd": None,
}
CHECKS: tuple[Check, ...] = (
    NotNull(("id", "größe in m")),
    NotNull(("nmae",), Severity.WARN),
    Unique(("id",)),
    Unique(("name", "a.b")),
    Unique(("id", "b")),
    Between("a.b", 0, 150),
    Between("a.b", 0.5, None),
    Between("größe in m", 0.1, 2.5, Severity.WARN),
    Between("price", 0, "99.999"),
    Between("born", None, "2024-02-29"),
    Between("seen", "2024-01-01T02:00:00+02:00", "2024-12-31"),
    Between("name", "a", "m"),
    Between("name", 1, 2),
    Between("born", "soon", None),
    Between("odd", 1, 2),
    InSet("name", ("berlin", "são paulo", 7)),
    InSet("name", ("a", True)),
    InSet("flag", (True,)),
    InSet("price", (0.1, 5)),
    RowCount(1000, None, None),
    RowCount(None, 5_000_000, None),
    RowCount(1, 2_000, 0.2, Severity.WARN),
    Expectation("expect_column_values_to_match_regex", {"column": "name", "regex": "^[a-z]+$", "mostly": 0.99}),
    Expectation("expect_column_values_to_be_in_set", {"column": "name", "value_set": ["a", None]}),
    Expectation("expect_column_values_to_not_be_null", {"column": "address.geo.lat"}),
    Expectation("expect_column_values_to_not_be_null", {"column": "address.geo.lon"}),
    Expectation("expect_column_pair_values_to_be_equal", {"column_A": "id", "column_B": "idd"}),
    Expectation("expect_compound_columns_to_be_unique", {"column_list": ["id", "nmae"]}),
    Expectation("expect_column_to_exist", {"column": "nmae"}),
    Expectation("expect_table_columns_to_match_ordered_list", {"column_list": ["id", "nmae"]}),
    Expectation("unexpected_rows_expectation", {"unexpected_rows_query": "select * from {batch} where id < 0"}),
)


def as_golden(planned: tuple[PlannedExpectation, ...]) -> list[dict[str, object]]:
    return [{k: v for k, v in dataclasses.asdict(p).items() if v not in (None, "")} for p in planned]


def test_every_check_becomes_the_expectations_of_the_golden_file() -> None:
    """After a wanted change: write `as_golden(…)` to the file, and read the difference."""
    found = as_golden(to_expectations(CHECKS, COLUMNS, Past(1500)))
    assert found == json.loads(GOLDEN.read_text(encoding="utf-8"))


def one(check: Check, *, previous_rows: int | None = None) -> PlannedExpectation:
    (planned,) = to_expectations([check], COLUMNS, Past(previous_rows))
    return planned


@pytest.mark.parametrize(
    ("previous", "change", "least", "most"),
    [
        (1000, 0.2, 800, 1200),
        (1000, 0.0, 1000, 1000),
        (3, 0.2, 3, 3),
        (7, 0.5, 4, 10),
        (10, 1.5, 0, 25),
        (1000, 0.29, 710, 1290),
        (10**15, 0.001, 999 * 10**12, 1001 * 10**12),
    ],
)
def test_the_change_of_rows_is_exact(previous: int, change: float, least: int, most: int) -> None:
    planned = one(RowCount(None, None, change), previous_rows=previous)
    assert planned.arguments == {"min_value": least, "max_value": most}


@given(st.integers(1, 10**12), st.integers(0, 200))
def test_the_same_number_of_rows_is_never_too_much_of_a_change(previous: int, percent: int) -> None:
    planned = one(RowCount(None, None, percent / 100), previous_rows=previous)
    assert planned.arguments["min_value"] <= previous <= planned.arguments["max_value"]


@pytest.mark.parametrize(
    ("previous", "expected"),
    [
        (None, "any number: there is no current version to compare with"),
        (0, "any number: the current version is empty, so nothing to compare with"),
    ],
)
def test_without_rows_to_compare_with_any_change_passes_and_says_why(previous: int | None, expected: str) -> None:
    planned = one(RowCount(None, None, 0.1), previous_rows=previous)
    assert planned.arguments == {"min_value": 0, "max_value": None}
    assert planned.expected == expected


def test_no_checks_are_no_expectations() -> None:
    assert to_expectations([], COLUMNS, Past()) == ()


def test_importing_the_gate_loads_no_driver() -> None:
    code = """
import sys, millrace.quality
heavy = {"great_expectations", "pyspark", "pandas", "numpy", "scipy", "pyarrow"} & set(sys.modules)
sys.exit(f"loaded {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
