"""From a spec's checks to Great Expectations' expectations. Pure: that library is not imported here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from millrace.quality.drift import Bounds
from millrace.quality.drift import bounds as bounds_of
from millrace.quality.literals import NUMERIC, bounds, literals
from millrace.quality.wording import check_text, flow, listed, percent
from millrace.spec.diagnostics import did_you_mean, shown
from millrace.spec.expectations import COLUMN_ARGUMENTS
from millrace.spec.model import (
    Between,
    Check,
    Drift,
    Expectation,
    Fresh,
    InSet,
    JsonValue,
    Measure,
    NotNull,
    RowCount,
    Severity,
    Unique,
)
from millrace.spec.types import DataType, Kind
from millrace.spec.units import format_duration

WITHIN = "expect_column_values_to_be_within"
ONE_OF = "expect_column_values_to_be_one_of"
_MAY_BE_ABSENT = frozenset({"expect_column_to_exist", "expect_table_columns_to_match_ordered_list"})
_SET_ARGUMENT = "value_set"
LATEST = "expect_column_latest_to_be_after"
_TIMES = frozenset({Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMP_NTZ})
_MEASURED: Mapping[Measure, str] = {
    Measure.ROW_COUNT: "expect_table_row_count_to_be_between",
    Measure.NULL_SHARE: "expect_column_proportion_of_non_null_values_to_be_between",
    Measure.MEAN: "expect_column_mean_to_be_between",
    Measure.DISTINCT: "expect_column_about_distinct_to_be_between",
}
_UNBOUNDED = 1e300


@dataclass(frozen=True)
class PlannedExpectation:
    """One expectation to ask Great Expectations for: its snake_case type and arguments.

    `check` is the check in the spec's words and `expected` what passes, for a person. With a `problem` it can't be
    asked, and counts as failed. `measure` names what is compared with earlier versions, and the column.
    """

    check: str
    type: str
    arguments: Mapping[str, JsonValue]
    severity: Severity
    expected: str = ""
    problem: str | None = None
    measure: tuple[str, str] | None = None


@dataclass(frozen=True)
class Past:
    """What data may be compared with: the rows of the current version (None: there is none), the measures of earlier
    versions (by the measure's name, the column and how many versions, the newest first), and the time it is taken at.
    """

    rows: int | None = None
    measures: Callable[[str, str, int], Sequence[float]] = lambda *_: ()
    now: datetime | None = None


def to_expectations(
    checks: Sequence[Check], columns: Mapping[str, DataType | None], past: Past
) -> tuple[PlannedExpectation, ...]:
    """The expectations of `checks`, in their order; `not_null` gives one for each column, `row_count` up to two.

    `columns` are those of the data, with None for a type outside our vocabulary. A check by a query is no expectation,
    and gives none. Nothing is raised: what can't be asked carries its `problem`.
    """
    return tuple(planned for check in checks for planned in _planned(check, columns, past))


def _planned(check: Check, columns: Mapping[str, DataType | None], past: Past) -> Iterator[PlannedExpectation]:
    match check:
        case NotNull():
            for column in check.columns:
                yield _not_null(column, check.severity, columns)
        case Unique():
            yield _unique(check, columns)
        case Between():
            yield _between(check, columns)
        case InSet():
            yield _in_set(check, columns)
        case RowCount():
            yield from _row_count(check, past.rows)
        case Fresh():
            yield _fresh(check, columns, past.now or datetime.now(UTC))
        case Drift():
            for column in check.columns or ("",):
                yield _drift(check, column, columns, past)
        case Expectation():
            yield _named(check, columns)


def _not_null(column: str, severity: Severity, columns: Mapping[str, DataType | None]) -> PlannedExpectation:
    return PlannedExpectation(
        check=check_text("not_null", column),
        type="expect_column_values_to_not_be_null",
        arguments={"column": column},
        severity=severity,
        expected="no nulls",
        problem=_absent([column], columns),
    )


def _unique(check: Unique, columns: Mapping[str, DataType | None]) -> PlannedExpectation:
    names = list(check.columns)
    alone = len(names) == 1
    return PlannedExpectation(
        check=check_text("unique", names),
        type="expect_column_values_to_be_unique" if alone else "expect_compound_columns_to_be_unique",
        arguments={"column": names[0]} if alone else {"column_list": names},
        severity=check.severity,
        expected=f"no two rows with the same {', '.join(names)}",
        problem=_absent(names, columns),
    )


def _between(check: Between, columns: Mapping[str, DataType | None]) -> PlannedExpectation:
    given = {name: value for name, value in (("min", check.min), ("max", check.max)) if value is not None}
    arguments: Mapping[str, JsonValue] = {"column": check.column}
    problem = _absent([check.column], columns)
    if problem is None:
        try:
            lower, upper, compared_as = bounds(check.min, check.max, columns[check.column])
        except ValueError as error:
            problem = str(error)
        else:
            arguments = {"column": check.column, "lower": lower, "upper": upper, "compared_as": compared_as}
    return PlannedExpectation(
        check=check_text("between", {"column": check.column, **given}),
        type=WITHIN,
        arguments=arguments,
        severity=check.severity,
        expected=_interval(check),
        problem=problem,
    )


def _interval(check: Between) -> str:
    if check.min is None:
        return f"{check.column} ≤ {check.max}"
    if check.max is None:
        return f"{check.column} ≥ {check.min}"
    return f"{check.min} ≤ {check.column} ≤ {check.max}"


def _in_set(check: InSet, columns: Mapping[str, DataType | None]) -> PlannedExpectation:
    arguments: Mapping[str, JsonValue] = {"column": check.column}
    problem = _absent([check.column], columns)
    if problem is None:
        try:
            members = literals(check.values, columns[check.column])
        except ValueError as error:
            problem = f"values: {error}"
        else:
            arguments = {
                "column": check.column,
                "members": list(members.texts),
                "compared_as": members.compared_as,
            }
    return PlannedExpectation(
        check=check_text("in_set", {"column": check.column, "values": list(check.values)}),
        type=ONE_OF,
        arguments=arguments,
        severity=check.severity,
        expected=f"{check.column} in {listed(check.values)}",
        problem=problem,
    )


def _row_count(check: RowCount, previous_rows: int | None) -> Iterator[PlannedExpectation]:
    """`min` and `max` as one expectation, `change` as another: they fail for different reasons."""
    given = {name: value for name, value in (("min", check.min), ("max", check.max)) if value is not None}
    if given:
        yield _row_count_between(check_text("row_count", given), check.severity, check.min, check.max, "")
    if check.change is None:
        return
    text = check_text("row_count", {"change": percent(check.change)})
    if not previous_rows:
        state = "there is no current version" if previous_rows is None else "the current version is empty, so nothing"
        yield _row_count_between(text, check.severity, 0, None, f"any number: {state} to compare with")
        return
    change = Fraction(repr(check.change))
    least = max(0, math.ceil(previous_rows * (1 - change)))
    most = math.floor(previous_rows * (1 + change))
    why = f"{least:,} to {most:,} rows: within {percent(check.change)} of the current version's {previous_rows:,}"
    yield _row_count_between(text, check.severity, least, most, why)


def _row_count_between(
    text: str, severity: Severity, least: int | None, most: int | None, expected: str
) -> PlannedExpectation:
    if not expected:
        sides = (("at least", least), ("at most", most))
        expected = " and ".join(f"{words} {rows:,}" for words, rows in sides if rows is not None) + " rows"
    return PlannedExpectation(
        check=text,
        type="expect_table_row_count_to_be_between",
        arguments={"min_value": least, "max_value": most},
        severity=severity,
        expected=expected,
    )


def _fresh(check: Fresh, columns: Mapping[str, DataType | None], now: datetime) -> PlannedExpectation:
    least = f"{now - check.within:%Y-%m-%dT%H:%M:%SZ}"
    problem = _absent([check.column], columns)
    type_ = columns.get(check.column)
    if problem is None and (type_ is None or type_.kind not in _TIMES):
        problem = f"'{shown(check.column)}' is a {type_ or 'type'} that is no date or time: cast it first"
    return PlannedExpectation(
        check=check_text("fresh", {"column": check.column, "within": format_duration(check.within)}),
        type=LATEST,
        arguments={"column": check.column, "min_value": least},
        severity=check.severity,
        expected=f"{check.column} up to {least} or later",
        problem=problem,
    )


def _drift(check: Drift, column: str, columns: Mapping[str, DataType | None], past: Past) -> PlannedExpectation:
    named = {"columns": column} if column else {}
    tolerance = {"ratio": percent(check.ratio)} if check.ratio is not None else {"deviations": _plain(check.deviations)}
    found = bounds_of(check, past.measures(check.measure.value, column, check.versions))
    problem = _absent([column], columns) if column else None
    if problem is None and check.measure is Measure.MEAN and _kind(columns, column) not in NUMERIC:
        problem = f"'{shown(column)}' is no number, so it has no mean"
    return PlannedExpectation(
        check=check_text("drift", {"measure": check.measure.value, **named, **tolerance}),
        type=_MEASURED[check.measure],
        arguments={**({"column": column} if column else {}), **_drift_bounds(check.measure, found)},
        severity=check.severity,
        expected=found.expected,
        problem=problem,
        measure=(check.measure.value, column),
    )


def _plain(value: float | None) -> float | None:
    return int(value) if value is not None and value.is_integer() else value


def _drift_bounds(measure: Measure, found: Bounds) -> dict[str, float]:
    low = -_UNBOUNDED if found.low is None else found.low
    high = _UNBOUNDED if found.high is None else found.high
    match measure:
        case Measure.ROW_COUNT | Measure.DISTINCT:
            return {"min_value": max(0, math.ceil(low)), "max_value": max(0, math.floor(high))}
        case Measure.NULL_SHARE:  # it is asked for as the share of values that are not null
            return {"min_value": min(1.0, max(0.0, 1 - high)), "max_value": max(0.0, min(1.0, 1 - low))}
        case Measure.MEAN:
            return {"min_value": low, "max_value": high}


def _kind(columns: Mapping[str, DataType | None], name: str) -> Kind | None:
    type_ = columns.get(name)
    return type_.kind if type_ else None


def _named(check: Expectation, columns: Mapping[str, DataType | None]) -> PlannedExpectation:
    about = () if check.name in _MAY_BE_ABSENT else COLUMN_ARGUMENTS
    rest = {key: value for key, value in check.arguments.items() if key not in about}
    return PlannedExpectation(
        check=check_text(check.name, dict(check.arguments)),
        type=check.name,
        arguments=dict(check.arguments),
        severity=check.severity,
        expected=flow(rest)[1:-1] if rest else "",
        problem=_absent_arguments(check, columns) or null_member(check),
    )


def null_member(check: Expectation) -> str | None:
    """Why this set can't be asked for: SQL's `IN` with a null in it is never false, so every value would pass."""
    members = check.arguments.get(_SET_ARGUMENT)
    if isinstance(members, list | tuple) and None in members:
        return f"{_SET_ARGUMENT} holds a null, with which every value would pass: take it out (nulls pass anyway)"
    return None


def _absent_arguments(check: Expectation, columns: Mapping[str, DataType | None]) -> str | None:
    if check.name in _MAY_BE_ABSENT:
        return None
    names: list[Any] = []
    for key in COLUMN_ARGUMENTS:
        value = check.arguments.get(key)
        names += value if isinstance(value, list | tuple) else [value] if value is not None else []
    return _absent([str(name) for name in names], columns)


def _absent(names: Sequence[str], columns: Mapping[str, DataType | None]) -> str | None:
    """The message for the first column that isn't there. A dotted path may lead into a struct."""
    for name in names:
        if not _has(name, columns):
            return f"there is no column '{shown(name)}'{did_you_mean(name, columns)}"
    return None


def _has(name: str, columns: Mapping[str, DataType | None]) -> bool:
    if name in columns:
        return True
    first, dot, rest = name.partition(".")
    type_ = columns.get(first)
    if not dot or type_ is None or type_.kind is not Kind.STRUCT:
        return False
    return _has(rest, {field.name: field.type for field in type_.fields})
