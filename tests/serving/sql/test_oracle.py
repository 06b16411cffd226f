"""Queries that hypothesis makes up, answered by ClickHouse and by DuckDB: the answers are the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.serving.sql.matching import matcher
from tests.serving.sql.conftest import Store
from tests.serving.sql.oracle import Oracle
from tests.serving.sql.queries import COLUMNS

_VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "id": st.integers(-1, 121),
    "city": st.sampled_from(["oslo", "bergen", "50%", "it's", "ø\\", "", "nowhere"]),
    "age": st.integers(-3, 7),
    "score": st.sampled_from([-1.0, -0.25, 0.0, 0.5, 1.0]),
    "amount": st.sampled_from([Decimal("-1.5"), Decimal(0), Decimal("2.25")]),
    "active": st.booleans(),
    "born": st.sampled_from([date(1999, 12, 31), date(2000, 1, 1)]),
    "at": st.sampled_from([datetime(2026, 1, 1, 2, tzinfo=UTC)]),
    "seen": st.sampled_from([datetime(2026, 1, 1, 0, 0, 0, 2)]),
    "raw": st.sampled_from([b"", b"\x00\xff", b"b"]),
}
_PATTERNS = st.sampled_from(["%", "o%", "_slo", "50\\%", "a\\_b", "%\\\\", "", "%'s"])
_TAGS = st.lists(st.sampled_from("abcdx"), min_size=1, max_size=3)
_COMPARISON = st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"])
_SIMPLE = tuple(name for name in _VALUES if name != "raw")


@st.composite
def single_tests(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(list(_VALUES)))
    value = _VALUES[name]
    kind = draw(st.sampled_from(["compare", "in", "between", "null", "like", "tags", "columns"]))
    match kind:
        case "in":
            return {"column": name, "in": draw(st.lists(value, min_size=1, max_size=4))}
        case "between":
            return {"column": name, "between": [draw(value), draw(value)]}
        case "null":
            return {"column": name, "null": draw(st.booleans())}
        case "like":
            return (
                {"column": "city", "like": draw(_PATTERNS)}
                if draw(st.booleans())
                else {
                    "column": "city",
                    "starts_with": draw(st.sampled_from(["o", "50%", "a_", "ø\\", ""])),
                }
            )
        case "tags":
            return {"column": "tags", draw(st.sampled_from(["has_any", "has_all", "has_none"])): draw(_TAGS)}
        case "columns":
            return {"column": "age", draw(_COMPARISON): {"column": draw(st.sampled_from(["id", "score", "amount"]))}}
    return {"column": name, draw(_COMPARISON): draw(value)}


CONDITIONS = st.recursive(
    single_tests(),
    lambda inner: st.one_of(
        st.builds(lambda item: {"not": item}, inner),
        st.builds(
            lambda key, items: {key: items}, st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=3)
        ),
    ),
    max_leaves=8,
)
AGGREGATES = st.lists(
    st.sampled_from(
        [
            {"count": "*", "as": "n"},
            {"count": "age"},
            {"count_distinct": "city"},
            {"sum": "age"},
            {"sum": "amount", "as": "total"},
            {"min": "born"},
            {"max": "at"},
            {"min": "city"},
            {"avg": "age"},
        ]
    ),
    min_size=1,
    max_size=4,
    unique_by=str,
)
_MANY = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def oracle(users: Store) -> Oracle:
    return Oracle(users.rows)


@_MANY
@given(where=CONDITIONS)
def test_rows_that_meet_a_condition(users: Store, oracle: Oracle, where: dict[str, Any]) -> None:
    tree = {"select": ["id", "city", "age", "raw", "amount", "at", "seen"], "where": where}
    expected = oracle.rows(tree)
    assert Counter(users.ask(tree)) == Counter(expected)
    matches = matcher(where, COLUMNS)
    assert sorted(row["id"] for row in users.rows.to_pylist() if matches(row)) == sorted(row[0] for row in expected)


@_MANY
@given(
    where=st.none() | CONDITIONS,
    group=st.lists(st.sampled_from(["city", "age", "active"]), max_size=2, unique=True),
    aggregates=AGGREGATES,
    least=st.none() | st.integers(0, 20),
)
def test_groups_and_aggregates(
    users: Store,
    oracle: Oracle,
    where: dict[str, Any] | None,
    group: list[str],
    aggregates: list[dict[str, str]],
    least: int | None,
) -> None:
    tree: dict[str, Any] = {"select": [*group, *aggregates]}
    if where is not None:
        tree["where"] = where
    if group:
        tree["group_by"] = group
    if least is not None and {"count": "*", "as": "n"} in aggregates:
        tree["having"] = {"not": {"column": "n", "lt": least}}
    assert Counter(map(_rounded, users.ask(tree))) == Counter(map(_rounded, oracle.rows(tree)))


@settings(_MANY, max_examples=25)
@given(
    where=st.none() | CONDITIONS,
    select=st.lists(st.sampled_from(_SIMPLE), min_size=1, max_size=3, unique=True),
    order=st.lists(st.sampled_from(_SIMPLE), max_size=2, unique=True),
    descending=st.booleans(),
    size=st.integers(3, 50),
)
def test_pages_have_every_row_once_in_order(
    users: Store,
    oracle: Oracle,
    where: dict[str, Any] | None,
    select: list[str],
    order: list[str],
    descending: bool,
    size: int,
) -> None:
    terms = [{"desc": name} if descending else name for name in order]
    rest = [name for name in select if name not in order]
    tree: dict[str, Any] = {"select": select, "order_by": terms, **({} if where is None else {"where": where})}
    pages = users.pages(tree, size)
    assert [row for page in pages for row in page] == oracle.rows({**tree, "order_by": [*terms, *rest]})
    assert all(len(page) == size for page in pages[:-1])


@settings(_MANY, max_examples=15)
@given(
    group=st.lists(st.sampled_from(["city", "age", "active", "born"]), min_size=1, max_size=2, unique=True),
    by_count=st.booleans(),
    size=st.integers(1, 7),
)
def test_pages_of_groups(users: Store, oracle: Oracle, group: list[str], by_count: bool, size: int) -> None:
    terms: list[Any] = [{"desc": "n"}] if by_count else []
    tree = {"select": [*group[:1], {"count": "*", "as": "n"}, {"sum": "age"}], "group_by": group, "order_by": terms}
    hidden = [*terms, *group]
    found = [row for page in users.pages(tree, size) for row in page]
    assert found == oracle.rows({**tree, "order_by": hidden})


def _rounded(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(round(value, 9) if isinstance(value, float) else value for value in row)
