"""Runs of a data interval: what stands in braces is that of the run, and a run without one is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from millrace.connectors.base import Window
from millrace.errors import SpecError
from millrace.jobs import steps
from millrace.jobs.request import RunRequest
from millrace.jobs.windows import parse_window
from tests.jobs.conftest import Workspace

SPEC = """
version: 1
asset: visits
source:
  log: {{path: "{home}/{{{{ ds }}}}.json", format: json, fields: {{id: bigint, hour: int}}}}
transform:
  - where: "hour < int('{{{{ data_interval_end | %H }}}}')"
  - derive: {{day: "date '{{{{ ds }}}}'"}}
targets:
  - redis: {{connection: store, key: "{{id}}"}}
"""


def hours(start: int, end: int, day: int = 1) -> Window:
    return Window(datetime(2026, 3, day, start, tzinfo=UTC), datetime(2026, 3, day, end, tzinfo=UTC))


def test_a_run_reads_its_own_interval(workspace: Workspace) -> None:
    for day in (1, 2):
        workspace.write(f"2026-03-0{day}.json", [json.dumps({"id": n, "hour": n}) for n in range(24)])
    text = SPEC.format(home=workspace.settings.home)
    assert workspace.run(text, RunRequest(hours(0, 6))).statistics.source.rows_staged == 6
    run_id = steps.begin(workspace.spec(text), workspace.settings, RunRequest(hours(0, 8, day=2), key="2"))
    for step in ("plan", "stage"):
        done = steps.do_step(run_id, step, workspace.settings, session=workspace.session)
    assert done["rows_staged"] == 8
    assert "2026-03-02" in json.dumps(workspace.catalog.runs.get(run_id).plan)


def test_a_run_without_the_interval_that_its_spec_needs_says_so(workspace: Workspace) -> None:
    with pytest.raises(SpecError, match="depends on the run's data interval") as caught:
        workspace.run(SPEC.format(home=workspace.settings.home))
    assert "--interval 2026-03-01/2026-03-02" in caught.value.hint
    assert workspace.catalog.assets.find("visits") is None


def test_intervals_are_written_in_iso_8601() -> None:
    assert parse_window("2026-03-01/2026-03-02") == Window(
        datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
    )
    assert parse_window("2026-03-01T02:00+02:00/2026-03-01T06:00Z") == hours(0, 6)
    for wrong in ("2026-03-01", "a/b", "2026-03-02/2026-03-01", "/2026-03-01", "2026-03-01/"):
        with pytest.raises(SpecError, match="the interval"):
            parse_window(wrong)
