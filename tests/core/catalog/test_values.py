"""JSON, times and free text come back from the catalog as what was put in."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.catalog import json_text
from millrace.catalog.clock import from_epoch_us, to_epoch_us
from millrace.catalog.columns import storable

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Colour(Enum):
    RED = "red"


@given(JSON)
def test_json_is_plain_ascii_and_comes_back_unchanged(value: Any) -> None:
    text = json_text.dumps(value)
    assert text.isascii()
    assert "\0" not in text
    assert json_text.loads(text) == value


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
        (Decimal("1.10"), "1.10"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (timedelta(minutes=1), 60.0),
        (b"\xff\x00", "/wA="),
        (Colour.RED, "red"),
        ({Colour.RED: (1, {2})}, {"red": [1, [2]]}),
    ],
)
def test_what_json_lacks_is_written_in_a_documented_way(value: Any, kept: Any) -> None:
    assert json.loads(json_text.dumps(value)) == kept


def test_a_value_that_json_cannot_hold_is_named_with_its_place() -> None:
    with pytest.raises(TypeError, match=r"\$\.rows\[1\] holds a object"):
        json_text.dumps({"rows": [1, object()]})


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))])))
def test_a_time_keeps_its_microseconds_and_comes_back_in_utc(moment: datetime) -> None:
    found = from_epoch_us(to_epoch_us(moment))
    assert found == moment
    assert found.tzinfo is UTC


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        to_epoch_us(datetime(2026, 1, 1))


@given(st.text(st.characters(exclude_categories=()), max_size=20))
def test_any_text_can_be_stored(text: str) -> None:
    found = storable(text)
    found.encode("utf-8")
    assert "\0" not in found
