"""Runs whose steps are done one by one, as Airflow does them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from millrace.catalog import RunState, VersionState
from millrace.errors import Cancelled, CheckFailed, NotFound, RunConflict, RunFailed, TargetError, TransientError
from millrace.jobs import actions, steps
from millrace.jobs.context import Stats
from millrace.jobs.request import RunRequest
from millrace.jobs.session import SessionHolder
from tests.jobs.conftest import Workspace
from tests.servers.redis import RedisServer

SPEC = """
version: 1
asset: people
source:
  log: {{path: "{path}", format: json, fields: {{id: bigint, age: int}}}}
checks:
  - unique: [id]
targets:
  - redis: {{connection: store, key: "{{id}}"}}
  - redis: {{connection: other, key: "{{id}}"}}
    name: second
limits: {{channels: 2}}
"""
BEFORE_PUBLISH = ("plan", "stage", "check", "load:redis", "load:second", "verify:redis", "verify:second")
ALL = (*BEFORE_PUBLISH, "publish", "retire")


class Stepwise:
    """One run, step by step, in the tests' Spark session."""

    def __init__(self, workspace: Workspace, text: str, key: str) -> None:
        self.workspace, self.key, self.spec = workspace, key, workspace.spec(text)
        self.id = self.begin()

    def begin(self) -> str:
        return steps.begin(self.spec, self.workspace.settings, RunRequest(trigger="airflow", key=self.key))

    def do(self, *names: str) -> Stats:
        done: Stats = {}
        for name in names:
            done = steps.do_step(self.id, name, self.workspace.settings, session=self.workspace.session)
        return done

    def give_up(self, why: str = "a task failed") -> None:
        steps.give_up(self.id, RunFailed(why), self.workspace.settings, session=self.workspace.session)

    def attempts(self) -> dict[str, int]:
        return {s.name: s.attempt for s in self.workspace.catalog.runs.get(self.id).steps}


@pytest.fixture
def text(workspace: Workspace, redis_with_password: RedisServer) -> str:
    connect(workspace, redis_with_password.url)
    return spec_of(workspace, 20)


def connect(workspace: Workspace, other: str, timeout: str = "") -> None:
    connections = workspace.settings.home / "connections.yaml"
    store = connections.read_text().splitlines()[0].partition("?")[0].rstrip("'")
    connections.write_text(f"{store}{timeout}'\nother: {other!r}\n")


def spec_of(workspace: Workspace, rows: int, age: int = 1) -> str:
    path = workspace.write("people.json", [json.dumps({"id": n, "age": age}) for n in range(rows)])
    return SPEC.format(path=path)


def test_a_run_done_step_by_step_is_published_and_frees_the_asset(workspace: Workspace, text: str) -> None:
    run = Stepwise(workspace, text, "monday")
    done = run.do(*ALL[:-1])
    record = workspace.catalog.runs.get(run.id)
    assert (record.state, record.trigger, done["version"]) == (RunState.RUNNING, "airflow", record.version_id)
    holder = workspace.catalog.leases.holder("people")
    assert holder is not None
    assert holder.run_id == run.id
    run.do("retire")
    record = workspace.catalog.runs.get(run.id)
    assert record.state is RunState.SUCCEEDED
    assert record.stats["source"]["rows_read"] == 20
    assert set(record.stats["step_seconds"]) == set(ALL)
    assert workspace.catalog.leases.holder("people") is None
    assert set(run.attempts().values()) == {1}


def test_begin_asked_again_is_the_same_run_and_after_its_end_a_new_one(workspace: Workspace, text: str) -> None:
    run = Stepwise(workspace, text, "k" * 250)
    assert run.begin() == run.id
    with pytest.raises(RunConflict, match=run.id):
        Stepwise(workspace, text, "tuesday")
    with pytest.raises(RunConflict, match=run.id):
        workspace.run(text)
    run.do(*ALL)
    assert run.begin() != run.id


