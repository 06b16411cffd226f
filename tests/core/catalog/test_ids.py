"""Ids of runs and versions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.catalog.ids import ALPHABET, LENGTH, SUFFIXES, new_id

MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2059, 10, 1), timezones=st.just(UTC))
SUFFIX = st.integers(0, SUFFIXES - 1)


@given(MOMENTS, SUFFIX)
def test_an_id_is_ten_characters_of_a_safe_alphabet(moment: datetime, suffix: int) -> None:
    found = new_id(moment, suffix)
    assert len(found) == LENGTH
    assert set(found) <= set(ALPHABET)


@given(MOMENTS, SUFFIX, MOMENTS, SUFFIX)
def test_ids_sort_by_time_and_then_by_suffix(a: datetime, x: int, b: datetime, y: int) -> None:
    def in_millis(moment: datetime, suffix: int) -> tuple[int, int]:
        return (moment - datetime(2025, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1), suffix

    assert (new_id(a, x) < new_id(b, y)) == (in_millis(a, x) < in_millis(b, y))


def test_the_suffix_is_random_when_none_is_given() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert len({new_id(moment) for _ in range(200)}) > 100


def test_an_id_is_written_as_documented() -> None:
    assert new_id(datetime(2025, 1, 1, tzinfo=UTC), 0) == "0000000000"
    assert new_id(datetime(2025, 1, 1, 0, 0, 0, 33_000, tzinfo=UTC), 34) == "0000001112"


@pytest.mark.parametrize("moment", [datetime(2024, 12, 31, tzinfo=UTC), datetime(2060, 1, 1, tzinfo=UTC)])
def test_a_clock_that_is_far_off_is_refused(moment: datetime) -> None:
    with pytest.raises(ValueError, match="the clock says"):
        new_id(moment)


def test_a_suffix_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="suffix 1024"):
        new_id(datetime(2026, 1, 1, tzinfo=UTC), SUFFIXES)
