from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from millrace.spec.units import (
    Duration,
    Ratio,
    Size,
    format_duration,
    format_ratio,
    format_size,
    parse_duration,
    parse_ratio,
    parse_size,
)


class Quantities(BaseModel):
    time: Duration = timedelta(0)
    size: Size = 0
    ratio: Ratio = 0.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("30s", timedelta(seconds=30)),
        ("30m", timedelta(minutes=30)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5h", timedelta(minutes=90)),
        ("7d", timedelta(days=7)),
        ("250us", timedelta(microseconds=250)),
        (" 10 m ", timedelta(minutes=10)),
    ],
)
def test_durations_have_a_unit(text: str, value: timedelta) -> None:
    assert parse_duration(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("512B", 512), ("1kB", 1000), ("1KB", 1000), ("1KiB", 1024), ("50MiB", 50 << 20), ("1.5GB", 1_500_000_000)],
)
def test_sizes_with_an_i_are_powers_of_1024(text: str, value: int) -> None:
    assert parse_size(text) == value


@pytest.mark.parametrize(("text", "value"), [("0.1%", 0.001), ("20%", 0.2), ("150 %", 1.5), ("0%", 0.0)])
def test_ratios_are_percentages(text: str, value: float) -> None:
    assert parse_ratio(text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("30 minutes", "did you mean '30m'?"),
        ("5 Sec", "did you mean '5s'?"),
        ("30", "expected a number with a unit"),
        ("", "expected a number with a unit"),
        ("-5m", "bad duration '-5m'"),
        ("5x", "bad duration '5x'"),
        ("4000d", "longer than 3650d"),
        ("0.0000001s", "finer than a microsecond"),
    ],
)
def test_a_bad_duration_says_what_was_meant(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="duration") as caught:
        parse_duration(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("50mib", "did you mean '50MiB'?"),
        ("50mb", "did you mean '50MB'?"),
        ("50M", "did you mean '50MiB'?"),
        ("10 bytes", "did you mean '10B'?"),
        ("lots", "bad size 'lots'"),
        ("0.3B", "not a whole number of bytes"),
        ("99999999TiB", "larger than"),
    ],
)
def test_a_bad_size_says_what_was_meant(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="size") as caught:
        parse_size(text)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["5", "%", "-1%", "0.1 percent"])
def test_a_bad_ratio_shows_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="expected a percentage"):
        parse_ratio(text)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3650)))
def test_durations_round_trip(value: timedelta) -> None:
    assert parse_duration(format_duration(value)) == value


@given(st.integers(min_value=0, max_value=1 << 60))
def test_sizes_round_trip(value: int) -> None:
    assert parse_size(format_size(value)) == value


@given(st.integers(min_value=0, max_value=10**9).map(lambda n: n / 10**7))
def test_ratios_round_trip(value: float) -> None:
    assert parse_ratio(format_ratio(value)) == pytest.approx(value, abs=1e-11)


@given(st.text(max_size=30))
def test_any_text_is_a_quantity_or_a_value_error(text: str) -> None:
    for parse in (parse_duration, parse_size, parse_ratio):
        try:
            assert parse(text) is not None
        except ValueError as error:
            assert text[:5] in str(error)  # noqa: PT017 (the error's text is what is tested)


def test_fields_take_texts_and_plain_numbers_where_those_have_one_meaning() -> None:
    found = Quantities.model_validate({"time": "1h", "size": 1024, "ratio": 0.5})
    assert (found.time, found.size, found.ratio) == (timedelta(hours=1), 1024, 0.5)
    assert found.model_dump(mode="json") == {"time": "1h", "size": "1KiB", "ratio": "50%"}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("time", 30, "has no unit"),
        ("size", -1, "expected a whole number of bytes"),
        ("size", True, "expected a whole number of bytes"),
        ("size", 1.5, "expected a whole number of bytes"),
        ("ratio", 20, "did you mean '20%'?"),
        ("ratio", -0.5, "from 0 to 1"),
        ("ratio", float("nan"), "from 0 to 1"),
        ("ratio", True, "expected a percentage"),
    ],
)
def test_numbers_of_unclear_meaning_are_refused(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValidationError, match="1 validation error") as caught:
        Quantities.model_validate({field: value})
    assert message in str(caught.value)
