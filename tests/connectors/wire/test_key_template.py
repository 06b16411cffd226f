from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from millrace.connectors.wire.key_template import KeyTemplate, render_template
from millrace.connectors.wire.text import text_of
from millrace.spec.types import parse_type
from tests.connectors.wire.cases import TEXT, Table, cells_of, record_batch, tables

SEPARATORS = st.sampled_from([":", "/", "|", "{", "}:", "·", "::", "_", ".x."])


@st.composite
def templates(draw: st.DrawFn, names: list[str]) -> KeyTemplate:
    usable = [name for name in names if not set(name) & set("{}!:[].")]
    assume(usable)
    used = draw(st.lists(st.sampled_from(usable), min_size=1, max_size=4))
    parts = [draw(TEXT)]
    for place, _ in enumerate(used):
        parts.append(draw(SEPARATORS) if place < len(used) - 1 else draw(TEXT))
    plain = [part.replace("{", "{{").replace("}", "}}") for part in parts]
    return KeyTemplate.parse(plain[0] + "".join(f"{{{n}}}{after}" for n, after in zip(used, plain[1:], strict=True)))


@given(tables(key_kinds=True), st.data())
@settings(max_examples=400)
def test_a_readers_key_is_byte_for_byte_the_loaders(table: Table, data: st.DataObject) -> None:
    template = data.draw(templates([field.name for field in table.fields]))
    types = {field.name: field.column.type for field in table.fields}

    keys = template.render(table.batch, types)

    for place, (key, row) in enumerate(zip(keys.values.to_pylist(), table.rows, strict=True)):
        parts = {name: row[name] for name in template.columns}
        if None in parts.values():
            assert key is None
            assert "the key can't be made from a null" in keys.refused[place]
        else:
            assert key == template.fill(types, parts) == template.fill(types, list(parts.values()))
            assert template.parts(key) == {name: text_of(types[name], value) for name, value in parts.items()}
            assert place not in keys.refused


@given(st.lists(st.tuples(TEXT, TEXT), min_size=2, max_size=2, unique=True), SEPARATORS)
def test_different_values_never_share_a_key(pairs: list[tuple[str, str]], separator: str) -> None:
    template = KeyTemplate.parse("{a}" + separator.replace("{", "{{").replace("}", "}}") + "{b}")
    first, second = zip(*pairs, strict=True)
    keys = cells_of(template.render(record_batch({"a": pa.array(first), "b": pa.array(second)})).values)
    assert keys[0] != keys[1]


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("{id}", b"7"),
        ("{city}:{id}", b"a%3Ab%25:7"),
        ("user:{city}", b"user:a:b%"),
        ("{{{city}}}/{{}}/{id}", b"{a:b%25%7D}/{}/7"),
        ("{id}:{id}", b"7:7"),
    ],
)
def test_templates_write_keys_as_documented(template: str, key: bytes) -> None:
    batch = record_batch({"city": ["a:b%"], "id": pa.array([7], pa.int32())})
    if template.startswith("{{{"):
        batch = record_batch({"city": ["a:b%}"], "id": pa.array([7], pa.int32())})
    assert cells_of(render_template(template, batch).values) == [key]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no column"),
        ("abc", "names no column"),
        ("{{id}}", "names no column"),
        ("{}", "expected column names in braces"),
        ("{id!r}", "expected column names in braces"),
        ("{id:03d}", "expected column names in braces"),
        ("{id", "a plain brace is written twice"),
        ("{a}{b}", "there must be text"),
        ("{a}x{b}", "there must be text"),
        ("{a}-{b}", "there must be text"),
    ],
)
def test_a_bad_template_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KeyTemplate.parse(text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1], "needs a, b; got 1: 1"),
        ([1, "x", 2], "needs a, b; got 3"),
        ({"a": 1, "c": 2}, "needs a, b; got 2: a, c"),
        ({"a": None, "b": "x"}, "column 'a': None is not a int"),
        (["x", "y"], "column 'a': 'x' is not a int"),
    ],
)
def test_a_readers_mistake_names_the_column(values: Any, message: str) -> None:
    types = {"a": parse_type("int"), "b": parse_type("string")}
    with pytest.raises(ValueError, match=message):
        KeyTemplate.parse("{a}:{b}").fill(types, values)


@pytest.mark.parametrize(("type_", "message"), [("double", "no single text"), ("array<int>", "no single text")])
def test_a_type_without_a_single_text_is_refused(type_: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KeyTemplate.parse("{a}").check({"a": parse_type(type_)})


def test_an_unknown_column_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="unknown column 'b'; there are a"):
        render_template("{b}", record_batch({"a": [1]}))