def test_a_cleared_step_is_done_again_from_the_same_plan_and_stage(workspace: Workspace, text: str) -> None:
    run = Stepwise(workspace, text, "monday")
    run.do(*BEFORE_PUBLISH)
    spec_of(workspace, 5)  # the source changes meanwhile
    assert run.do("load:redis")["rows_loaded"] == 20
    assert "verify:redis" in workspace.catalog.runs.get(run.id).unfinished
    run.do("publish", "retire")
    assert run.attempts() == dict.fromkeys(ALL, 1) | {"load:redis": 2, "verify:redis": 2}


@pytest.mark.parametrize("moment", ["middle load:redis", "begin publish"])
def test_a_step_whose_process_was_killed_is_done_again(
    workspace: Workspace, redis_server: RedisServer, text: str, moment: str
) -> None:
    first = Stepwise(workspace, text, "monday")
    first.do(*ALL)
    slow = spec_of(workspace, 3000, age=2).replace("channels: 2", "channels: 2, rows_per_second: 1000")
    run = Stepwise(workspace, slow if moment.startswith("middle") else slow.replace("1000", "1000000"), "tuesday")
    step = moment.split(" ")[1]
    run.do(*ALL[: ALL.index(step)])
    kill_in(workspace, run.id, moment)
    with pytest.raises(RunConflict, match=run.id):
        Stepwise(workspace, text, "wednesday")
    assert run.begin() == run.id
    run.do(*ALL[ALL.index(step) :])
    assert workspace.client().kv("people").get(1) == {"id": 1, "age": 2}
    assert redis_server.client().dbsize() == 20 + 3000 + 2
    assert run.attempts()[step] == 2


def kill_in(workspace: Workspace, run_id: str, moment: str) -> None:
    home = str(workspace.settings.home)
    done = subprocess.run(
        [sys.executable, "-m", "tests.jobs.crashing_run", "-", home, moment, run_id],
        env={name: value for name, value in os.environ.items() if not name.startswith("PYSPARK_GATEWAY")},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]


def test_a_run_that_was_given_up_left_nothing_and_can_go_on(
    workspace: Workspace, redis_server: RedisServer, text: str
) -> None:
    run = Stepwise(workspace, text, "monday")
    run.do(*BEFORE_PUBLISH)
    rejected = str(workspace.catalog.runs.get(run.id).version_id)
    run.give_up()
    run.give_up()
    assert redis_server.client().dbsize() == 0
    record = workspace.catalog.runs.get(run.id)
    assert (record.state, record.error and record.error.message) == (RunState.FAILED, "a task failed")
    assert workspace.catalog.leases.holder("people") is None
    spec_of(workspace, 5)
    run.do("load:redis", "publish", "retire")
    version = workspace.catalog.versions.current("people")
    assert version is not None
    assert (version.id != rejected, version.rows) == (True, 20)
    assert workspace.catalog.versions.get(rejected).state is VersionState.REJECTED
    assert run.attempts()["stage"] == 1, "the stage was kept"
    assert run.attempts()["load:second"] == 2, "what was given up in the other store was loaded again"


def test_a_stage_that_is_gone_is_made_again_from_the_plan(workspace: Workspace, text: str) -> None:
    run = Stepwise(workspace, text, "monday")
    run.do("plan", "stage", "check")
    storage = workspace.settings.home / "work" / "people" / run.id
    for file in (storage / "stage").iterdir():
        file.unlink()
    (storage / "stage").rmdir()
    run.do("load:redis")
    assert run.attempts()["stage"] == 2


def test_a_step_that_fails_says_why_and_leaves_the_run_open(workspace: Workspace, text: str) -> None:
    (workspace.settings.home / "people.json").write_text('{"id": 1}\n{"id": 1}\n')
    run = Stepwise(workspace, text, "monday")
    with pytest.raises(CheckFailed, match="unique: id"):
        run.do("plan", "stage", "check")
    record = workspace.catalog.runs.get(run.id)
    assert record.state is RunState.RUNNING
    assert {s.name: s.error.kind for s in record.steps if s.error} == {"check": "CheckFailed"}
    with pytest.raises(NotFound, match="no step 'load:nowhere'"):
        run.do("load:nowhere")


