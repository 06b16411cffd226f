"""Protobuf field numbers stay with a name and type for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.catalog.fields import assign
from millrace.catalog.model import AssetField
from millrace.errors import SpecError
from millrace.spec.types import Column, column
from tests.core.catalog.life import Life

NAMES = st.sampled_from(["id", "name", "Name", "größe", "a b", "a b "])
TYPES = st.sampled_from(["int", "bigint", "string", "decimal(20,0)", "array<string>"])
COLUMNS = st.lists(st.builds(column, NAMES, TYPES), max_size=6, unique_by=lambda c: c.name)


@given(st.lists(COLUMNS, max_size=8))
def test_a_number_is_given_to_one_name_and_type_and_never_to_another(history: list[list[Column]]) -> None:
    known: tuple[AssetField, ...] = ()
    given_ever: dict[int, tuple[str, str]] = {}
    for columns in history:
        fields = assign(known, columns)
        assert [(f.name, f.type) for f in fields] == [(c.name, str(c.type)) for c in columns]
        assert [f.column for f in fields] == columns
        for f in fields:
            assert given_ever.setdefault(f.number, (f.name, f.type)) == (f.name, f.type)
        known += tuple(f for f in fields if f not in known)
    assert len({(f.name, f.type) for f in known}) == len({f.number for f in known}) == len(known)


def test_a_column_that_comes_back_has_its_old_number_and_one_of_another_type_a_new_one() -> None:
    first = assign((), [column("id", "int"), column("age", "int")])
    without = assign(first, [column("id", "int"), column("city", "string")])
    known = (*first, without[1])
    assert [f.number for f in assign(known, [column("age", "int"), column("city", "string")])] == [2, 3]
    assert [f.number for f in assign(known, [column("age", "string"), column("id", "int")])] == [4, 1]


def test_numbers_that_protobuf_keeps_for_itself_are_left_out() -> None:
    before = (AssetField("last", "int", 18_999),)
    assert assign(before, [column("next", "int")])[0].number == 20_000


def test_running_out_of_numbers_and_doubled_names_are_refused() -> None:
    with pytest.raises(SpecError, match="every Protobuf field number"):
        assign((AssetField("last", "int", 2**29 - 1),), [column("next", "int")])
    with pytest.raises(SpecError, match="'id' stands there twice"):
        assign((), [column("id", "int"), column("id", "string")])


def test_the_catalog_keeps_the_numbers_of_an_asset_over_its_versions(life: Life) -> None:
    first = life.prepare([column("id", "int"), column("gone", "string")]).version
    life.clock.advance(100)
    second = life.prepare([column("new", "string"), column("id", "int"), column("gone", "int")]).version
    assert [(f.name, f.number) for f in first.fields] == [("id", 1), ("gone", 2)]
    assert [(f.name, f.number) for f in second.fields] == [("new", 3), ("id", 1), ("gone", 4)]
    assert [f.number for f in life.catalog.assets.fields(life.asset)] == [1, 2, 3, 4]


def test_names_that_differ_only_in_case_or_in_a_trailing_space_have_numbers_of_their_own(life: Life) -> None:
    version = life.prepare([column("a", "int"), column("A", "int"), column("a ", "int")]).version
    assert [f.number for f in version.fields] == [1, 2, 3]
