"""Values as JSON that a person can read and a machine can keep."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.quality.samples import MAX_TEXT, as_json


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (2**80, 2**80),
        (0.1, 0.1),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0.10"), "0.10"),
        ("x" * 201, "x" * 200 + "…"),
        (b"\x00\xff", "base64:AP8="),
        (bytearray(b"a" * 300), "base64:" + "YWFh" * 66 + "YWE=" + "…"),
        (date(2024, 2, 29), "2024-02-29"),
        (datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1))), "2023-12-31T23:00:00+00:00"),
        (datetime(2024, 1, 1, 12, 30, 0, 5), "2024-01-01T12:30:00.000005"),
        (time(12, 30), "12:30:00"),
        (timedelta(days=1, seconds=1), "1 day, 0:00:01"),
        ({date(2024, 1, 1): (1, {2})}, {"2024-01-01": [1, [2]]}),
        (complex(1, 2), "(1+2j)"),
    ],
)
def test_a_value_is_exact_where_json_can_be_and_readable_where_it_cannot(value: Any, expected: Any) -> None:
    assert as_json(value) == expected


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals() | st.dates()
VALUES = st.recursive(
    SCALARS | st.datetimes(timezones=st.just(UTC)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(VALUES)
def test_whatever_spark_gives_becomes_strict_json(value: Any) -> None:
    json.dumps(as_json(value), allow_nan=False)


@given(st.text(min_size=MAX_TEXT + 1))
def test_no_text_is_long(text: str) -> None:
    assert as_json(text) == text[:MAX_TEXT] + "…"
