"""Columns of any name, under names that an expression can hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millrace.quality.names import PlainNames

NAMES = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=6, unique_by=str.lower)


@given(NAMES)
def test_every_column_has_one_plain_name_and_gets_its_own_back(columns: list[str]) -> None:
    names = PlainNames.of(columns)
    plain = names.columns(columns)
    assert len({name.lower() for name in plain}) == len(columns)
    assert all("." not in name and "`" not in name for name in plain)
    assert names.in_row(dict.fromkeys(plain)) == dict.fromkeys(columns)
    assert names.in_value([plain]) == [columns]


def test_plain_names_are_left_alone() -> None:
    names = PlainNames.of(["id", "with space", "größe", "a-b"])
    assert names.plain == {}
    assert names.arguments({"column": "id"}) == {"column": "id"}
    assert names.in_text("millrace_column_0") == "millrace_column_0"


def test_a_plain_name_is_not_one_that_another_column_has() -> None:
    names = PlainNames.of(["a.b", "MILLRACE_COLUMN_0"])
    assert names.columns(["a.b", "MILLRACE_COLUMN_0"]) == ["millrace_column_0_", "MILLRACE_COLUMN_0"]


def test_arguments_name_columns_plainly_wherever_they_stand() -> None:
    names = PlainNames.of(["a.b", "c`d"])
    given = {
        "column_list": ["a.b", "x"],
        "column_A": "c`d",
        "value_set": ["a.b"],
        "row_condition": "`a.b` > 1 and `c``d` = 'a.b'",
    }
    assert names.arguments(given) == {
        "column_list": ["millrace_column_0", "x"],
        "column_A": "millrace_column_1",
        "value_set": ["a.b"],
        "row_condition": "`millrace_column_0` > 1 and `millrace_column_1` = 'a.b'",
    }


def test_an_error_speaks_of_the_columns_own_name_and_rows_keep_their_values() -> None:
    names = PlainNames.of([f"c.{number}" for number in range(12)])
    assert names.in_text("no `millrace_column_11`, but millrace_column_1") == "no `c.11`, but c.1"
    assert names.in_row({"millrace_column_0": "millrace_column_1"}) == {"c.0": "millrace_column_1"}
