from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.spec.types import Column, DataType, Kind, column, parse_type

NESTED = {Kind.ARRAY, Kind.MAP, Kind.STRUCT, Kind.DECIMAL}
simple = st.sampled_from([kind for kind in Kind if kind not in NESTED]).map(DataType)
decimals = st.integers(1, 38).flatmap(
    lambda precision: st.integers(0, precision).map(lambda scale: DataType(Kind.DECIMAL, precision, scale))
)
names = st.text("abcdefgh_", min_size=1, max_size=5)
types: st.SearchStrategy[DataType] = st.recursive(
    simple | decimals,
    lambda inner: st.one_of(
        inner.map(lambda t: DataType(Kind.ARRAY, fields=(Column("element", t),))),
        st.tuples(inner, inner).map(lambda p: DataType(Kind.MAP, fields=(Column("key", p[0]), Column("value", p[1])))),
        st.lists(st.builds(Column, names, inner), min_size=1, max_size=3).map(
            lambda fields: DataType(Kind.STRUCT, fields=tuple(fields))
        ),
    ),
    max_leaves=8,
)


@given(types)
def test_types_round_trip_through_their_text(type_: DataType) -> None:
    assert parse_type(str(type_)) == type_


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("LONG", "bigint"),
        ("Integer", "int"),
        ("text", "string"),
        ("decimal", "decimal(10,0)"),
        ("numeric( 20 , 2 )", "decimal(20,2)"),
        ("array< map<string, int> >", "array<map<string,int>>"),
        ("struct<a: int, b: struct<c: string>>", "struct<a:int,b:struct<c:string>>"),
        ("timestamp_ltz", "timestamp"),
    ],
)
def test_other_spellings_are_understood(text: str, canonical: str) -> None:
    assert str(parse_type(text)) == canonical


WRONG = [
    "",
    "itn",
    "array",
    "array<int",
    "map<int>",
    "struct<a int>",
    "int)",
    "decimal(0)",
    "decimal(10,11)",
    "int int",
]


@pytest.mark.parametrize("text", WRONG)
def test_anything_else_is_an_error_that_names_the_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"unknown type|bad decimal") as caught:
        parse_type(text)
    assert f"'{text}'" in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_a_type_or_a_value_error(text: str) -> None:
    try:
        parse_type(text)
    except ValueError:
        return


def test_a_column_is_its_name_and_type() -> None:
    assert str(column("age", "integer")) == "age int"
