"""Checks that set rows aside: whole runs from a file to Redis."""

from __future__ import annotations

import json
from typing import Any

import pytest

from millrace.errors import CheckFailed, SpecError
from tests.jobs.conftest import Workspace

SPEC = """
version: 1
asset: people
source:
  log:
    path: "{path}"
    format: json
    fields: {{id: bigint, name: string, age: int, "e.mail": string}}
transform:
  - mask: {{columns: [e.mail], method: redact}}
checks:
  - not_null: {{columns: [name], severity: quarantine}}
  - between: {{column: age, min: 0, max: 150, severity: quarantine}}
  - unique: {{columns: [id], severity: quarantine}}
  - expect_column_values_to_match_regex: {{column: name, regex: "^[a-z]+$", severity: quarantine}}
  - row_count: {{min: 4}}
targets:
  - redis: {{connection: store, key: "{{id}}"}}
limits: {{channels: 2, quarantine: {limit}}}
apis:
  - kv: {{name: person}}
"""
GOOD: list[dict[str, Any]] = [{"id": n, "name": "ann", "age": 30, "e.mail": f"{n}@example.com"} for n in range(4)]
BAD: list[dict[str, Any]] = [
    {"id": 10, "name": None, "age": 999, "e.mail": "secret@example.com"},
    {"id": 11, "name": "bob", "age": -1, "e.mail": None},
    {"id": 12, "name": "eve", "age": 1, "e.mail": None},
    {"id": 12, "name": "eva", "age": 2, "e.mail": None},
    {"id": None, "name": "x1", "age": 3, "e.mail": None},
]


def spec_of(workspace: Workspace, rows: list[dict[str, Any]], limit: str = "{max_rows: 5}") -> str:
    return SPEC.format(path=workspace.write("people.json", [json.dumps(row) for row in rows]), limit=limit)


def test_rows_that_break_a_check_go_aside_and_the_rest_goes_on(workspace: Workspace) -> None:
    report = workspace.run(spec_of(workspace, [*GOOD, *BAD]))
    assert report.error is None
    person = workspace.client().kv("person")
    assert [person.get(n) is not None for n in (0, 3, 10, 11, 12)] == [True, True, False, False, False]
    kept = workspace.catalog.dirty.list(report.run_id)
    assert sorted((row.reason, json.loads(row.raw)["id"] or 0) for row in kept) == [
        ("between: {column: age, min: 0, max: 150}", 11),
        ("expect_column_values_to_match_regex: {column: name, regex: '^[a-z]+$'}", 0),
        ("not_null: name", 10),  # the first check that the row breaks
        ("unique: id", 12),
        ("unique: id", 12),
    ]
    assert {(row.step, row.origin) for row in kept} == {("check", "stage")}
    assert not any(b"secret" in row.raw for row in kept), "what is masked stays masked"
    statistics = report.statistics
    assert statistics.source.rows_read == 9
    assert statistics.targets["redis"].rows_loaded + statistics.rows_quarantined == 9
    assert statistics.rows_quarantined == 5
    results = {r.result.kind: r.result for r in workspace.catalog.checks.of_run(report.run_id)}
    assert results["row_count"].observed == 4, "the other checks are asked of the rows that are left"
    assert results["unique"].observed == {"rows": 9, "unexpected": 2}


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("{max_rows: 4}", "5 rows to set aside, limits.quarantine.max_rows allows 4"),
        ("{max_ratio: 50%}", "5 rows to set aside among 9 rows (55.56%), limits.quarantine.max_ratio allows 50.00%"),
    ],
)
def test_more_rows_than_the_limit_refuse_the_run(workspace: Workspace, limit: str, message: str) -> None:
    good = workspace.run(spec_of(workspace, GOOD))
    report = workspace.run(spec_of(workspace, [*GOOD[1:], {**GOOD[0], "name": "new"}, *BAD], limit))
    assert isinstance(report.error, CheckFailed)
    assert message in report.error.message
    assert "not_null: name" in report.error.message
    assert f"readers still have version {good.version}" in report.error.hint
    assert (workspace.client().kv("person").get(0) or {})["name"] == "ann"
    assert workspace.catalog.dirty.count(report.run_id) == 5


def test_a_check_that_cannot_be_evaluated_sets_nothing_aside(workspace: Workspace) -> None:
    text = spec_of(workspace, GOOD).replace('"^[a-z]+$"', '"["')
    report = workspace.run(text)
    assert isinstance(report.error, CheckFailed)
    assert "could not be evaluated" in report.error.message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("quarantine: {max_rows: 5}", "timeout: 1h"), ":12:43: quarantine needs a limit: say `limits: {quarantine:"),
        (("{min: 4}", "{min: 4, severity: quarantine}"), "'row_count' is of all rows together"),
        (("_values_to_match_regex: {", "_max_to_be_between: {"), "expect_column_max_to_be_between is of all rows tog"),
        (('"^[a-z]+$"', '"^[a-z]+$", mostly: 0.9'), "'mostly' can't stand beside 'severity: quarantine'"),
    ],
)
def test_what_cannot_be_quarantined_is_said_where_it_stands(
    workspace: Workspace, change: tuple[str, str], message: str
) -> None:
    with pytest.raises(SpecError) as raised:
        workspace.spec(spec_of(workspace, GOOD).replace(*change))
    assert message in str(raised.value)
