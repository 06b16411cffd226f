"""kill -9 in every step, and then again: nothing lost, nothing doubled, readers never see a mix."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from redis import Redis

from millrace.catalog import RunState, VersionState
from millrace.errors import NotFound
from tests.jobs.conftest import Workspace
from tests.servers.redis import RedisServer

ROWS = 3000
SPEC = """
version: 1
asset: people
source:
  log: {{path: "{path}", format: json, fields: {{id: bigint, run: int}}}}
checks:
  - unique: [id]
targets:
  - redis: {{connection: store, key: "{{id}}"}}
limits: {{channels: 2{limits}}}
versions: {{keep: 1}}
"""
#: A step takes three seconds, so that it can be killed in the middle.
SLOW = ", rows_per_second: 1000"
MOMENTS = [
    "end plan",
    "middle stage",
    "end check",
    "middle load:redis",
    "end load:redis",
    "begin publish",
    "end publish",
    "begin retire",
]


@dataclass
class Watch:
    """A reader in a loop: it notes every answer that mixes two runs, and which runs it saw."""

    seen: set[int] = field(default_factory=set)
    mixed: list[object] = field(default_factory=list)


@contextmanager
def reader(workspace: Workspace) -> Iterator[Watch]:
    watch, ended = Watch(), threading.Event()
    people = workspace.client().kv("people")

    def read() -> None:
        while not ended.wait(0.005):  # as often as a busy application
            rows = people.multi_get([0, 1, ROWS // 2, ROWS - 1])
            runs = {row["run"] if row else None for row in rows}
            watch.seen |= {run for run in runs if run is not None}
            if len(runs) != 1 or None in runs:
                watch.mixed.append(rows)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        thread.join()


def write_spec(workspace: Workspace, run: int, limits: str = "") -> str:
    path = workspace.write(f"people-{run}.json", [json.dumps({"id": n, "run": run}) for n in range(ROWS)])
    text = SPEC.format(path=path, limits=limits)
    (workspace.settings.home / "spec.yaml").write_text(text)
    return text


def crash(workspace: Workspace, moment: str, *more: str) -> None:
    home = workspace.settings.home
    done = subprocess.run(
        [sys.executable, "-m", "tests.jobs.crashing_run", str(home / "spec.yaml"), str(home), moment, *more],
        env={name: value for name, value in os.environ.items() if not name.startswith("PYSPARK_GATEWAY")},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_goes_on_where_it_stopped(workspace: Workspace, redis_server: RedisServer, moment: str) -> None:
    first = workspace.run(write_spec(workspace, 1))
    assert first.error is None
    text = write_spec(workspace, 2, SLOW if moment.startswith("middle") else "")
    with reader(workspace) as watch:
        crash(workspace, moment)
        again = workspace.run(text)
    assert again.error is None
    assert watch.mixed == []
    assert watch.seen <= {1, 2}
    assert [row["run"] if row else None for row in workspace.client().kv("people").multi_get([0, ROWS - 1])] == [2, 2]
    assert_nothing_is_left_over(workspace, redis_server)


def assert_nothing_is_left_over(workspace: Workspace, redis_server: RedisServer) -> None:
    """The store holds the versions that the catalog says are kept, whole, and no key of any other."""
    kept = [v for v in workspace.catalog.versions.list("people") if v.erased_at is None]
    assert {v.state for v in kept} <= {VersionState.CURRENT, VersionState.RETIRED}
    client: Redis = redis_server.client()
    for version in kept:
        assert sum(1 for _ in client.scan_iter(f"people:{version.id}:*", count=1000)) == ROWS
    assert client.dbsize() == len(kept) * ROWS + 2
    assert workspace.catalog.leases.holder("people") is None
    assert workspace.catalog.runs.list("people", state=RunState.RUNNING) == []


def test_a_run_killed_before_its_first_publish_left_nothing_to_read(workspace: Workspace) -> None:
    write_spec(workspace, 1)
    crash(workspace, "end load:redis")
    with pytest.raises(NotFound, match="no published version"):
        workspace.client().kv("people")
