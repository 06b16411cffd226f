from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.spec import columns as flow
from millrace.spec import model
from millrace.spec.types import DataType, Kind, parse_type
from tests.core.spec.texts import HEAD, MINIMAL, TARGETS, errors, with_section

BEFORE: flow.Columns = {"id": parse_type("bigint"), "name": parse_type("string"), "age": None}
TEXT = DataType(Kind.STRING)


@pytest.mark.parametrize(
    ("step", "after"),
    [
        (model.Where("age > 0"), BEFORE),
        (model.Select(("age", "id")), {"age": None, "id": BEFORE["id"]}),
        (model.Derive({"x": "id + 1", "y": "x + 1"}), {**BEFORE, "x": None, "y": None}),
        (model.Derive({"age": "cast(age as int)"}), {**BEFORE, "age": parse_type("int")}),
        (model.Derive({"ID": "1"}), {"ID": None, "name": TEXT, "age": None}),
        (model.Rename({"age": "name", "name": "age"}), {"id": BEFORE["id"], "age": TEXT, "name": None}),
        (model.Cast({"age": parse_type("int")}), {**BEFORE, "age": parse_type("int")}),
        (model.Dedupe(("id",), "latest", "age"), BEFORE),
        (model.Mask(("id",), "hash"), {**BEFORE, "id": TEXT}),
        (model.Sql("select * except (age), id + 1 as n from input"), {"id": BEFORE["id"], "name": TEXT, "n": None}),
        (model.Sql("select ID as key from input"), {"key": BEFORE["id"]}),
        (model.Sql("select a.id from input a join input b on a.id = b.id"), None),
    ],
)  # fmt: skip
def test_columns_are_followed_through_every_step(step: model.Step, after: flow.Columns | None) -> None:
    found, problems = flow.follow(step, BEFORE)
    assert problems == []
    assert found == after
    assert found is None or list(found) == list(after or ())


@pytest.mark.parametrize(
    "step",
    [
        model.Where("z > 0"),
        model.Derive({"x": "z"}),
        model.Rename({"z": "y"}),
        model.Cast({"z": parse_type("int")}),
        model.Dedupe(("z",), "latest", "y"),
        model.Mask(("z",), "hash"),
    ],
)
def test_where_nothing_is_known_nothing_is_wrong(step: model.Step) -> None:
    assert flow.follow(step, None) == (None, [])


def test_what_a_select_dropped_is_gone_though_spark_would_find_it_for_a_filter() -> None:
    columns, _ = flow.follow(model.Select(("id",)), BEFORE)
    assert [problem.message for problem in flow.follow(model.Where("age > 1"), columns)[1]] == [
        "unknown column 'age', expected one of id"
    ]


def test_a_select_makes_columns_known_again() -> None:
    assert flow.follow(model.Select(("a", "b")), None) == ({"a": None, "b": None}, [])
    assert flow.follow(model.Sql("select a, b + 1 as c from input"), None)[0] == {"a": None, "c": None}
    assert flow.follow(model.Sql("select *, 1 as c from input"), None)[0] is None


STEPS = [
    ("- where: naem = 'x' and age > 0", "8:12: unknown column 'naem', did you mean 'name'?"),
    ('- where: "age > 0 or naem is null"', "8:24: unknown column 'naem', did you mean 'name'?"),
    ("- select: [id, naem]", "8:18: unknown column 'naem', did you mean 'name'?"),
    ("- select: [id, zzzzz]", "8:18: unknown column 'zzzzz', expected one of id, name, age, at"),
    ("- derive: {x: naem}", "8:17: unknown column 'naem', did you mean 'name'?"),
    ("- rename: {naem: x}", "8:14: unknown column 'naem', did you mean 'name'?"),
    ("- rename: {age: name}", "8:19: there is already a column 'name'"),
    ("- rename: {age: x, name: X}", "8:28: there is already a column 'X'"),
    ("- cast: {naem: int}", "8:12: unknown column 'naem', did you mean 'name'?"),
    ("- dedupe: {key: [id, naem]}", "8:24: unknown column 'naem', did you mean 'name'?"),
    ("- dedupe: {key: id, by: att}", "8:27: unknown column 'att', did you mean 'at'?"),
    ("- mask: {columns: [naem]}", "8:22: unknown column 'naem', did you mean 'name'?"),
    ("- sql: select id, naem from input", "8:21: unknown column 'naem', did you mean 'name'?"),
    ("- sql: select *, 1 as age from input", "this query gives two columns named 'age': write * except (age)"),
    (
        "- sql: |\n      select id,\n             naem\n      from input",
        "10:14: unknown column 'naem', did you mean 'name'?",
    ),
    ("- sql: >\n      select id,\n             naem from input", "10:14: unknown column 'naem', did you mean 'name'?"),
    ("- sql: select * from inputt", "8:24: this query reads 'inputt', not 'input'"),
]


@pytest.mark.parametrize(("step", "expected"), STEPS)
def test_a_step_on_a_column_that_isnt_there_is_an_error_at_its_place(step: str, expected: str) -> None:
    found = errors(with_section(f"transform:\n  {step}\n"))
    assert len(found) == 1, found
    assert expected in found[0]


