"""Named queries: what is refused, and where in the text."""

from __future__ import annotations

import pytest

from millrace.spec.named_query import parse_named
from millrace.spec.sql import SqlError


@pytest.mark.parametrize(
    "text",
    [
        "SELECT city, count(*) AS n FROM input WHERE age > :least GROUP BY city",
        "select i.city from input i where i.age > :least;",
        "SELECT * FROM input ORDER BY city LIMIT :least",
    ],
)
def test_one_select_over_input_is_taken(text: str) -> None:
    assert parse_named(text, ["least"]).find_all


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SELECT 1", "reads 'input', once"),
        ("SELECT * FROM users", "reads 'input' alone, not users"),
        ("SELECT * FROM other.input", "reads 'input' alone"),
        ("SELECT * FROM input JOIN users USING (id)", "reads 'input' alone"),
        ("SELECT * FROM input, numbers(10)", "reads 'input' alone"),
        ("SELECT * FROM file('/etc/passwd')", "reads 'input' alone"),
        ("SELECT * FROM input WHERE id IN (SELECT id FROM input)", "reads 'input', once"),
        ("SELECT * FROM input WHERE id IN (SELECT 1)", "no query inside it"),
        ("WITH q AS (SELECT 1 AS a) SELECT * FROM input", "no query inside it"),
        ("SELECT * FROM input UNION ALL SELECT * FROM input", "expected one SELECT"),
        ("SELECT * FROM (SELECT * FROM input)", "no query inside it"),
        ("SELECT * FROM input; DROP TABLE input", "expected one SQL text"),
        ("DROP TABLE input", "expected one SELECT"),
        ("INSERT INTO input VALUES (1)", "expected one SELECT"),
        ("SELECT * FROM input WHERE id = :nope", "undeclared parameter ':nope'"),
        ("SELECT * FROM input WHERE", "bad SQL"),
    ],
)
def test_anything_else_is_refused(text: str, told: str) -> None:
    with pytest.raises(SqlError, match=told):
        parse_named(text, [])


def test_a_parameter_that_is_never_used_is_a_mistake() -> None:
    with pytest.raises(SqlError, match="':city' is declared and never used"):
        parse_named("SELECT * FROM input", ["city"])


def test_the_place_of_an_undeclared_parameter_is_told() -> None:
    text = "SELECT * FROM input WHERE id = :ids"
    with pytest.raises(SqlError, match="did you mean 'id'") as refused:
        parse_named(text, ["id"])
    assert text[refused.value.offset :][: refused.value.length] == ":ids"
