"""Times in fixed layouts: parsed by column, exactly as written or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.connectors.log.time_layout import COMBINED_TIME, compile_layout, layouts_of
from millrace.connectors.log.times import parse_times

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZONES = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_INSTANTS = st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29), timezones=_ZONES)


def instants(texts: Sequence[str], format_: str) -> list[datetime | None]:
    found = parse_times(pa.array(texts, pa.string()), layouts_of(format_))
    us = found.wall_us - found.offset_us
    return [_EPOCH + timedelta(microseconds=int(t)) if ok else None for t, ok in zip(us, found.ok, strict=True)]


@settings(deadline=None)
@given(st.lists(_INSTANTS, min_size=1, max_size=20))
def test_what_strftime_writes_is_read_back(times: list[datetime]) -> None:
    whole_seconds = [t.replace(microsecond=0) for t in times]
    texts = [f"{t.day:02d}/{t:%b}/{t.year:04d}:{t:%H:%M:%S %z}" for t in whole_seconds]
    assert instants(texts, COMBINED_TIME) == whole_seconds


@settings(deadline=None)
@given(st.lists(_INSTANTS, min_size=1, max_size=20), st.sampled_from("T "))
def test_what_isoformat_writes_is_read_back_in_any_mix_of_fractions_and_zones(
    times: list[datetime], between: str
) -> None:
    assert instants([t.isoformat(between) for t in times], "iso") == times


@settings(deadline=None)
@given(st.lists(st.text(alphabet="0123456789-:T Z+.é", max_size=30), max_size=20))
def test_any_text_is_either_a_time_that_python_reads_alike_or_none(texts: list[str]) -> None:
    for text, found in zip(texts, instants(texts, "iso"), strict=True):
        if found is not None:
            expected = datetime.fromisoformat(text)
            assert found == (expected if expected.tzinfo else expected.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-30T00:00:00Z", "2023-02-29T00:00:00Z", "2024-13-01T00:00:00Z", "2024-00-01T00:00:00Z",
        "2024-01-00T00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-01T00:60:00Z", "2024-01-01T00:00:60Z",
        "0000-01-01T00:00:00Z", "2024-01-01", "2024-01-01T00:00", " 2024-01-01T00:00:00Z", "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00.Z", "2024-01-01T00:00:00.1234567890Z", "", "x" * 100,
    ],
)  # fmt: skip
def test_a_time_that_does_not_exist_or_is_written_otherwise_is_refused(text: str) -> None:
    assert instants([text, "2024-01-01T00:00:00Z"], "iso") == [None, datetime(2024, 1, 1, tzinfo=UTC)]


def test_digits_beyond_microseconds_are_cut() -> None:
    assert instants(["2024-01-01T00:00:00.123456789Z"], "iso") == [datetime(2024, 1, 1, 0, 0, 0, 123456, UTC)]


@pytest.mark.parametrize(
    ("text", "format_", "expected"),
    [
        ("[Mon May 05 10:11:12 2025]", "[%a %b %d %H:%M:%S %Y]", datetime(2025, 5, 5, 10, 11, 12, tzinfo=UTC)),
        ("250505 101112", "%y%m%d %H%M%S", datetime(2025, 5, 5, 10, 11, 12, tzinfo=UTC)),
        ("690505", "%y%m%d", datetime(1969, 5, 5, tzinfo=UTC)),
        ("2025-05-05 10:11:12,123", "%Y-%m-%d %T,%f", datetime(2025, 5, 5, 10, 11, 12, 123000, UTC)),
        ("05.MAY.2025 100%", "%d.%b.%Y 100%%", datetime(2025, 5, 5, tzinfo=UTC)),
        ("+0200 | 2025-05-05", "%z | %Y-%m-%d", datetime(2025, 5, 4, 22, tzinfo=UTC)),
    ],
)
def test_formats_are_read_by_their_directives(text: str, format_: str, expected: datetime) -> None:
    assert instants([text], format_) == [expected]


@pytest.mark.parametrize(
    ("format_", "words"),
    [
        ("%Q", "unknown directive '%Q'"), ("%Y-%m-%d %", "unknown directive '%'"), ("%Y %Y %m %d", "%Y twice"),
        ("%H:%M", "no complete date"), ("%Y-%m-%d %z %f", "%f after %z"),
    ],
)  # fmt: skip
def test_a_format_that_cannot_be_read_is_explained(format_: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("%", "%")):
        compile_layout(format_)
