"""One line for a person, whatever was found."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.quality import CheckResult, explain
from millrace.quality.wording import check_text, percent, share
from millrace.spec.model import Severity


def failed(check: str, **given: Any) -> CheckResult:
    return CheckResult(check, "expect_…", given.pop("severity", Severity.BLOCK), given.pop("passed", False), **given)


def by_row(check: str, count: int, rows: int, **given: Any) -> CheckResult:
    observed = {"rows": rows, "unexpected": count}
    return failed(check, observed=observed, unexpected_count=count, unexpected_ratio=count / rows, **given)


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (
            by_row("unique: id", 3, 1000, samples=({"id": 7, "city": "são paulo"}, {"id": 7})),
            'unique: id — 3 of 1,000 rows (0.3 %) repeat a value; e.g. {"id": 7, "city": "são paulo"}',
        ),
        (by_row("not_null: id", 1, 3), "not_null: id — 1 of 3 rows (33.3 %) is null"),
        (by_row("not_null: id", 1, 1), "not_null: id — 1 of 1 row (100 %) is null"),
        (
            by_row("between: {column: age, max: 9}", 1, 10_000_000),
            "between: {column: age, max: 9} — 1 of 10,000,000 rows (< 0.001 %) lies outside",
        ),
        (by_row("in_set: {…}", 1999, 2000), "in_set: {…} — 1,999 of 2,000 rows (> 99.9 %) have another value"),
        (by_row("expect_x: {}", 2, 40), "expect_x: {} — 2 of 40 rows (5 %) are not as expected"),
        (
            by_row("unique: id", 2, 40, severity=Severity.WARN, error="the rows can't be read: disk full"),
            "unique: id (a warning) — 2 of 40 rows (5 %) repeat a value; the rows can't be read: disk full",
        ),
        (by_row("not_null: id", 0, 40, passed=True), "not_null: id — passed"),
        (
            by_row("expect_x: {}", 1, 40, passed=True),
            "expect_x: {} — passed, though 1 of 40 rows (2.5 %) is not as expected",
        ),
        (
            failed("row_count: {min: 1000}", observed=700, expected="at least 1,000 rows"),
            "row_count: {min: 1000} — found 700, expected at least 1,000 rows",
        ),
        (failed("row_count: {min: 1}", observed=1_000_000, passed=True), "row_count: {min: 1} — passed with 1,000,000"),
        (failed("expect_x: {}", passed=True), "expect_x: {} — passed"),
        (failed("expect_x: {}"), "expect_x: {} — found otherwise"),
        (
            failed("unique: idd", error="there is no column 'idd', did you mean 'id'?"),
            "unique: idd — could not be evaluated: there is no column 'idd', did you mean 'id'?",
        ),
    ],
)
def test_a_result_is_explained_on_one_line(result: CheckResult, line: str) -> None:
    assert explain(result) == line


def test_a_wide_row_is_cut_off() -> None:
    wide = {f"column_{number}": "x" * 100 for number in range(50)}
    line = explain(by_row("unique: id", 2, 4, samples=(wide,)))
    assert len(line) < 320
    assert line.endswith("…")


def test_only_failures_that_block_block() -> None:
    results = [by_row("a", 1, 2), by_row("b", 1, 2, severity=Severity.WARN), by_row("c", 0, 2, passed=True)]
    assert [r.check for r in results if r.blocks] == ["a"]


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %"), (0.12345, "12.3 %"), (0.0123, "1.2 %"), (0.00001, "0.001 %")],
)
def test_a_share_has_as_many_digits_as_say_something(ratio: float, text: str) -> None:
    assert share(ratio) == text


@pytest.mark.parametrize(("ratio", "text"), [(0.2, "20%"), (0.001, "0.1%"), (1.5, "150%"), (0.0, "0%"), (0.07, "7%")])
def test_a_ratio_is_written_as_in_a_spec(ratio: float, text: str) -> None:
    assert percent(ratio) == text


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("unique", ["id"], "unique: id"),
        ("unique", ["id", "a: b"], "unique: [id, 'a: b']"),
        ("between", {"column": "größe", "min": 0.5}, "between: {column: größe, min: 0.5}"),
        ("expect_x", {"regex": "^[a-z]+$", "many": ["x"] * 3}, "expect_x: {regex: '^[a-z]+$', many: [x, x, x]}"),
    ],
)
def test_a_check_is_written_as_yaml_on_one_line(name: str, arguments: Any, text: str) -> None:
    assert check_text(name, arguments) == text
