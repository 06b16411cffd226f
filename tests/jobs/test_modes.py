"""Runs of `merge` and `append` into ClickHouse: days in any order, rows that change and go away, ways back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from millrace.catalog import VersionState
from millrace.errors import NotFound, RunFailed
from millrace.jobs import publishing
from millrace.jobs.context import connections_of, open_target
from millrace.jobs.request import RunRequest
from millrace.jobs.windows import parse_window
from tests.jobs.conftest import Workspace
from tests.servers.clickhouse import ClickHouse, ClickHouseDatabase

APPEND = """
version: 1
asset: visits
source:
  log: {{path: "{home}/{{{{ ds }}}}.json", format: json, fields: {{id: bigint, day: date, page: string}}}}
targets:
  - clickhouse: {{connection: store, order_by: [id], interval: day}}
mode: append
versions: {{keep: 1}}
"""
MERGE = """
version: 1
asset: people
source:
  log: {{path: "{home}/people.json", format: json, fields: {{{fields}, gone: boolean}}}}
targets:
  - clickhouse: {{connection: store, order_by: [id]}}
mode: merge
deletes: gone
versions: {{keep: 1}}
"""


@pytest.fixture
def database(clickhouse: ClickHouse, workspace: Workspace) -> Iterator[ClickHouseDatabase]:
    found = clickhouse.new_database()
    (workspace.settings.home / "connections.yaml").write_text(f"store: {found.url!r}\n")
    yield found
    found.drop()


def run_day(workspace: Workspace, day: int, rows: int, page: str, **choices: Any) -> str:
    lines = [json.dumps({"id": n, "day": f"2026-03-{day:02}", "page": page}) for n in range(rows)]
    workspace.write(f"2026-03-{day:02}.json", lines)
    request = RunRequest(parse_window(f"2026-03-{day:02}/2026-03-{day + 1:02}"), **choices)
    report = workspace.run(APPEND.format(home=workspace.settings.home), request)
    assert report.error is None, report.error
    assert report.version is not None
    return report.version


def days(database: ClickHouseDatabase) -> list[str]:
    sql = "SELECT toDayOfMonth(day), count(), any(page) FROM visits GROUP BY 1 ORDER BY 1 FORMAT TSV"
    return database.query(sql).splitlines()


def test_days_run_in_any_order_and_again_give_the_same_store(
    workspace: Workspace, database: ClickHouseDatabase
) -> None:
    versions = [run_day(workspace, *day) for day in ((3, 30, "c"), (1, 10, "a"), (2, 5, "b"), (2, 20, "b"))]
    run_day(workspace, 1, 10, "a")
    assert days(database) == ["1\t10\ta", "2\t20\tb", "3\t30\tc"]
    kept = workspace.catalog.versions.list("visits", [VersionState.RETIRED])
    assert {v.id for v in kept if v.erased_at is None} == set()
    assert {v.rows_id for v in kept} == {versions[0]}
    report = workspace.run(APPEND.format(home=workspace.settings.home).replace("{{ ds }}", "2026-03-01"))
    assert isinstance(report.error, RunFailed)
    assert "overwrites one time interval" in report.error.message


def test_a_full_refresh_begins_new_rows_and_can_be_rolled_back(
    workspace: Workspace, database: ClickHouseDatabase
) -> None:
    run_day(workspace, 1, 10, "a")
    run_day(workspace, 2, 20, "b")
    run_day(workspace, 2, 3, "new", full_refresh=True)
    assert days(database) == ["2\t3\tnew"]
    spec = workspace.spec(APPEND.format(home=workspace.settings.home))
    connections = connections_of(workspace.settings)

    def roll_back() -> None:
        publishing.rollback(workspace.catalog, spec, lambda name: open_target(spec, name, connections))

    roll_back()
    assert days(database) == ["1\t10\ta", "2\t20\tb"]
    with pytest.raises(NotFound) as caught:
        roll_back()
    assert "full-refresh" in caught.value.hint
    run_day(workspace, 3, 1, "c")
    assert days(database) == ["1\t10\ta", "2\t20\tb", "3\t1\tc"]


def merge(workspace: Workspace, rows: list[dict[str, Any]], fields: str = "id: bigint, name: string") -> Any:
    workspace.write("people.json", [json.dumps(row) for row in rows])
    return workspace.run(MERGE.format(home=workspace.settings.home, fields=fields))


def test_rows_are_merged_by_their_key_and_deleted_ones_go_away(
    workspace: Workspace, database: ClickHouseDatabase
) -> None:
    first = merge(workspace, [{"id": n, "name": f"n{n}"} for n in range(4)])
    change: list[dict[str, Any]] = [
        {"id": 1, "name": "one"},
        {"id": 2, "gone": True},
        {"id": 9, "name": "nine", "gone": False},
    ]
    for _ in range(2):
        report = merge(workspace, change)
        assert (first.error, report.error) == (None, None)
    assert database.query("SELECT id, name FROM people ORDER BY id FORMAT TSV").splitlines() == [
        "0\tn0", "1\tone", "3\tn3", "9\tnine",
    ]  # fmt: skip
    wider = merge(workspace, [{"id": 0, "name": "n0", "city": "x"}], "id: bigint, name: string, city: string")
    assert wider.error is None
    assert database.query("SELECT count(city) FROM people").strip() == "1"


def test_a_line_whose_columns_or_targets_change_asks_for_a_full_refresh(
    workspace: Workspace, database: ClickHouseDatabase
) -> None:
    assert merge(workspace, [{"id": 1, "name": "a"}]).error is None
    changed = merge(workspace, [{"id": 1, "name": 2}], "id: bigint, name: int")
    assert isinstance(changed.error, RunFailed)
    assert "name was a string and is a int" in changed.error.message
    text = MERGE.format(home=workspace.settings.home, fields="id: bigint, name: string")
    other = workspace.run(text.replace("order_by: [id]", "order_by: [id, name]"))
    assert isinstance(other.error, RunFailed)
    assert "has other options" in other.error.message
    assert database.query("SELECT count() FROM people").strip() == "1"
