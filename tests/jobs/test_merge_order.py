"""Merges in any order: days that come late, and rows that do, give what the days in order would have given."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace.connectors.clickhouse.query import ClickHouseReader
from millrace.connectors.hbase.lookup import HBaseReader
from millrace.connectors.redis.lookup import RedisReader
from millrace.errors import RunFailed
from millrace.jobs import kept_keys
from millrace.jobs.context import connections_of, open_target
from millrace.jobs.request import RunRequest
from millrace.jobs.runner import RunReport
from millrace.jobs.windows import parse_window
from tests.jobs.conftest import Workspace
from tests.servers.clickhouse import ClickHouse
from tests.servers.hbase import HBase

ASSET = "late_days"
DAYS = """
version: 1
asset: late_days
source:
  log: {{path: "{home}/{{{{ ds }}}}.json", format: json, fields: {{id: bigint, note: string, gone: boolean}}}}
targets:
  - redis: {{connection: store, key: "{{id}}"}}
  - hbase: {{connection: hbase_main, table: late_days, row_key: "{{id}}", family: n}}
  - clickhouse: {{connection: clickhouse_main, order_by: [id]}}
mode: merge
deletes: gone
versions: {{keep: 1}}
"""
LATEST = """
version: 1
asset: people
source:
  log: {{path: "{home}/people.json", format: json, fields: {{id: bigint, note: string, at: timestamp, gone: boolean}}}}
targets:
  - redis: {{connection: store, key: "{{id}}"}}
