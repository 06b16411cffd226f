"""Runs and their steps: started once, resumed where they stopped, ended for good."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest

from millrace.catalog import Catalog, NewRun, RunError, RunState, StepState, this_process
from millrace.catalog.owner import Owner
from millrace.errors import NotFound, RunConflict, RunFailed
from tests.core.catalog.life import ASSET, ELSEWHERE, STEPS, TTL_S, HandClock, Life

ERROR = RunError("TransientError", "the server hung up", "try again")


@pytest.fixture(scope="module")
def dead() -> Owner:
    """A process of this machine that has ended."""
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    return replace(this_process(), pid=int(child.stdout), started="1")


def opened_by(owner: Owner, life: Life, shared_url: str) -> Life:
    return Life(Catalog.open(shared_url, clock=life.clock, owner=owner), life.clock)


def test_a_run_starts_with_its_steps_pending(life: Life) -> None:
    life.register()
    window = (life.clock.moment - timedelta(hours=1), life.clock.moment)
    run = life.catalog.runs.start(NewRun(ASSET, "d" * 64, STEPS, "schedule", *window))
    assert run.state is RunState.RUNNING
    assert (run.window_start, run.window_end) == window
    assert (run.trigger, run.attempt, run.step, run.pid) == ("schedule", 1, None, os.getpid())
    assert run.unfinished == STEPS
    assert {s.state for s in run.steps} == {StepState.PENDING}
    assert life.catalog.runs.get(run.id) == run


def test_a_run_of_an_unknown_asset_is_refused(catalog: Catalog) -> None:
    with pytest.raises(NotFound, match="no asset 'clicks'"):
        catalog.runs.start(NewRun(ASSET, "d", STEPS))
    with pytest.raises(NotFound, match="no run 'nope'"):
        catalog.runs.get("nope")
    with pytest.raises(NotFound, match="no run 'nope'"):
        catalog.runs.save_stats("nope", {})


def test_a_key_starts_a_run_only_once(life: Life) -> None:
    first = life.start(key="scheduled__2026-03-01")
    assert life.start(key="scheduled__2026-03-01") == first
    assert life.start(key="scheduled__2026-03-02").id != first.id
    assert life.start().id != life.start().id
    assert life.catalog.runs.find(ASSET, "scheduled__2026-03-01") == first
    assert life.catalog.runs.find(ASSET, "never") is None


def test_steps_tell_where_to_go_on(life: Life) -> None:
    run = life.start()
    started = life.catalog.runs.start_step(run.id, "plan")
    assert (started.state, started.attempt, started.started_at) == (StepState.RUNNING, 1, life.clock.moment)
    life.clock.advance(2)
    done = life.catalog.runs.finish_step(run.id, "plan", {"rows": 7})
    assert (done.state, done.ended_at, done.stats) == (StepState.SUCCEEDED, life.clock.moment, {"rows": 7})
    life.catalog.runs.start_step(run.id, "stage")
    failed = life.catalog.runs.fail_step(run.id, "stage", ERROR, {"rows": 3})
    assert (failed.state, failed.error, failed.stats) == (StepState.FAILED, ERROR, {"rows": 3})
    now = life.catalog.runs.get(run.id)
    assert now.step == "stage"
    assert now.unfinished[0] == "stage"
    again = life.catalog.runs.start_step(run.id, "stage")
    assert (again.attempt, again.error, again.stats, again.ended_at) == (2, None, {}, None)


def test_a_step_that_was_not_declared_comes_last(life: Life) -> None:
    run = life.start(steps=())
    life.catalog.runs.start_step(run.id, "plan")
    life.catalog.runs.start_step(run.id, "load:late")
    assert [s.name for s in life.catalog.runs.get(run.id).steps] == ["plan", "load:late"]
    with pytest.raises(NotFound, match="has no step 'stage'"):
        life.catalog.runs.finish_step(run.id, "stage")


def test_the_first_plan_holds_for_ever(life: Life) -> None:
    run = life.start()
    plan = {"splits": ({"low": 1},), "watermark": None}
    frozen = life.catalog.runs.freeze_plan(run.id, plan)
    assert frozen == {"splits": [{"low": 1}], "watermark": None}
    assert life.catalog.runs.freeze_plan(run.id, {"splits": []}) == frozen
    assert life.catalog.runs.get(run.id).plan == frozen


def test_a_run_ends_with_its_statistics_and_error_and_gives_its_lease_back(life: Life) -> None:
    run = life.prepare().run
    life.catalog.runs.start_step(run.id, "load:redis")
    life.catalog.runs.save_stats(run.id, {"rows": 1})
    ended = life.catalog.runs.finish(run.id, RunState.FAILED, error=ERROR)
    assert (ended.state, ended.error, ended.stats, ended.ended_at) == (
        RunState.FAILED,
        ERROR,
        {"rows": 1},
        life.clock.moment,
    )
    assert {s.name: s.state for s in ended.steps}["load:redis"] is StepState.FAILED
    assert life.catalog.leases.holder(ASSET) is None
    assert life.catalog.runs.finish(run.id, RunState.CANCELLED, stats={"rows": 2}).stats == {"rows": 2}
    with pytest.raises(ValueError, match="succeeded, failed or cancelled"):
        life.catalog.runs.finish(run.id, RunState.RUNNING)


def test_a_failed_run_resumes_with_its_plan_its_steps_and_its_version(life: Life) -> None:
    prepared = life.prepare()
    life.catalog.runs.start_step(prepared.run.id, "plan")
    life.catalog.runs.finish_step(prepared.run.id, "plan")
    before = life.catalog.runs.finish(prepared.run.id, RunState.FAILED, error=ERROR)
    after = life.catalog.runs.resume(prepared.run.id)
    assert (after.state, after.attempt, after.error, after.ended_at) == (RunState.RUNNING, 2, None, None)
    assert (after.plan, after.version_id) == (before.plan, prepared.version.id)
    assert after.unfinished[0] == "stage"
    assert life.catalog.leases.acquire(ASSET, after.id, TTL_S).token > prepared.lease.token


def test_a_process_that_was_thought_dead_cannot_end_the_run_that_was_taken_from_it(life: Life) -> None:
    run = life.start()
    life.catalog.runs.finish(run.id, RunState.FAILED, attempt=run.attempt)
    life.catalog.runs.resume(run.id)
    with pytest.raises(RunConflict, match=f"run {run.id} of 'clicks' was resumed meanwhile"):
        life.catalog.runs.finish(run.id, RunState.FAILED, attempt=run.attempt)
    assert life.catalog.runs.get(run.id).state is RunState.RUNNING


def test_a_run_that_succeeded_or_is_under_way_is_not_resumed(life: Life, shared_url: str) -> None:
    run = life.prepare().run
    with opened_by(ELSEWHERE, life, shared_url).catalog as elsewhere:
        with pytest.raises(
            RunConflict, match=rf"run {run.id} of 'clicks' is still under way on .* \(pid {os.getpid()}\)"
        ):
            elsewhere.runs.resume(run.id)
        life.clock.advance(TTL_S * 2)
        with pytest.raises(RunConflict, match="still under way"):  # no lease any more, but its process is alive
            elsewhere.runs.resume(run.id)
    life.catalog.runs.finish(run.id, RunState.SUCCEEDED)
    with pytest.raises(RunFailed, match="has succeeded"):
        life.catalog.runs.resume(run.id)


def test_a_run_whose_process_was_killed_is_gone_at_once_and_can_be_resumed(
    life: Life, shared_url: str, dead: Owner
) -> None:
    with opened_by(dead, life, shared_url).catalog as killed:
        run = Life(killed, life.clock).prepare().run
    assert [r.id for r in life.catalog.runs.gone(TTL_S)] == [run.id]
    assert life.catalog.runs.resume(run.id).pid == os.getpid()
    assert life.catalog.runs.gone(TTL_S) == []


def test_a_run_of_another_machine_is_gone_when_it_was_silent_too_long(
    life: Life, shared_url: str, clock: HandClock
) -> None:
    with opened_by(ELSEWHERE, life, shared_url).catalog as elsewhere:
        prepared = Life(elsewhere, clock).prepare()
        clock.advance(TTL_S - 5)
        elsewhere.leases.renew(prepared.lease, TTL_S)
    clock.advance(TTL_S - 5)
    assert life.catalog.runs.gone(TTL_S) == []
    clock.advance(10)
    assert [r.id for r in life.catalog.runs.gone(TTL_S)] == [prepared.run.id]


def test_a_run_of_this_process_that_waits_for_the_lease_is_not_gone(life: Life) -> None:
    life.start()
    life.clock.advance(TTL_S * 10)
    assert life.catalog.runs.gone(TTL_S) == []


def test_a_run_between_two_processes_is_judged_by_time_alone(
    life: Life, shared_url: str, dead: Owner, clock: HandClock
) -> None:
    run = life.start()
    with opened_by(dead, life, shared_url).catalog as task:
        task.leases.acquire(ASSET, run.id, 3600, by_process=False)
    assert life.catalog.runs.gone(TTL_S) == []
    with pytest.raises(RunConflict, match="still under way"):
        life.catalog.runs.resume(run.id)
    clock.advance(3601)
    assert [r.id for r in life.catalog.runs.gone(TTL_S)] == [run.id]


def test_runs_are_listed_newest_first_by_asset_and_state_in_pages(life: Life) -> None:
    runs = [life.start() for _ in range(5)]
    life.catalog.runs.finish(runs[1].id, RunState.FAILED)
    other = Life(life.catalog, life.clock, "views").start()
    newest_first = [r.id for r in reversed(runs)]
    assert [r.id for r in life.catalog.runs.list()] == [other.id, *newest_first]
    assert [r.id for r in life.catalog.runs.list(ASSET)] == newest_first
    assert [r.id for r in life.catalog.runs.list(ASSET, state=RunState.FAILED)] == [runs[1].id]
    page = life.catalog.runs.list(ASSET, limit=2)
    assert [r.id for r in page] == newest_first[:2]
    assert [r.id for r in life.catalog.runs.list(ASSET, limit=2, before=page[-1].id)] == newest_first[2:4]


def test_runs_that_start_in_one_moment_have_ids_of_their_own(life: Life) -> None:
    life.register()
    runs = [life.catalog.runs.start(NewRun(ASSET, "d", ("plan",))) for _ in range(120)]
    assert len({r.id for r in runs}) == 120