CHECKS = [
    ("not_null: [id, naem]", "8:20: unknown column 'naem'"),
    ("not_null: {columns: [id, naem]}", "8:30: unknown column 'naem'"),
    ("unique: naem", "8:13: unknown column 'naem'"),
    ("between: {column: aeg, min: 1}", "8:23: unknown column 'aeg', did you mean 'age'?"),
    ("in_set: {column: aeg, values: [1]}", "8:22: unknown column 'aeg'"),
    ("expect_column_values_to_be_unique: {column: naem}", "8:49: unknown column 'naem'"),
    ("expect_compound_columns_to_be_unique: {column_list: [id, naem]}", "8:62: unknown column 'naem'"),
    ("expect_column_pair_values_to_be_equal: {column_A: id, column_B: naem}", "8:69: unknown column 'naem'"),
    ("unique: ID", "8:13: unknown column 'ID', did you mean 'id'?"),
]


@pytest.mark.parametrize(("check", "expected"), CHECKS)
def test_a_check_on_a_column_that_isnt_there_is_an_error_at_its_place(check: str, expected: str) -> None:
    found = errors(with_section(f"checks:\n  - {check}\n"))
    assert len(found) == 1, found
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    ("api", "expected"),
    [
        ("kv: {name: a, columns: [id, naem]}", "8:33: unknown column 'naem'"),
        ("kv: {name: a, range: {start: id, end: edn}}", "8:43: unknown column 'edn'"),
    ],
)
def test_an_api_on_a_column_that_isnt_there_is_an_error_at_its_place(api: str, expected: str) -> None:
    found = errors(with_section(f"apis:\n  - {api}\n"))
    assert len(found) == 1, found
    assert found[0].startswith(expected)


def test_a_targets_template_points_at_the_name_in_the_braces() -> None:
    assert errors(MINIMAL.replace('"{id}"', '"{name}:{idd}"')) == ["6:47: unknown column 'idd', did you mean 'id'?"]


def test_a_targets_nested_options_point_at_their_place() -> None:
    target = "targets:\n  - druid: {connection: d, timestamp: at, metrics: {n: {kind: sum, column: aeg}}}\n"
    assert errors(MINIMAL.replace(TARGETS, target)) == ["6:76: unknown column 'aeg', did you mean 'age'?"]


def test_checks_and_targets_see_the_columns_after_the_transform() -> None:
    transform = "transform:\n  - rename: {id: key}\n  - derive: {band: floor(age / 10)}\n"
    assert errors(with_section(transform + "checks:\n  - unique: [band, id]\n")) == [
        "6:40: unknown column 'id', expected one of key, name, age, at, band",
        "11:20: unknown column 'id', expected one of key, name, age, at, band",
    ]


def test_after_a_step_that_is_wrong_in_itself_nothing_is_known() -> None:
    assert errors(with_section("transform:\n  - slect: [id]\nchecks:\n  - unique: [zzz]\n")) == [
        "8:5: unknown step 'slect', did you mean 'select'?"
    ]


def test_a_column_that_isnt_there_is_told_once() -> None:
    found = errors(with_section("transform:\n  - select: [id, naem]\nchecks:\n  - unique: [naem]\n"))
    assert found == ["8:18: unknown column 'naem', did you mean 'name'?"]


def test_a_source_that_tells_no_columns_is_not_judged() -> None:
    source = "source:\n  lake: {path: 's3a://lake/x'}\n"
    assert errors(HEAD + source + TARGETS + "checks:\n  - unique: [anything]\n") == []


names = st.text("abc", min_size=1, max_size=2)
expressions = st.builds("{} + {}".format, names, names)
steps: st.SearchStrategy[model.Step] = st.one_of(
    st.builds(model.Where, expressions),
    st.builds(model.Select, st.lists(names, min_size=1, unique=True).map(tuple)),
    st.builds(model.Derive, st.dictionaries(names, expressions, min_size=1)),
    st.builds(model.Rename, st.dictionaries(names, names, min_size=1)),
    st.builds(model.Cast, st.dictionaries(names, st.just(TEXT), min_size=1)),
    st.builds(model.Dedupe, st.tuples(names), st.just("latest"), names),
    st.builds(model.Mask, st.tuples(names), st.just("hash")),
    st.builds(model.Sql, names.map("select *, 1 as {} from input".format)),
)


@given(st.lists(steps, max_size=6), st.lists(names, min_size=1, unique=True))
def test_a_pipeline_without_problems_reads_only_columns_that_it_has(
    pipeline: list[model.Step], first: list[str]
) -> None:
    columns: flow.Columns | None = dict.fromkeys(first)
    for step in pipeline:
        assert columns is not None
        before = set(columns)
        columns, problems = flow.follow(step, columns)
        match step:
            case model.Select(read) if not problems:
                assert set(read) <= before
                assert set(columns or ()) == set(read)
            case model.Rename(renamed) if not problems:
                assert set(renamed) <= before
                assert len(columns or ()) == len(before)
            case model.Dedupe(key, _, by) if not problems:
                assert {*key, by} <= before