mode: merge
deletes: gone
latest_by: at
"""
ROWS: dict[int, list[dict[str, Any]]] = {
    1: [{"id": n, "note": f"first {n}"} for n in range(1, 5)],
    2: [{"id": 1, "note": "second"}, {"id": 2, "gone": True}, {"id": 5, "note": "second"}, {"id": 8, "gone": True}],
    3: [{"id": 2, "note": "third"}, {"id": 3, "gone": True}, {"id": 6, "note": "third"}, {"id": 1, "note": None}],
}
IN_ORDER = {1: None, 2: "third", 4: "first 4", 5: "second", 6: "third"}


@pytest.fixture
def place(workspace: Workspace, hbase: HBase, clickhouse: ClickHouse) -> Iterator[Workspace]:
    database = clickhouse.new_database()
    with (workspace.settings.home / "connections.yaml").open("a") as file:
        file.write(f"hbase_main: {hbase.url!r}\nclickhouse_main: {database.url!r}\n")
    for day, rows in ROWS.items():
        workspace.write(f"2026-03-0{day}.json", [json.dumps(row) for row in rows])
    yield workspace
    target = open_target(workspace.spec(DAYS.format(home="x")), "hbase", connections_of(workspace.settings))
    target.unpublish(ASSET)
    target.close()
    database.drop()


def run_day(place: Workspace, day: int) -> RunReport:
    request = RunRequest(parse_window(f"2026-03-0{day}/2026-03-0{day + 1}"))
    report = place.run(DAYS.format(home=place.settings.home), request)
    assert report.error is None, report.error
    return report


def superseded(report: RunReport) -> list[int]:
    return [target.rows_superseded for target in report.statistics.targets.values()]


async def _held(place: Workspace) -> dict[str, dict[int, Any]]:
    connection = connections_of(place.settings)
    found: dict[str, dict[int, Any]] = {}
    for name, store in (("store", RedisReader), ("hbase_main", HBaseReader)):
        async with store(connection(name), ASSET) as reader:
            rows = await reader.multi_get(range(1, 10))
            found[name] = {row["id"]: row["note"] for row in rows if row is not None}
    async with ClickHouseReader(connection("clickhouse_main")) as queries:
        found["clickhouse_main"] = dict((await queries.query(f"SELECT id, note FROM {ASSET}")).rows)
    return found


def test_days_merged_in_any_order_give_every_store_the_rows_of_the_days_in_order(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_keys, "MOST_FOLDERS", 1)  # the keys of the first two days are put together
    assert [superseded(run_day(place, day)) for day in (2, 3, 1, 2)] == [[0] * 3, [0] * 3, [3] * 3, [2] * 3]
    assert len(kept(place, ASSET, "many-")) == 2, "the last run's, and the one before, which it replaces"
    assert asyncio.run(_held(place)) == dict.fromkeys(("store", "hbase_main", "clickhouse_main"), IN_ORDER)


def kept(place: Workspace, asset: str, start: str = "") -> list[str]:
    """The folders of keys."""
    return sorted(path.name for path in (Path(place.settings.work_dir) / "_keys" / asset).glob(f"{start}*"))


def merge(place: Workspace, *rows: dict[str, Any]) -> RunReport:
    place.write("people.json", [json.dumps(row) for row in rows])
    return place.run(LATEST.format(home=place.settings.home))


def notes(place: Workspace, *ids: int) -> list[Any]:
    return [row and row["note"] for row in place.client().kv("people").multi_get(ids)]


def row(id_: int, note: str, minute: int | None, **more: Any) -> dict[str, Any]:
    return {"id": id_, "note": note, "at": None if minute is None else f"2026-03-01T00:{minute:02}:00Z", **more}


def test_a_row_that_comes_late_never_takes_the_place_of_a_newer_one(workspace: Workspace) -> None:
    assert merge(workspace, row(1, "a", 10), row(2, "b", 20), row(3, "c", 30), row(4, "d", None)).error is None
    late = merge(workspace, row(1, "late", 9), row(2, "equal", 20), row(3, "", 29, gone=True), row(4, "newer", 1))
    assert (late.error, superseded(late)) == (None, [2])
    assert notes(workspace, 1, 2, 3, 4) == ["a", "equal", "c", "newer"]
    gone = merge(workspace, row(1, "", 40, gone=True), row(2, "untimed", None))
    assert (gone.error, superseded(gone)) == (None, [1])
    back = merge(workspace, row(1, "before the delete", 39), row(3, "new", 50))
    assert (back.error, superseded(back)) == (None, [1])
    assert notes(workspace, 1, 2, 3, 4) == [None, "equal", "new", "newer"]


def test_the_keys_of_many_runs_are_put_together_and_a_crash_or_a_late_reader_meets_nothing_half_done(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_keys, "MOST_FOLDERS", 1)
    keys = Path(workspace.settings.work_dir) / "_keys/people"
    first = merge(workspace, row(1, "a", 10), row(2, "b", None), row(3, "c", 30))
    for name, marker in (("many-unfinished", None), ("many-cut-short", '{"line": "')):  # as crashes leave them
        shutil.copytree(keys / str(first.run_id), keys / name)
        if marker is not None:
            (keys / name / "_runs.json").write_text(marker)
    second = merge(workspace, row(1, "late", 9), row(4, "d", 40))
    many = f"many-{second.run_id}"
    assert kept(workspace, "people") == sorted([str(first.run_id), str(second.run_id), many]), "drafts are gone"
    late = [row(1, "late", 8), row(2, "newer", 1), row(3, "c", 31), row(4, "late", 39), row(5, "e", 5)]
    third = merge(workspace, *late)
    assert (third.error, superseded(third)) == (None, [2])
    assert kept(workspace, "people") == sorted([str(third.run_id), many]), "what is in one folder is gone from others"
    fourth = merge(workspace, row(2, "late", 0), row(3, "late", 30), row(5, "f", 6))
    assert (fourth.error, superseded(fourth)) == (None, [2])
    assert notes(workspace, 1, 2, 3, 4, 5) == ["a", "newer", "c", "d", "f"]


def test_a_late_run_is_refused_when_nothing_tells_any_more_which_rows_are_newer(workspace: Workspace) -> None:
    first = merge(workspace, row(1, "a", 10))
    shutil.rmtree(f"{workspace.settings.work_dir}/_keys/people/{first.run_id}")
    refused = merge(workspace, row(1, "late", 9))
    assert isinstance(refused.error, RunFailed)
    assert "full-refresh" in refused.error.hint
    assert merge(workspace, row(1, "newer", 11)).error is None
    other = workspace.run(LATEST.format(home=workspace.settings.home).replace("latest_by: at\n", ""))
    assert isinstance(other.error, RunFailed)
    assert "`latest_by` is gone" in other.error.message
    assert notes(workspace, 1) == ["newer"]
