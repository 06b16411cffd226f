"""kill -9 in runs of `merge` and `append`, and then again: what is there is as if nothing had happened."""

from __future__ import annotations

import json
from typing import Any

import pytest

from millrace.jobs.request import RunRequest
from millrace.jobs.windows import parse_window
from tests.jobs.conftest import Workspace
from tests.jobs.test_kill import crash
from tests.servers.clickhouse import ClickHouseDatabase
from tests.servers.redis import RedisServer

ROWS = 3000
MERGE = """
version: 1
asset: people
source:
  log: {{path: "{path}", format: json, fields: {{id: bigint, run: int, gone: boolean}}}}
targets:
  - redis: {{connection: store, key: "{{id}}"}}
mode: merge
deletes: gone
limits: {{channels: 2{limits}}}
"""
APPEND = """
version: 1
asset: visits
source:
  log: {{path: "{home}/{{{{ ds }}}}.json", format: json, fields: {{id: bigint, day: date, run: int}}}}
targets:
  - clickhouse: {{connection: store, order_by: [id], interval: day}}
mode: append
"""


def write_merge(workspace: Workspace, run: int, rows: list[dict[str, Any]], limits: str = "") -> str:
    path = workspace.write(f"people-{run}.json", [json.dumps({"run": run, **row}) for row in rows])
    text = MERGE.format(path=path, limits=limits)
    (workspace.settings.home / "spec.yaml").write_text(text)
    return text


@pytest.mark.parametrize("moment", ["middle load:redis", "end publish"])
def test_a_killed_merge_is_repeated_and_ends_as_if_it_had_run_once(
    workspace: Workspace, redis_server: RedisServer, moment: str
) -> None:
    assert workspace.run(write_merge(workspace, 1, [{"id": n} for n in range(ROWS)])).error is None
    changes = [{"id": n, "gone": n % 3 == 0} for n in range(ROWS // 2)]
    text = write_merge(workspace, 2, changes, ", rows_per_second: 500" if moment.startswith("middle") else "")
    crash(workspace, moment)
    again = workspace.run(text)
    assert again.error is None, again.error
    people = workspace.client().kv("people")
    rows = [row for first in range(0, ROWS, 1000) for row in people.multi_get(range(first, first + 1000))]
    expected = [1 if n >= ROWS // 2 else None if n % 3 == 0 else 2 for n in range(ROWS)]
    assert [row and row["run"] for row in rows] == expected
    with redis_server.client() as client:
        assert sum(1 for _ in client.scan_iter("people:*:*", count=1000)) == ROWS - ROWS // 6


def test_a_killed_append_is_repeated_and_doubles_nothing(
    workspace: Workspace, clickhouse_database: ClickHouseDatabase
) -> None:
    (workspace.settings.home / "connections.yaml").write_text(f"store: {clickhouse_database.url!r}\n")
    text = APPEND.format(home=workspace.settings.home)
    (workspace.settings.home / "spec.yaml").write_text(text)

    def write(day: int, run: int, count: int) -> RunRequest:
        lines = [json.dumps({"id": n, "day": f"2026-03-0{day}", "run": run}) for n in range(count)]
        workspace.write(f"2026-03-0{day}.json", lines)
        return RunRequest(parse_window(f"2026-03-0{day}/2026-03-0{day + 1}"))

    def days() -> list[str]:
        sql = "SELECT toDayOfMonth(day), count(), groupUniqArray(run) FROM visits GROUP BY 1 ORDER BY 1 FORMAT TSV"
        return clickhouse_database.query(sql).splitlines()

    for day, count in ((1, 100), (2, 200)):
        assert workspace.run(text, write(day, 1, count)).error is None
    request = write(2, 2, 50)
    crash(workspace, "end load:clickhouse", "2026-03-02/2026-03-03")
    assert days() == ["1\t100\t[1]", "2\t200\t[1]"]
    again = workspace.run(text, request)
    assert again.error is None, again.error
    assert days() == ["1\t100\t[1]", "2\t50\t[2]"]
