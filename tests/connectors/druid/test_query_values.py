"""What Druid's JSON becomes. Against a real Druid, queries are tried with its target."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from millrace.connectors.druid.query import _batch, _row
from millrace.connectors.druid.values import converter
from millrace.spec.types import parse_type


@pytest.mark.parametrize(
    ("type_", "given", "expected"),
    [
        ("boolean", 1, True),
        ("boolean", "false", False),
        ("bigint", 5, 5),
        ("double", Decimal("0.5"), 0.5),
        ("decimal(10,2)", Decimal("1.5"), Decimal("1.50")),
        ("date", "2026-01-31T00:00:00.000Z", date(2026, 1, 31)),
        ("timestamp", "2026-01-31T12:00:00.000Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("timestamp", 1_769_860_800_000_001, datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC)),
        ("struct<a:int>", '{"a":1}', {"a": 1}),
        ("timestamp_ntz", "2026-01-31T12:00:00.000Z", datetime(2026, 1, 31, 12)),
        ("array<string>", '["a","b"]', ["a", "b"]),
        ("array<string>", ["a", None], ["a", None]),
        ("array<string>", "a", ["a"]),
    ],
)
def test_values_are_those_of_the_columns_type(type_: str, given: Any, expected: Any) -> None:
    type_of = parse_type(type_)
    row = _row([given, None], [converter(type_of)] * 2)
    assert row == (expected, None)
    assert _batch([row], ["a", "b"], [type_of] * 2)["a"].to_pylist() == [expected]
