"""Keys of many at once are those of each alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.connectors.base import Field, Version
from millrace.connectors.redis.layout import Manifest
from millrace.connectors.redis.options import RedisOptions
from millrace.connectors.redis.values import (
    key_maker,
    keys_maker,
    number_keys_maker,
    text_key_maker,
    text_keys_maker,
)
from millrace.spec.types import column

NUMBERS = st.one_of(
    st.integers(),
    st.integers(0, 99),
    st.integers(0, 10**10).map(str),
    st.text("0123456789-+ .\x00²", max_size=4),
    st.booleans(),
    st.floats(),
    st.none(),
)
KEYS = st.one_of(
    st.lists(st.integers(0, 10**6), max_size=8),
    st.lists(st.integers(0, 10**6).map(str), max_size=8),
    st.lists(st.text(max_size=3), max_size=4),
    st.lists(NUMBERS, max_size=4),
)


def outcome(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except ValueError:
        return ValueError


@pytest.mark.parametrize("type_", ["bigint", "int", "string", "date"])
@pytest.mark.parametrize("template", ["{id}", "user/{id}/profile"])
@given(keys=KEYS)
def test_keys_are_made_for_many_as_for_one(type_: str, template: str, keys: list[Any]) -> None:
    options = RedisOptions.model_validate({"connection": "c", "key": template})
    manifest = Manifest.of(Version("users", "01abc", (Field(column("id", type_), 1),)), options)
    one, many = key_maker(manifest), keys_maker(manifest)
    alone = outcome(lambda: [one(key) for key in keys])
    assert outcome(lambda: many(keys)) == alone
    assert outcome(lambda: many(tuple(keys))) == alone


TEXTS = st.one_of(
    st.lists(st.integers(0, 10**10).map(b"%d".__mod__), max_size=8),
    st.lists(st.text("0123456789,-+", max_size=4).map(str.encode), max_size=8),
    st.lists(st.binary(max_size=4), max_size=4),
)


@pytest.mark.parametrize("type_", ["bigint", "int", "string", "date"])
@pytest.mark.parametrize("template", ["{id}", "user/{id}/profile", "a,b/{id}"])
@given(texts=TEXTS)
def test_keys_of_texts_are_made_for_many_as_for_one(type_: str, template: str, texts: list[bytes]) -> None:
    options = RedisOptions.model_validate({"connection": "c", "key": template})
    manifest = Manifest.of(Version("users", "01abc", (Field(column("id", type_), 1),)), options)
    one, many = text_key_maker(manifest), text_keys_maker(manifest)
    assert outcome(lambda: many(texts)) == outcome(lambda: [one(text) for text in texts])


@pytest.mark.parametrize("type_", ["bigint", "int"])
@pytest.mark.parametrize("template", ["{id}", "user/{id}/profile"])
@given(numbers=st.lists(st.integers(0, 10**9 - 1), min_size=1, max_size=8))
def test_keys_of_numbers_between_commas_are_theirs(type_: str, template: str, numbers: list[int]) -> None:
    options = RedisOptions.model_validate({"connection": "c", "key": template})
    manifest = Manifest.of(Version("users", "01abc", (Field(column("id", type_), 1),)), options)
    make = number_keys_maker(manifest)
    assert make is not None
    assert make(",".join(map(str, numbers)).encode()) == [key_maker(manifest)(number) for number in numbers]
