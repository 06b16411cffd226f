"""Delimited lines: a record a line, quoting as in RFC 4180, exactly as many columns as there are."""

from __future__ import annotations

import csv
import io
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.connectors.log.delimited import DelimitedParser, Dialect, split_header
from millrace.connectors.log.options import LogOptions
from millrace.connectors.log.source import LogSource
from millrace.connectors.log.typed import ParsedLines, TypedField
from millrace.spec.types import parse_type

_TEXT = parse_type("string")


def parse(*lines: str, columns: str = "a b", **how: Any) -> ParsedLines:
    dialect = Dialect(tuple(columns.split()), **how)
    fields = [TypedField(name, _TEXT, null=("",)) for name in columns.split()]
    return DelimitedParser(dialect, fields).parse(pa.array(lines, pa.string()))


def rows(*lines: str, **how: Any) -> list[tuple[str | None, ...]]:
    return [tuple(row.values()) for row in parse(*lines, **how).batch.to_pylist()]


def test_quoted_texts_may_hold_the_delimiter_and_quotes() -> None:
    assert rows('"a,b",c', '"say ""hi""",', ',"",') == [("a,b", "c"), ('say "hi"', None)]
    assert rows('"",x') == [("", "x")]


def test_other_delimiters_and_no_quoting() -> None:
    assert rows('"x\ty"', delimiter="\t", quote="") == [('"x', 'y"')]
    assert rows("'a;b';c", delimiter=";", quote="'") == [("a;b", "c")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1", "1 columns, expected 2"), ("1,2,3", "3 columns, expected 2"),
        ('1,"2', 'a " is opened and not closed in the line'), ('x"y,"z', 'a " is opened and not closed in the line'),
    ],
)  # fmt: skip
def test_a_bad_line_is_dirty_and_takes_no_other_line_with_it(line: str, reason: str) -> None:
    parsed = parse("a,b", line, "c,d", '"e","f"')
    assert [tuple(r.values()) for r in parsed.batch.to_pylist()] == [("a", "b"), ("c", "d"), ("e", "f")]
    assert parsed.dirty == [(1, reason)]


_CELLS = st.text(alphabet=st.characters(exclude_characters="\r\n\x00", exclude_categories=["Cs"]), max_size=6)


@settings(deadline=None)
@given(st.lists(st.tuples(_CELLS, _CELLS, _CELLS), min_size=1, max_size=10))
def test_what_a_csv_writer_quotes_is_read_back(cells: list[tuple[str, str, str]]) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(cells)
    assert rows(*out.getvalue().split("\n")[:-1], columns="a b c") == cells


@settings(deadline=None)
@given(st.lists(st.text(alphabet='ab",', min_size=1, max_size=8), max_size=12))
def test_whether_a_line_is_good_does_not_depend_on_its_neighbours(lines: list[str]) -> None:
    together = parse(*lines)
    alone = [parse(line) for line in lines]
    assert together.batch.to_pylist() == [row for one in alone for row in one.batch.to_pylist()]
    assert together.dirty == [(i, reason) for i, one in enumerate(alone) for _, reason in one.dirty]


def test_columns_that_are_no_field_are_left_out_and_types_hold() -> None:
    options = LogOptions.model_validate(
        {"path": "x", "format": "csv", "header": True, "fields": {"n": "int", "b": "string"}}
    )
    parsed = LogSource(options, None).reading(("a", "b", "n")).parser().parse(pa.array(["1,2,3", "1,,x", "1,,"]))
    assert parsed.batch.to_pylist() == [{"n": 3, "b": "2"}, {"n": None, "b": None}]
    assert parsed.dirty == [(1, "n: 'x' is not a valid int")]


def test_a_header_names_each_column_once() -> None:
    assert split_header('id;"full;name"; city', ";", '"') == ("id", "full;name", "city")
    assert split_header("id|x", "|", "") == ("id", "x")
    for bad in ("a,,b", "a,b,a", 'a,"b'):
        with pytest.raises(ValueError, match=r"no name|two columns|unexpected end"):
            split_header(bad, ",", '"')
