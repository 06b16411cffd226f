from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.spec.sql import Output, SqlError, Star, parse_expression, parse_query
from millrace.spec.types import parse_type


def names(text: str) -> list[str]:
    return [reference.name for reference in parse_expression(text).references]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("age >= 0", ["age"]),
        ("floor(age / 10) * 10", ["age"]),
        ("`we ird` = 'x'", ["we ird"]),
        ("a.b.c > 1 and m['k'].x = xs[0]", ["a", "m", "xs"]),
        ("transform(xs, x -> x + y)", ["xs", "y"]),
        ("aggregate(xs, 0, (acc, x) -> acc + x)", ["xs"]),
        ("map_filter(m, (k, v) -> k > v)", ["m"]),
        ("current_date - interval 3 days < at", ["at"]),
        ("localtimestamp > at", ["at"]),
        ("timestampdiff(HOUR, a, b) > 1", ["a", "b"]),
        ("date_trunc('DAY', at)", ["at"]),
        ("extract(year from at)", ["at"]),
        ("case when a then b else c end", ["a", "b", "c"]),
        ("cast(a as struct<x:int>)", ["a"]),
        ("name rlike '^a.*$' or name ilike '%b'", ["name", "name"]),
        ("row_number() over (partition by a order by b)", ["a", "b"]),
        ("from_json(v, 'x int').x <=> null", ["v"]),
        ("trim(both ' ' from a) || substring(b from 2 for 3)", ["a", "b"]),
        ('a = "text"', ["a"]),
        ("hash(*)", []),
        ("true", []),
        ("interval 1 day", []),
        ("from_utc_timestamp(at, 'Asia/Seoul')", ["at"]),
        ("to_utc_timestamp(at, 'Asia/Seoul')", ["at"]),
        ("current_time", []),
        ("exists (select 1 from input where z = 1)", []),
    ],
)
def test_an_expression_tells_which_columns_it_reads(text: str, columns: list[str]) -> None:
    assert names(text) == columns


def test_a_reference_says_where_in_the_text_it_stands() -> None:
    text = "a > 1\n  and `b c` < x.y"
    found = [(r.name, text[r.offset : r.offset + r.length]) for r in parse_expression(text).references]
    assert found == [("a", "a"), ("b c", "`b c`"), ("x", "x")]


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("cast(a as bigint)", "bigint"),
        ("(a::decimal(20,2))", "decimal(20,2)"),
        ("try_cast(a as array<string>)", "array<string>"),
        ("a + 1", None),
    ],
)
def test_the_type_of_a_cast_is_known(text: str, type_: str | None) -> None:
    assert parse_expression(text).type == (None if type_ is None else parse_type(type_))


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("age >= ", "something is missing after '>='", ">="),
        ("age >= 0 and", "something is missing after 'and'", "and"),
        ("(a", "expected ')' after 'a'", "a"),
        ("a b", "unexpected 'b' after the expression", "b"),
        ("floor (a) x y", "unexpected 'y'", "y"),
        ("where a", "unexpected 'where'", "where"),
        ("a = 'x", "a quote or a comment is not closed", "'"),
        ("a; b", "without ';'", ";"),
        ("select 1", "expected one SQL expression", "s"),
        ("drop table x", "expected one SQL expression", "d"),
        ("a = 1\nand\n  b >", "something is missing after '>'", ">"),
    ],
)
def test_bad_sql_says_what_is_wrong_and_where(text: str, message: str, place: str) -> None:
    with pytest.raises(SqlError) as caught:
        parse_expression(text)
    assert message in str(caught.value)
    assert text[caught.value.offset : caught.value.offset + caught.value.length] == place


@pytest.mark.parametrize(
    ("text", "outputs"),
    [
        ("select * from input", (Star(),)),
        ("SELECT input.*, 1 AS one FROM INPUT;", (Star(), Output("one"))),
        ("select * except (a, b) from input", (Star(frozenset({"a", "b"})),)),
        ("select i.id, i.a.b as c from input i", (Output("id", None, "id"), Output("c"))),
        ("select id as a, cast(x as int) as n from input", (Output("a", None, "id"), Output("n", parse_type("int")))),
        ("select explode(xs) as x from input", (Output("x"),)),
        ("select stack(2, a, b) as (k, v) from input", (Output("k"), Output("v"))),
        ("select a, count(*) n from input group by all having n > 1", (Output("a", None, "a"), Output("n"))),
        ("select count(*) from input", None),
        ("select id from input lateral view explode(xs) t as y", None),
        ("with a as (select * from input) select id from a", None),
        ("select a from input union all select b from input", None),
        ("select * from input pivot (sum(x) for y in (1, 2))", None),
        ("select * from (select id from input)", None),
        ("from input |> where x > 1", None),
    ],
)  # fmt: skip
def test_a_query_tells_which_columns_it_gives_where_that_is_plain(text: str, outputs: Any) -> None:
    assert parse_query(text).outputs == outputs


def test_names_that_a_query_gives_itself_are_not_read_from_the_input() -> None:
    found = parse_query("select a + 1 as b, b * 2 as c from input where d = :p order by c")
    assert [reference.name for reference in found.references or ()] == ["a", "d"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("select 1", "never reads 'input'"),
        ("select * from inputs", "reads 'inputs', not 'input'"),
        ("drop table input", "expected one SELECT"),
        ("insert into input select 1", "expected one SELECT"),
        ("select 1; select 2", "without ';'"),
        ("select * form input", "bad SQL"),
        ("", "expected one"),
    ],
)
def test_a_query_is_one_select_over_input(text: str, message: str) -> None:
    with pytest.raises(SqlError, match=message):
        parse_query(text)


@pytest.mark.parametrize("text", ["a >>> 1", "bitmap_count(X '10')"])
def test_what_the_parser_doesnt_know_of_spark_is_left_to_spark(text: str) -> None:
    assert parse_expression(text).references == ()


def test_what_is_nested_deeper_than_the_parser_goes_is_left_to_spark() -> None:
    assert parse_expression("(" * 3000 + "a" + ")" * 3000).references == ()
    assert parse_query("select " + "(" * 3000 + "a" + ")" * 3000 + " from input").outputs is None


words = ["a", "b.c", "`x`", "1", "'t'", "(", ")", "+", ">=", "and", "not", "case", "when", "select", "from", "input"]
pieces = st.lists(st.sampled_from(words), max_size=12).map(" ".join)


@given(pieces | st.text(max_size=40))
def test_any_text_is_parsed_or_refused_with_a_place_inside_it(text: str) -> None:
    for parse in (parse_expression, parse_query):
        try:
            parse(text)
        except SqlError as error:
            assert 0 <= error.offset <= len(text)  # noqa: PT017 (the error's place is what is tested)
