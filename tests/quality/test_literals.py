"""Bounds and members of a spec become texts that Spark casts without loss, or a clear refusal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.quality.literals import bounds, literals
from millrace.spec.types import parse_type


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_bigint_is_kept_exactly(value: int) -> None:
    found = literals([value], parse_type("bigint"))
    assert (int(found.texts[0]), found.compared_as) == (value, "bigint")


@given(st.decimals(min_value=-(10**20), max_value=10**20, places=10))
def test_every_decimal_is_kept_exactly_and_compared_with_the_columns_own_scale(value: Decimal) -> None:
    found = literals([str(value)], parse_type("decimal(38,10)"))
    assert Decimal(found.texts[0]) == value
    scale = parse_type(found.compared_as)
    assert scale.scale == 10
    assert value.copy_abs() < 10 ** (scale.precision - scale.scale)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_is_read_back_as_itself(value: float) -> None:
    assert float(literals([value], parse_type("double")).texts[0]) == value


@given(st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29)), st.integers(-14, 14))
def test_an_instant_is_the_same_in_every_zone(wall_clock: datetime, hours: int) -> None:
    written = wall_clock.replace(tzinfo=timezone(timedelta(hours=hours)))
    found = literals([written.isoformat()], parse_type("timestamp")).texts[0]
    assert datetime.fromisoformat(found) == written


def test_a_time_without_a_zone_is_in_utc() -> None:
    found = literals(["2024-01-31", "2024-01-31 12:30", "2024-01-31T12:30:00Z"], parse_type("timestamp"))
    assert found.texts == (
        "2024-01-31 00:00:00+00:00",
        "2024-01-31 12:30:00+00:00",
        "2024-01-31 12:30:00+00:00",
    )
    assert datetime.fromisoformat(found.texts[0]).tzinfo == UTC


@pytest.mark.parametrize(
    ("values", "type_", "texts", "compared_as"),
    [
        ([1, "2", 3.0], "int", ("1", "2", "3"), "bigint"),
        ([300], "tinyint", ("300",), "bigint"),
        ([2**70], "bigint", (str(2**70),), "decimal(22,0)"),
        ([0.1, 2], "float", ("0.1", "2"), "float"),
        ([0.1, "17.25"], "decimal(12,2)", ("0.1", "17.25"), "decimal(4,2)"),
        ([1e20], "decimal(38,0)", ("100000000000000000000",), "decimal(21,0)"),
        (["0", 0.5], "decimal(38,38)", ("0", "0.5"), "decimal(38,38)"),
        (["a", 7], "string", ("a", "7"), "string"),
        (["größe", "東京", "😀"], "string", ("größe", "東京", "😀"), "string"),
        ([True, False], "boolean", ("true", "false"), "boolean"),
        (["2024-02-29"], "date", ("2024-02-29",), "date"),
        (["2024-01-31T12:30:00.5"], "timestamp_ntz", ("2024-01-31 12:30:00.500000",), "timestamp_ntz"),
    ],
)
def test_values_are_written_as_the_columns_type_reads_them(
    values: list[Any], type_: str, texts: tuple[str, ...], compared_as: str
) -> None:
    found = literals(values, parse_type(type_))
    assert (found.texts, found.compared_as) == (texts, compared_as)


@pytest.mark.parametrize(
    ("value", "type_", "message"),
    [
        ("ten", "int", "'ten' is not a number"),
        (1.5, "int", "1.5 is not a whole number"),
        (True, "int", "true is not a number"),
        (float("inf"), "double", "not a finite number"),
        (float("nan"), "double", "not a finite number"),
        ("NaN", "decimal(10,2)", "not a finite number"),
        (10**40, "decimal(38,0)", "more than the 38"),
        ("0.105", "decimal(12,2)", "more than the 2 decimals"),
        (1.1, "string", "write it in quotes"),
        (False, "string", "write it in quotes"),
        ("yes", "boolean", "neither true nor false"),
        (1, "boolean", "neither true nor false"),
        ("yesterday", "date", "write it like 2024-01-31"),
        ("2024-01-31T10:00:00", "date", "write it like 2024-01-31"),
        ("31.01.2024", "timestamp", "write it like 2024-01-31T12:00:00Z"),
        ("2024-01-31T10:00:00Z", "timestamp_ntz", "has a zone"),
        ("x", "binary", "can't be compared"),
        ("x", "array<string>", "can't be compared"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_what_to_write(value: Any, type_: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        literals([value], parse_type(type_))


def test_a_type_that_millrace_has_no_name_for_is_refused() -> None:
    with pytest.raises(ValueError, match="can't be compared"):
        literals([1], None)


@given(st.fractions(-1000, 1000).map(float), st.integers(-1001, 1001))
def test_a_fractional_bound_of_whole_numbers_admits_the_same_values(bound: float, value: int) -> None:
    lower, _, _ = bounds(bound, None, parse_type("int"))
    _, upper, _ = bounds(None, bound, parse_type("int"))
    assert lower is not None
    assert upper is not None
    assert (value >= int(lower)) == (value >= bound)
    assert (value <= int(upper)) == (value <= bound)


@given(st.decimals(-1000, 1000, places=4), st.integers(-100100, 100100))
def test_a_bound_with_more_decimals_than_the_column_admits_the_same_values(bound: Decimal, cents: int) -> None:
    lower, _, compared_as = bounds(str(bound), None, parse_type("decimal(38,2)"))
    _, upper, _ = bounds(None, str(bound), parse_type("decimal(38,2)"))
    value = Decimal(cents).scaleb(-2)
    assert lower is not None
    assert upper is not None
    assert (value >= Decimal(lower)) == (value >= bound)
    assert (value <= Decimal(upper)) == (value <= bound)
    assert parse_type(compared_as).scale == 2


def test_bounds_with_no_whole_number_between_them_are_kept_for_the_data_to_show() -> None:
    assert bounds(0.2, 0.8, parse_type("int")) == ("1", "0", "bigint")


@pytest.mark.parametrize(
    ("lower", "upper", "type_", "message"),
    [
        (150, 0, "int", r"min \(150\) is above max \(0\)"),
        ("9", "10", "string", "is above max"),
        ("2024-02-01", "2024-01-01", "date", "is above max"),
        ("2024-01-01T00:00:00-05:00", "2024-01-01T04:00:00Z", "timestamp", "is above max"),
        (None, "soon", "date", "max: 'soon' is not a date"),
        ("soon", None, "timestamp", "min: 'soon' is not a time"),
        (0, 150, "string", "sorts as text"),
        (False, True, "boolean", "use in_set"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(lower: Any, upper: Any, type_: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bounds(lower, upper, parse_type(type_))