def test_a_store_that_is_away_is_transient_and_the_step_passes_when_it_is_back(
    workspace: Workspace,
    redis_server: RedisServer,
    redis_with_password: RedisServer,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actions, "RETRY_WAITS_S", ())
    run = Stepwise(workspace, text, "monday")
    run.do(*BEFORE_PUBLISH)
    connect(workspace, redis_with_password.url, timeout="?timeout=1s")
    redis_server.pause()
    try:
        with pytest.raises(TransientError):
            run.do("publish")
    finally:
        redis_server.resume()
    connect(workspace, redis_with_password.url)
    run.do("publish", "retire")
    assert workspace.catalog.unconfirmed_pointers("people") == []


def test_a_published_run_is_not_loaded_again(workspace: Workspace, text: str) -> None:
    run = Stepwise(workspace, text, "monday")
    run.do(*ALL)
    with pytest.raises(RunFailed, match="has published version") as caught:
        run.do("load:redis")
    assert "clear the DAG run from its first task" in caught.value.hint
    assert run.do("publish")["version"] == workspace.catalog.assets.get("people").current_version


def test_a_run_uses_the_spec_that_it_began_with(workspace: Workspace, text: str) -> None:
    run = Stepwise(workspace, text, "monday")
    run.do("plan", "stage")
    changed = workspace.spec(text.replace("unique: [id]", "not_null: [id]"))
    assert changed.digest != run.spec.digest
    with pytest.raises(RunConflict):
        steps.begin(changed, workspace.settings, RunRequest(key="tuesday"))
    run.do("check")
    assert [c.result.description for c in workspace.catalog.checks.of_run(run.id)] == ["unique: id"]


def test_a_wrong_password_is_no_matter_for_a_retry(workspace: Workspace, redis_with_password: RedisServer) -> None:
    connect(workspace, f"redis://:wrong@127.0.0.1:{redis_with_password.port}")
    run = Stepwise(workspace, spec_of(workspace, 3), "monday")
    with pytest.raises(TargetError):
        run.do("plan", "stage")
    assert run.attempts()["stage"] == 1


def test_a_dry_run_is_given_up_without_spark_or_a_store(
    workspace: Workspace, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Stepwise(workspace, text, "dry")
    run.do("plan", "stage", "check")
    monkeypatch.setattr("millrace.jobs.publishing.erase_in_stores", lambda *_: pytest.fail("a store was asked"))
    unused = SessionHolder(workspace.settings)
    monkeypatch.setattr(unused, "get", lambda: pytest.fail("Spark was started"))
    steps.give_up(run.id, Cancelled("a dry run ends here"), workspace.settings, session=unused)
    record = workspace.catalog.runs.get(run.id)
    version = workspace.catalog.versions.get(str(record.version_id))
    assert (record.state, version.state) == (RunState.CANCELLED, VersionState.REJECTED)
    assert version.erased_at is not None


def test_limits_that_were_chosen_for_a_run_hold_in_each_of_its_steps(workspace: Workspace, text: str) -> None:
    spec = workspace.spec(text)
    request = RunRequest(trigger="airflow", key="with less", limits={"channels": 1, "rows_per_second": 5000})
    run_id = steps.begin(spec, workspace.settings, request)
    steps.do_step(run_id, "plan", workspace.settings, session=workspace.session)
    record = workspace.catalog.runs.get(run_id)
    assert record.choices == {"limits": {"channels": 1, "rows_per_second": 5000}}
    assert record.plan is not None
    assert record.plan["channels"] == 1
    steps.give_up(run_id, RunFailed("enough"), workspace.settings, session=workspace.session)
