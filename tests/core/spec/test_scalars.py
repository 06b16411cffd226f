from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.spec.scalars import ScalarError, interpolate, read_plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("FALSE", False),
        ("0", 0),
        ("-17", -17),
        ("+3", 3),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-2.5E-1", -0.25),
    ],
)
def test_plain_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    found = read_plain(text)
    assert found == value
    assert type(found) is type(value)


NOT_NUMBERS = """no yes on off No y n 12:30 190:20:30 2026-01-31 2026-01-31T10:00:00Z 1_000 30m 50MiB 0.1%
1.2.3 - + . .. 1e 0b1 = < ١٢"""


@pytest.mark.parametrize("text", NOT_NUMBERS.split())
def test_what_yaml_1_1_turns_into_something_else_stays_text(text: str) -> None:
    assert read_plain(text) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0123", "write '0123' in quotes as text, or 123"),
        ("-007", "can't start with 0"),
        ("00", "in quotes as text, or 0"),
        (".inf", "infinity and NaN"),
        ("-.INF", "infinity and NaN"),
        (".nan", "infinity and NaN"),
        ("1" * 50, "more than 40 digits"),
        ("1e999", "too large"),
    ],
)
def test_numbers_that_mean_two_things_or_nothing_are_refused(text: str, message: str) -> None:
    with pytest.raises(ScalarError) as caught:
        read_plain(text)
    assert message in str(caught.value)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = read_plain(text)
    except ScalarError:
        return
    assert found is None or isinstance(found, bool | int | float | str)


@given(st.integers(min_value=-(10**30), max_value=10**30))
def test_integers_round_trip(value: int) -> None:
    assert read_plain(str(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_round_trip(value: float) -> None:
    assert read_plain(repr(value)) == value


def test_variables_are_filled_in_with_their_value_or_their_default() -> None:
    env = {"HOST": "h1", "EMPTY": ""}
    assert interpolate("${HOST}/${PATH_:-/tmp/x}/${EMPTY:-e}/${EMPTY}/${NONE:-}", env) == "h1//tmp/x/e//"


def test_what_looks_like_no_variable_stays() -> None:
    assert interpolate("^[a-z]+$ $HOST $$ {x}", {}) == "^[a-z]+$ $HOST $$ {x}"
    assert interpolate("$${HOST}", {"HOST": "h"}) == "${HOST}"


def test_a_value_is_not_looked_at_again() -> None:
    assert interpolate("${A}", {"A": "${B}", "B": "x"}) == "${B}"


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        ("a ${MISSING} b", "the environment variable MISSING is not set", 2),
        ("${", "expected ${NAME}", 0),
        ("ab${not closed", "expected ${NAME}", 2),
        ("${1}", "expected ${NAME}", 0),
        ("${A:default}", "expected ${NAME}", 0),
    ],
)
def test_a_variable_that_cant_be_filled_in_says_where(text: str, message: str, offset: int) -> None:
    with pytest.raises(ScalarError) as caught:
        interpolate(text, {})
    assert message in str(caught.value)
    assert caught.value.offset == offset
