"""JSON lines: one object a line, of the declared types, exactly."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.connectors.log.options import LogOptions
from millrace.connectors.log.source import LogSource
from millrace.connectors.log.typed import ParsedLines

_FIELDS = {
    "id": "bigint",
    "name": "string",
    "score": "double",
    "ok": "boolean",
    "tags": "array<string>",
    "at": {"type": "timestamp"},
    "ms": {"type": "timestamp", "format": "epoch_ms"},
    "cost": "decimal(10,2)",
    "who": "struct<first:string,age:int>",
    "day": "date",
}


def parse(*lines: str) -> ParsedLines:
    options = LogOptions.model_validate({"path": "x", "format": "json", "fields": _FIELDS})
    return LogSource(options, None).reading().parser().parse(pa.array(lines, pa.string()))


def test_a_number_that_is_no_time_is_shown_as_it_stood_there() -> None:
    assert [reason for _, reason in parse('{"ms": 999999999999999999}').dirty] == [
        "ms: '999999999999999999' is not a valid timestamp written as epoch_ms"
    ]


def row(**values: Any) -> dict[str, Any]:
    return {**dict.fromkeys(_FIELDS), **values}


def test_an_object_is_a_row() -> None:
    line = (
        '{"id": 1, "name": "å\\u00e5", "score": 1, "ok": true, "tags": ["a", null], "at": "2024-01-01T00:00:00+01:00",'
        ' "ms": 1431857103123, "cost": 1.5, "who": {"first": "x", "other": 1}, "day": "2024-02-29", "unknown": [{}]}'
    )
    assert parse(line).batch.to_pylist() == [
        row(
            id=1,
            name="åå",
            score=1.0,
            ok=True,
            tags=["a", None],
            at=datetime(2023, 12, 31, 23, tzinfo=UTC),
            ms=datetime(2015, 5, 17, 10, 5, 3, 123000, UTC),
            cost=Decimal("1.50"),
            who={"first": "x", "age": None},
            day=datetime(2024, 2, 29).date(),
        )
    ]


def test_missing_and_null_fields_are_null() -> None:
    assert parse("{}", '{"id": null, "tags": null}', '  {"id": 1}\t').batch.to_pylist() == [row(), row(), row(id=1)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("null", "the line is not a JSON object"),
        ("5", "the line is not a JSON object"),
        ("[1]", "the line is not a JSON object"),
        ('{"id": 1', "the line is not a JSON object"),
        ('{"id": 1} {"id": 2}', "more than one JSON value in the line"),
        ('{"id": 1.0}', "id: 1.0 is not a valid bigint"),
        ('{"id": "1"}', "id: changed from number to string"),
        ('{"id": true}', "id: changed from number to boolean"),
        ('{"id": 9223372036854775808}', "is not a valid bigint"),
        ('{"name": 5}', "name: changed from string to number"),
        ('{"id": 1, "id": 2}', "id: was specified twice"),
        ('{"cost": 1.234}', "cost: 1.234 is not a valid decimal(10,2)"),
        ('{"tags": [1]}', "tags/[]: changed"),
        ('{"at": "yesterday"}', "at: 'yesterday' is not a valid timestamp written as iso"),
        ('{"who": {"age": "x"}}', "who/age: changed from number to string"),
        ('{"id": NaN}', "is not a valid bigint"),
        ('{"ok": 1}', "ok: changed from boolean to number"),
        ("{'id': 1}", "Missing a name for object member"),
        ('{"name": "\\ud800"}', "surrogate"),
        ('{"id": 1,}', "Missing a name for object member"),
    ],
)
def test_a_bad_line_is_dirty_and_says_why_and_its_neighbours_are_good(line: str, reason: str) -> None:
    parsed = parse('{"id": 1}', line, '{"id": 2}')
    assert [r["id"] for r in parsed.batch.to_pylist()] == [1, 2]
    assert [number for number, _ in parsed.dirty] == [1]
    assert reason in parsed.dirty[0][1]


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=3),
    st.lists(st.one_of(st.none(), st.text(max_size=2), st.integers()), max_size=2),
    st.dictionaries(
        st.sampled_from(["first", "age", "x"]), st.one_of(st.text(max_size=2), st.integers(-5, 5)), max_size=2
    ),
)
_OBJECTS = st.dictionaries(st.sampled_from([*_FIELDS, "other"]), _VALUES, max_size=4).map(json.dumps)
_BROKEN = st.tuples(_OBJECTS, st.integers(0, 60), st.sampled_from('{}[]",:x')).map(
    lambda t: t[0][: t[1]] + t[2] + t[0][t[1] :]
)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.one_of(_OBJECTS, _BROKEN, st.just('{"id": 7}')), max_size=12))
def test_whether_a_line_is_good_does_not_depend_on_its_neighbours(lines: list[str]) -> None:
    together = parse(*lines)
    alone = [parse(line) for line in lines]
    assert together.batch.to_pylist() == [row for one in alone for row in one.batch.to_pylist()]
    assert [number for number, _ in together.dirty] == [i for i, one in enumerate(alone) if one.dirty]


def test_many_bad_lines_among_many_good_ones_are_found() -> None:
    lines = [f'{{"id": {i if i % 7 else "1.5"}}}' for i in range(3_000)]
    parsed = parse(*lines)
    assert [r["id"] for r in parsed.batch.to_pylist()] == [i for i in range(3_000) if i % 7]
    assert [number for number, _ in parsed.dirty] == list(range(0, 3_000, 7))
