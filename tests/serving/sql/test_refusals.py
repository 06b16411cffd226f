"""Everything that is no query, or not an allowed one: refused with the place, and never a part of any statement."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.serving.sql.cursor import Cursor, digest, open_, seal
from millrace.serving.sql.faults import QueryError
from millrace.serving.sql.parse import parse
from millrace.serving.sql.plan import plan
from tests.serving.sql.conftest import KEY, Store
from tests.serving.sql.queries import TABLES, compiled, planned, rules

NASTY = [
    "'",
    "' OR 1 = 1 --",
    '" OR ""="',
    "`; DROP TABLE users; --",
    "\\' OR 1=1 #",
    "\\",
    "%' OR '%'='",
    "{p0:Int64}",
    "%(p0)s",
    "%s %d %%",
    "?",
    ":p0",
    "$1",
    "\x00",
    "a\x00b",
    "\u2019; SELECT 1",
    "/* */ UNION SELECT 1",
    "\n--\n",
    "\\N",
    "NULL",
    "é\u202e𝄞",
]
ADD_UP: dict[str, Any] = {"select": [{"count": "*"}]}


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("dialect", list(TABLES))
def test_a_value_never_stands_in_a_statement(dialect: str, text: str) -> None:
    tests: list[dict[str, Any]] = [{"eq": text}, {"in": [text, "x"]}, {"starts_with": text}, {"between": [text, text]}]
    for test in tests:
        tree = {**ADD_UP, "where": {"column": "city", **test}}
        plain = {**ADD_UP, "where": {"column": "city", **json.loads(json.dumps(test).replace(json.dumps(text), '"v"'))}}
        assert compiled(tree, dialect).sql == compiled(plain, dialect).sql


@pytest.mark.parametrize("text", NASTY)
def test_a_value_is_compared_as_it_is(users: Store, text: str) -> None:
    for test in ({"eq": text}, {"in": [text]}, {"starts_with": text}):
        assert users.ask({**ADD_UP, "where": {"column": "city", **test}}) == [(0,)]
    tagged = {"or": [{"column": "tags", "has_any": [text]}, {"column": "tags", "has_all": [text]}]}
    assert users.ask({**ADD_UP, "where": tagged}) == [(0,)]
    cities = {"query": "by_city", "parameters": {"least": -99, "cities": [text]}}
    answer = users.run(users.api().call(cities["query"], cities["parameters"]))  # type: ignore[arg-type]  # both given
    assert list(answer.rows) == []


@pytest.mark.parametrize(
    "name", [*NASTY, "", "id; DROP", "input.id", "*", "id AS x", "__0", "CITY", 1, None, ["id"], {}]
)
def test_only_names_of_the_api_are_names(name: Any) -> None:
    places: list[Any] = [
        {"select": [name]},
        {"select": [{"sum": name}]},
        {"select": [{"column": name, "as": "x"}]},
        {"where": {"column": name, "eq": 1}},
        {"where": {"column": "id", "eq": {"column": name}}},
        {"select": [{"count": "*"}], "group_by": [name]},
        {"select": ["id"], "order_by": [name]},
        {"select": ["id"], "order_by": [{"desc": name}]},
        {"select": ["city", {"count": "*"}], "group_by": ["city"], "having": {"column": name, "eq": 1}},
    ]
    for tree in places:
        with pytest.raises(QueryError):
            planned(tree)


@pytest.mark.parametrize("name", ["x; DROP TABLE users", "o'clock", 'a"b', "naïve name", "{p0:String}", "%s"])
def test_names_that_a_request_gives_its_outputs_stay_out_of_statements(users: Store, name: str) -> None:
    rows = {"select": [{"column": "id", "as": name}, {"column": "age", "as": "other"}], "order_by": [name], "limit": 1}
    groups = {**rows, "select": [{"column": "id", "as": name}, {"count": "*", "as": "other"}], "group_by": ["id"]}
    for dialect in TABLES:
        assert name not in compiled(groups, dialect).sql
        if dialect != "druid":  # it sorts groups alone
            assert name not in compiled(rows, dialect).sql
    assert users.ask(rows)[0][0] == users.ask(groups)[0][0] == 0


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ([], "expected an object"),
        ({"selct": []}, "unknown key 'selct', did you mean 'select'"),
        ({"select": []}, "select: expected a list"),
        ({"select": ["id", "id"]}, r"select\[1\]: two outputs are named 'id'"),
        ({"select": [{"sum": "city"}]}, r"select\[0\]: city is a string, not a number"),
        ({"select": [{"quantile": "score"}]}, r"select\[0\]\.at: a quantile needs 'at'"),
        ({"select": [{"quantile": "score", "at": 1.5}]}, "a number from 0 to 1"),
        ({"select": [{"count": "*", "sum": "id"}]}, "got 2 of them"),
        ({"select": ["id", {"count": "*"}]}, r"select\[0\]: 'id' is neither in 'group_by' nor an aggregate"),
        ({"where": {"column": "age", "gt": "18"}}, r"where\.gt: expected a whole number"),
        ({"where": {"column": "age", "gt": 1 << 63}}, "at most 64 bits"),
        ({"where": {"column": "age", "gt": True}}, "expected a whole number"),
        ({"where": {"column": "age", "eq": None}}, "null is no value"),
        ({"where": {"column": "score", "eq": float("nan")}}, "a finite number"),
        ({"where": {"column": "age"}}, "a column has one test, got 0"),
        ({"where": {"column": "age", "gt": 1, "lt": 3}}, "got 2: join several with 'and'"),
        ({"where": {"column": "age", "over": 1}}, "unknown key 'over'"),
        ({"where": {"and": []}}, r"where\.and: expected a list of conditions, with at least one"),
        ({"where": {"column": "age", "in": []}}, r"where\.in: expected a list of values, with at least one"),
        ({"where": {"column": "age", "in": [1, "2"]}}, r"where\.in\[1\]: expected a whole number"),
        ({"where": {"column": "city", "like": "100\\x"}}, "a backslash stands before"),
        ({"where": {"column": "age", "like": "1%"}}, "age is a int, not a string"),
        ({"where": {"column": "tags", "eq": "a"}}, "the tests of such are null, has_any"),
        ({"where": {"column": "city", "has_any": ["a"]}}, "not a list of single values"),
        ({"where": {"column": "city", "eq": {"column": "age"}}}, "can't be compared"),
        ({"where": {"column": "at", "gt": "2026-01-01T00:00:00"}}, "a time with its zone"),
        ({"where": {"column": "born", "gt": "yesterday"}}, "a date, e.g. 2026-01-31"),
        ({"where": {"column": "amount", "gt": "1e99"}}, "at most 38 digits"),
        ({"where": {"column": "raw", "eq": "not base64!"}}, "Base64"),
        ({"where": {"column": "city", "eq": "\ud800"}}, "expected a text"),
        ({"having": {"column": "id", "gt": 1}}, "'having' needs 'group_by'"),
        ({"group_by": ["city"]}, "'group_by' needs a 'select'"),
        ({"select": ["tags"], "group_by": ["tags"]}, "no groups are made by such"),
        ({"select": ["id"], "order_by": ["tags"]}, "nothing is sorted by such"),
        ({"limit": -1}, "expected a whole number from 0 on"),
        ({"limit": 20_000}, "20000 rows, of at most 10000"),
        ({"page": {"size": 0}}, r"page\.size: expected a whole number from 1 on"),
        ({"page": {"size": 5}, "limit": 5}, "a page and a limit exclude each other"),
        ({"select": [{"avg": "age"}], "order_by": ["avg_age"], "page": {"size": 5}}, "can't be ordered by this"),
    ],
)
def test_the_error_names_the_place(tree: Any, told: str) -> None:
    with pytest.raises(QueryError, match=told):
        planned(tree)


def test_depth_size_and_length_have_limits() -> None:
    deep: Any = {"column": "id", "eq": 1}
    for _ in range(20):
        deep = {"not": deep}
    wide = {"or": [{"column": "id", "eq": 1}] * 300}
    for where, told in ((deep, "more than 16 conditions"), (wide, "more than 256 tests")):
        with pytest.raises(QueryError, match=told):
            planned({"where": where})
    with pytest.raises(QueryError, match="10001 values, of at most 10000"):
        planned({"where": {"column": "id", "in": list(range(10_001))}})
    with pytest.raises(QueryError, match="3 values, of at most 2"):
        planned({"where": {"column": "id", "in": [1, 2, 3]}}, limits={"keys": 2})
    with pytest.raises(QueryError, match="outputs, of at most 128"):
        planned({"select": [{"column": "id", "as": f"c{n}"} for n in range(129)]})


def test_only_what_the_api_allows_is_used() -> None:
    allowed: Any = {"columns": ["id", "city"], "functions": ["count"]}
    assert [output.name for output in planned({}, **allowed).outputs] == ["id", "city"]
    for tree in ({"select": ["age"]}, {"where": {"column": "age", "eq": 1}}, {"select": ["id"], "order_by": ["age"]}):
        with pytest.raises(QueryError, match="unknown column 'age', expected one of id, city"):
            planned(tree, **allowed)
    with pytest.raises(QueryError, match="sum is not allowed here; allowed: count"):
        planned({"select": [{"sum": "id"}]}, **allowed)


def test_a_row_filter_can_not_be_asked_around(users: Store) -> None:
    narrow = users.api().restricted(["id", "city"], {"column": "age", "ge": 3})
    ages = users.rows["age"].to_pylist()
    expected = sum(age is not None and age >= 3 for age in ages)
    either = {"or": [{"column": "id", "ge": 0}, {"not": {"column": "id", "ge": 0}}]}
    for where in ({}, {"where": either}):
        assert users.run(narrow.run({**ADD_UP, **where})).rows == [(expected,)]
    with pytest.raises(QueryError, match="unknown column 'age'"):
        users.run(narrow.run({"where": {"column": "age", "lt": 3}}))
    with pytest.raises(QueryError, match="unknown query"):
        users.run(narrow.call("one", {"id": 1}))


def cursor_of(users: Store, tree: Any) -> str:
    found = users.run(users.api().run(tree)).next
    assert found is not None
    return found


def test_a_cursor_fits_the_query_that_gave_it_alone(users: Store) -> None:
    tree = {"select": ["id"], "page": {"size": 5}}
    after = cursor_of(users, tree)
    users.run(users.api().run({**tree, "page": {"size": 9, "after": after}}))
    others: list[Any] = [
        {"select": ["id", "city"]},
        {"select": ["id"], "where": {"column": "age", "ge": 0}},
        {"select": ["id"], "order_by": [{"desc": "id"}]},
    ]
    for other in others:
        with pytest.raises(QueryError, match="of another query"):
            users.run(users.api().run({**other, "page": {"size": 5, "after": after}}))
    narrow = users.api().restricted(None, {"column": "age", "ge": 3})
    with pytest.raises(QueryError, match="of another query"):
        users.run(narrow.run({**tree, "page": {"size": 5, "after": after}}))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_changed_cursor_is_refused(data: st.DataObject) -> None:
    query, allowed = parse({"select": ["id"], "page": {"size": 5}}), rules()
    whole = seal(Cursor("v1", (7, "x"), 3), "users", digest(query, allowed), KEY)
    assert open_(whole, "users", digest(query, allowed), KEY) == Cursor("v1", (7, "x"), 3)
    raw = bytearray(base64.urlsafe_b64decode(whole + "=" * (-len(whole) % 4)))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    changed = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")
    junk = data.draw(st.text(max_size=40) | st.sampled_from(["", "é", "AAAA", whole[:-4], whole + "AAAA"]))
    for text in (changed, junk):
        with pytest.raises(QueryError, match="cursor"):
            open_(text, "users", digest(query, allowed), KEY)
    with pytest.raises(QueryError, match="not made here"):
        open_(whole, "users", digest(query, allowed), b"another key, also of 32 bytes....")


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["id", "city", "and"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["select", "where", "and", "or", "not", "column", "eq", "in", "sum", "page", "size", "as", "limit"]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    tree=st.dictionaries(st.sampled_from(["select", "where", "group_by", "having", "order_by", "limit", "page"]), _JSON)
)
def test_whatever_comes_is_planned_or_refused(tree: dict[str, Any]) -> None:
    try:
        found = plan(parse(tree), rules())
    except QueryError:
        return
    assert found.outputs
