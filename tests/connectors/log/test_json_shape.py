"""Lines of one shape are read by column as Arrow's own reader reads them, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.connectors.log.json_lines import _read_objects
from millrace.connectors.log.json_shape import read_same_shape

TYPES: dict[str, pa.DataType] = {
    "id": pa.int64(),
    "n": pa.int32(),
    "x": pa.float64(),
    "a": pa.string(),
    "b": pa.string(),
}
SCHEMA = pa.schema(list(TYPES.items()))
LINES = 300
ROWS = [
    {"id": n * 7919 - 50, "n": n % 3 - 1, "a": f"ä {n}" * (n % 4), "other": n, "x": n / 8, "word": "w", "b": ""}
    for n in range(LINES)
]


def lines(rows: list[dict[str, Any]], **style: Any) -> list[str]:
    return [json.dumps(row, ensure_ascii=False, **style) for row in rows]


@pytest.mark.parametrize("style", [{}, {"separators": (",", ":")}, {"separators": (" ,  ", " : ")}])
def test_lines_of_one_shape_are_read_by_column(style: dict[str, Any]) -> None:
    texts = pa.array(["x", *lines(ROWS, **style), "y"]).slice(1, LINES)
    found = read_same_shape(texts, SCHEMA)
    assert found is not None
    assert found.equals(_read_objects(texts, SCHEMA))


def test_what_lines_do_not_have_is_null() -> None:
    texts = pa.array(['{"id": 1}'] * LINES)
    found = read_same_shape(texts, SCHEMA)
    assert found is not None
    assert found.equals(_read_objects(texts, SCHEMA))


@pytest.mark.parametrize(
    "odd",
    [
        '{"id": null}',
        '{"id": true}',
        '{"id": "1"}',
        '{"id": 01}',
        '{"id": -}',
        '{"id": 1.}',
        '{"id": 0x1}',
        '{"id": 1e3}',
        '{"id": 1.5}',
        '{"id": +1}',
        '{"id":  1}',
        '{"id": 1} ',
        '{"id": 99999999999999999999}',
        '{"id": 1, "id": 2}',
        '{"ie": 1}',
        '{"id": 1}}',
        '{"id": {"id": 1}}',
        '{"id": [1]}',
        "{}",
        "",
        "null",
        '{"id": 1, "a": "x"}',
        '{"id": 1, "a": "\\u00e4"}',
    ],
)
@pytest.mark.parametrize("place", [0, 100, LINES - 1])
def test_one_line_of_another_kind_leaves_them_all_to_the_other_reader(odd: str, place: int) -> None:
    texts = ['{"id": 1}'] * LINES
    texts[place] = odd
    assert read_same_shape(pa.array(texts), SCHEMA) is None


@pytest.mark.parametrize(
    "line", ['{"id": 1, "id": 2}', '{"a": "1\\t"}', '{"a": {"b": 1}}', '{"n": 1', "[]", '{"n": "x"}']
)
def test_what_is_no_flat_object_is_left_to_the_other_reader(line: str) -> None:
    assert read_same_shape(pa.array([line] * LINES), SCHEMA) is None


def test_few_lines_and_none_are_left_to_the_other_reader() -> None:
    for texts in ([], ['{"id": 1}'] * 3):
        assert read_same_shape(pa.array(texts, pa.string()), SCHEMA) is None


@pytest.mark.parametrize("line", [0, LINES - 1])
@pytest.mark.parametrize("end", ["", "}"])
def test_a_line_that_was_cut_off_leaves_them_all_to_the_other_reader(line: int, end: str) -> None:
    for style in ({}, {"separators": (" ,  ", "  :  ")}):
        whole = lines([{"id": n, "a": "x", "n": n % 9} for n in range(LINES)], **style)
        for kept in range(len(whole[line]) - 1):
            texts = [*whole[:line], whole[line][:kept] + end, *whole[line + 1 :]]
            found = read_same_shape(pa.array(texts), SCHEMA)
            assert found is None, texts[line]


@settings(max_examples=400)
@given(st.integers(0, LINES - 1), st.integers(0, 200), st.sampled_from('"\\{}[],:.-+eExn019 \t\x01a/'), st.booleans())
def test_a_character_that_is_changed_is_read_as_the_other_reader_does_or_left_to_it(
    line: int, place: int, character: str, inserted: bool
) -> None:
    texts = lines(ROWS)
    text, place = texts[line], place % len(texts[line])
    texts[line] = text[:place] + character + text[place + (not inserted) :]
    found = read_same_shape(pa.array(texts), SCHEMA)
    if found is not None:
        assert found.equals(_read_objects(pa.array(texts), SCHEMA))
