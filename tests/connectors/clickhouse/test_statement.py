"""Statements are told apart, and their FORMAT and data are found, as ClickHouse's own parser finds them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.connectors.clickhouse.server.statement import Kind, StatementError, parse


@pytest.mark.parametrize(
    ("text", "head", "form", "tail"),
    [
        ("select 1", "select 1", "", ""),
        ("select 1 ;\n", "select 1", "", ""),
        ("SELECT 1 FORMAT JSON", "SELECT 1 ", "JSON", ""),
        ("select 1 format TSV settings max_threads = 1", "select 1 ", "TSV", " settings max_threads = 1"),
        ("select 'a; format b' -- format CSV\n", "select 'a; format b'", "", ""),
        ("select `a`` format x`, \"format y\"", "select `a`` format x`, \"format y\"", "", ""),
        ("/* format */ # format X\n(select 1) union all (select 2) format Native",
         "/* format */ # format X\n(select 1) union all (select 2) ", "Native", ""),
        ("select format from t", "select format from t", "", ""),
        ("select $q$ ; format CSV $q$", "select $q$ ; format CSV $q$", "", ""),
        ("show tables", "show tables", "", ""),
        ("with 1 as x select x format CSV", "with 1 as x select x ", "CSV", ""),
    ],
)  # fmt: skip
def test_a_query_is_split_at_its_format(text: str, head: str, form: str, tail: str) -> None:
    found = parse(text)
    assert (found.kind, found.head, found.format, found.tail) == (Kind.OUTPUT, head, form, tail)


@pytest.mark.parametrize(
    ("text", "head", "form", "data"),
    [
        ("insert into t format CSV\n1,2", "insert into t ", "CSV", "1,2"),
        ("INSERT INTO t (a, b) FORMAT Native\n\x00;\xff", "INSERT INTO t (a, b) ", "Native", "\x00;\xff"),
        ("insert into t format CSV \t\r\n;select 1", "insert into t ", "CSV", ";select 1"),
        ("insert into t values (1, 'x'); (2)", "insert into t ", "Values", " (1, 'x'); (2)"),
        ("insert into t format Values (1)", "insert into t ", "Values", " (1)"),
        ("insert into `format x` format TSV\n", "insert into `format x` ", "TSV", ""),
    ],
)
def test_an_insert_is_split_from_its_data(text: str, head: str, form: str, data: str) -> None:
    found = parse(text)
    assert (found.kind, found.head, found.format, text[found.data_at :]) == (Kind.INSERT, head, form, data)


def test_the_settings_of_an_insert_stand_apart() -> None:
    found = parse("insert into t (a) settings a = 1, b = 'x' format TSV\n1")
    assert (found.head, found.tail, found.format) == ("insert into t (a) ", "settings a = 1, b = 'x' ", "TSV")


@pytest.mark.parametrize(
    "text",
    [
        "insert into t select 1",
        "insert into t select 1 format CSV",
        "with 1 as x insert into t select x",
        "create table t (format Int8, values Int8) engine = Memory",
        "use x",
        "set a = 'b;c'",
    ],
)
def test_anything_else_is_run_as_it_stands(text: str) -> None:
    found = parse(text)
    assert (found.kind, found.head) == (Kind.COMMAND, text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "Empty query"),
        ("-- nothing\n;", "Empty query"),
        ("select 1; select 2", "Multi-statements are not allowed"),
        ("select 1; drop table t", "Multi-statements are not allowed"),
        ("select 1 into outfile '/tmp/x'", "INTO OUTFILE is not allowed"),
        ("insert into t select * from input('a Int8') format CSV\n1", "can't run INSERT … SELECT … FROM input"),
    ],
)
def test_what_can_not_be_run_over_http_is_refused(text: str, problem: str) -> None:
    with pytest.raises(StatementError, match=problem):
        parse(text)


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    with contextlib.suppress(StatementError):
        parse(text)


@given(st.binary(max_size=200), st.sampled_from(["Native", "CSV", "ArrowStream"]))
def test_data_behind_an_insert_is_never_looked_into(data: bytes, form: str) -> None:
    text = f"INSERT INTO `a;b` (`format c`) FORMAT {form}\n".encode() + data
    found = parse(text.decode("latin-1"))
    assert found.format == form
    assert text[found.data_at :] == data


@given(st.text(), st.sampled_from("'`\""))
def test_quoted_text_hides_what_is_in_it(text: str, mark: str) -> None:
    escaped = text.replace("\\", "\\\\").replace(mark, "\\" + mark)
    query = f"select {mark}{escaped} ; format CSV {mark}"
    assert parse(query).head == query
