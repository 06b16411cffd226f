"""Every kind of check in whole runs: what is found, and that readers keep what they have when one refuses."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from millrace.cli.app import app
from millrace.connectors.base import Window
from millrace.errors import CheckFailed
from millrace.jobs.docs_place import address
from millrace.jobs.runner import RunReport, RunRequest
from tests.jobs.conftest import Workspace

SPEC = """
version: 1
asset: orders
source:
  log:
    path: "{path}"
    format: json
    fields: {{id: bigint, amount: int, city: string, at: timestamp}}
transform:
  - where: "id > 0"
  - mask: {{columns: [city], method: redact}}
checks:
{checks}
targets:
  - redis: {{connection: store, key: "{{id}}"}}
apis:
  - kv: {{name: order}}
"""
NOW = datetime.now(UTC)
Row = dict[str, Any]


def order(number: int, **changes: Any) -> Row:
    return {"id": number, "amount": 10, "city": "rome", "at": NOW.isoformat(), **changes}


def run(workspace: Workspace, rows: list[Row], *checks: str, window: Window | None = None) -> RunReport:
    path = workspace.write("orders.json", [json.dumps(row) for row in rows])
    text = SPEC.format(path=path, checks="".join(f"  - {check}\n" for check in checks))
    return workspace.run(text, RunRequest(window=window or Window()))


def results(workspace: Workspace, report: RunReport) -> dict[str, Any]:
    return {r.result.description: r.result for r in workspace.catalog.checks.of_run(report.run_id)}


def test_queries_must_give_no_rows_on_the_stage_and_on_the_source(workspace: Workspace) -> None:
    checks = (
        'sql: {name: paid nothing, query: "with few as (select * from stage where amount < 5) select * from few"}',
        'sql: {name: bad ids, on: source, query: "select id, city from source where id <= 0"}',
        "not_null: {columns: [amount], on: source}",
        'sql: {name: asks for nothing, severity: warn, query: "select missing + id from stage s, stage t"}',
    )
    good = run(workspace, [order(1), order(2)], *checks)
    assert good.error is None
    reader = workspace.client().kv("order")
    bad = run(workspace, [order(1, amount=1), order(2, amount=2), order(0), order(-3, amount=None)], *checks)
    assert isinstance(bad.error, CheckFailed)
    assert "sql: paid nothing — 2 rows are given by the query; e.g." in bad.error.message
    assert (reader.get(1) or {})["amount"] == 10, "readers keep the version that they have"
    found = results(workspace, bad)
    assert [(name, result.passed) for name, result in found.items()] == [
        ("sql: bad ids (on source)", False),
        ("not_null: amount (on source)", False),
        ("sql: paid nothing", False),
        ("sql: asks for nothing", False),
    ]
    assert (found["sql: bad ids (on source)"].observed, found["sql: bad ids (on source)"].expected) == (2, "no rows")
    assert found["sql: bad ids (on source)"].sample == (), "its rows are from before the mask"
    assert found["not_null: amount (on source)"].observed == {"rows": 4, "unexpected": 1}
    assert [row["city"] for row in found["sql: paid nothing"].sample] == ["***", "***"]
    folder = Path(workspace.settings.work_dir, "orders", bad.run_id)
    assert [entry.name for entry in folder.iterdir()] == ["stage"], "the unmasked rows are gone when they are checked"


def test_data_is_fresh_by_the_end_of_the_runs_interval(workspace: Workspace) -> None:
    fresh = "fresh: {column: at, within: 2h}"
    assert run(workspace, [order(1), order(2, at="2020-01-01T00:00:00Z")], fresh).error is None
    old = NOW - timedelta(hours=5)
    stale = run(workspace, [order(1, amount=99, at=old.isoformat())], fresh)
    assert isinstance(stale.error, CheckFailed)
    assert f"found {old:%Y-%m-%dT%H:%M:%SZ}, expected at up to" in stale.error.message
    assert (workspace.client().kv("order").get(1) or {})["amount"] == 10
    window = Window(old - timedelta(days=1), old + timedelta(hours=1))
    assert run(workspace, [order(1, at=old.isoformat())], fresh, window=window).error is None, "a backfill"


def test_drift_is_measured_against_the_last_published_versions(workspace: Workspace) -> None:
    checks = (
        "drift: {measure: row_count, ratio: 50%}",
        "drift: {measure: mean, columns: [amount], versions: 2, ratio: 10%}",
        "drift: {measure: null_share, columns: [amount, city], ratio: 10%}",
        "drift: {measure: distinct, columns: id, deviations: 3}",
    )
    first = run(workspace, [order(n) for n in range(1, 11)], *checks)
    assert first.error is None
    none_yet = results(workspace, first)["drift: {measure: mean, columns: amount, ratio: 10%}"]
    assert (none_yet.observed, none_yet.expected) == (10, "anything: no published version to compare with")
    refused = run(workspace, [order(n, amount=None if n < 4 else 30) for n in range(1, 17)], *checks)
    assert isinstance(refused.error, CheckFailed)
    for line in (
        "drift: {measure: row_count, ratio: 50%} — found 16, expected 5 to 15: within 50% of 10, the mean of",
        "drift: {measure: mean, columns: amount, ratio: 10%} — found 30, expected 9 to 11: within 10% of 10, the",
        "drift: {measure: null_share, columns: amount, ratio: 10%} — found 0.1875, expected -0.1 to 0.1: within 10%",
    ):
        assert line in refused.error.message
    assert "city" not in refused.error.message
    assert (workspace.client().kv("order").get(1) or {})["amount"] == 10
    again = run(workspace, [order(n, amount=11) for n in range(1, 11)], *checks)
    assert again.error is None, "what was refused is no history"
    near = results(workspace, again)
    assert near["drift: {measure: mean, columns: amount, ratio: 10%}"].expected.startswith("9 to 11: within 10% of 10")
    third = run(workspace, [order(n, amount=11) for n in range(1, 11)], *checks)
    assert results(workspace, third)["drift: {measure: distinct, columns: id, deviations: 3}"].expected == (
        "anything: too few versions for a deviation, 2 of 3"
    )
    last = run(workspace, [order(n, amount=10) for n in range(1, 9)], *checks)
    assert isinstance(last.error, CheckFailed)
    assert (
        "found 8, expected 10 to 10: within 3 deviations of 10, the mean of the last 3 versions" in last.error.message
    )


def test_each_run_has_data_docs_as_long_as_it_is_kept(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.jobs.docs.KEPT", 1)
    rows = [order(1, city="secret"), order(2, city=None), order(3, amount=7)]
    failed = run(
        workspace,
        rows,
        'sql: {name: "costs $<b>much</b>", query: "select * from stage where amount > 9"}',
        "not_null: [city]",
        "row_count: {min: 1}",
        'expect_column_values_to_match_regex: {column: city, regex: "["}',
    )
    page = Path(address(workspace.settings, "orders", failed.run_id)).read_text()
    shown = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    for text in (
        "not_null: city · expected: no nulls",
        "1 unexpected values found. ≈33.33% of 3 total rows.",
        "sql: costs $<b>much</b>",
        "row_count: {min: 1}",
        "Successful Expectations 1",
        "Unsuccessful Expectations 3",
    ):
        assert text in shown, shown
    assert "<b>much" not in page
    assert '"***"' in shown
    assert "secret" not in page
    words = ["checks", "orders", "--json"]
    found = json.loads(CliRunner().invoke(app, words, env={"MILLRACE_HOME": str(workspace.settings.home)}).output)
    assert found["data_docs"] == address(workspace.settings, "orders", failed.run_id)
    assert [check["passed"] for check in found["checks"]] == [False, False, True, False]
    listed = Path(workspace.settings.work_dir, "_docs", "orders", "index.html")
    assert failed.run_id in listed.read_text()
    for _ in range(2):
        good = run(workspace, rows, "row_count: {min: 1}")
        assert good.error is None
    assert not Path(address(workspace.settings, "orders", failed.run_id)).exists(), "it is neither new nor kept"
    assert failed.run_id not in listed.read_text()
    assert listed.read_text().count("<li>") == 2, "those of the two versions that are kept"
    served = replace(workspace.settings, data_docs_url="https://docs.example.com/checks/")
    assert address(served, "orders", "r1") == "https://docs.example.com/checks/orders/r1/index.html"


@pytest.mark.parametrize("check", ["drift: {measure: mean, columns: [amount], ratio: 1%}", "not_null: [city]"])
def test_a_run_without_rows_passes_what_looks_at_values(workspace: Workspace, check: str) -> None:
    assert run(workspace, [order(1)], check).error is None
    assert run(workspace, [order(-1)], check).error is None
