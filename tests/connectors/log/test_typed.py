"""Texts become typed columns; what isn't of the type is dirty and never a guess."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.connectors.log.typed import TypedField, convert
from millrace.spec.types import parse_type


def typed(type_: str, texts: Sequence[str | None], **how: Any) -> list[Any]:
    """The values; "dirty" where the text was refused."""
    found = convert(pa.array(texts, pa.string()), TypedField("x", parse_type(type_), **how))
    values = found.values.to_pylist()
    return values if found.bad is None else ["dirty" if b else v for v, b in zip(values, found.bad, strict=True)]


@pytest.mark.parametrize(
    ("type_", "texts", "expected"),
    [
        ("bigint", ["1", "-9223372036854775808", "", None], [1, -(2**63), None, None]),
        ("bigint", ["9223372036854775808", "1.0", " 1", "1 ", "+1", "0x10", "1e3", "abc"], ["dirty"] * 8),
        ("tinyint", ["127", "128"], [127, "dirty"]),
        ("double", ["1.5", "-1e300", "inf", "x", "1e999", "1,5"], [1.5, -1e300, float("inf"), *["dirty"] * 3]),
        ("float", ["1e39"], ["dirty"]),
        ("decimal(6,2)", ["1234.5", "1234.567", "12345"], [Decimal("1234.50"), "dirty", "dirty"]),
        ("boolean", ["true", "False", "1", "0", "yes"], [True, False, True, False, "dirty"]),
        (
            "date",
            ["2024-02-29", "2023-02-29", "0001-01-01", "1969-12-31", ""],
            [date(2024, 2, 29), "dirty", date(1, 1, 1), date(1969, 12, 31), None],
        ),
        ("string", ["", "x", None], ["", "x", None]),
        ("binary", ["é"], ["é".encode()]),
    ],
)
def test_each_type_takes_its_own_texts_and_refuses_others(type_: str, texts: list[str], expected: list[Any]) -> None:
    assert typed(type_, texts) == expected


def test_null_texts_are_null_in_every_type() -> None:
    assert typed("bigint", ["-", "N/A", "1"], null=("-", "N/A")) == [None, None, 1]
    assert typed("string", ["-", ""], null=("-",)) == [None, ""]


def test_a_time_without_a_zone_is_in_the_declared_one() -> None:
    texts = ["2024-07-01T12:00:00", "2024-01-01T12:00:00", "2024-01-01T12:00:00Z"]
    expected = [datetime(2024, 7, 1, 10), datetime(2024, 1, 1, 11), datetime(2024, 1, 1, 12)]
    assert typed("timestamp", texts, format="iso", zone="Europe/Berlin") == [t.replace(tzinfo=UTC) for t in expected]


def test_an_hour_that_comes_twice_is_the_earlier_and_one_that_is_left_out_the_later() -> None:
    texts = ["2024-10-27T02:30:00", "2024-03-31T02:30:00"]
    expected = [datetime(2024, 10, 27, 0, 30, tzinfo=UTC), datetime(2024, 3, 31, 1, 0, tzinfo=UTC)]
    assert typed("timestamp", texts, format="iso", zone="Europe/Berlin") == expected


def test_a_wall_clock_time_keeps_its_digits_whatever_zone_it_names() -> None:
    assert typed("timestamp_ntz", ["2024-01-01T12:00:00+02:00"], format="iso") == [datetime(2024, 1, 1, 12)]


@pytest.mark.parametrize(
    ("format_", "text", "us"),
    [
        ("epoch", "1431857103.123456", 123456),
        ("epoch_ms", "1431857103123.456", 123456),
        ("epoch_us", "1431857103123456", 123456),
        ("epoch", "1431857103", 0),
        ("epoch", "-1.5", None),
    ],
)
def test_numbers_since_1970_are_instants(format_: str, text: str, us: int | None) -> None:
    expected = (
        datetime(1969, 12, 31, 23, 59, 58, 500000, UTC) if us is None else datetime(2015, 5, 17, 10, 5, 3, us, UTC)
    )
    assert typed("timestamp", [text], format=format_) == [expected]


def test_a_number_that_is_no_time_is_dirty() -> None:
    assert typed("timestamp", ["x", "99999999999999", ""], format="epoch") == ["dirty", "dirty", None]


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers().map(str), st.text(max_size=5)), max_size=60))
def test_a_text_is_an_integer_or_dirty_whatever_stands_around_it(texts: list[str]) -> None:
    together = typed("bigint", texts)
    assert together == [typed("bigint", [text])[0] for text in texts]
