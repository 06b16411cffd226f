"""One run of an asset at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.catalog import Catalog, RunState, this_process
from millrace.errors import RunConflict, RunFailed
from tests.core.catalog.life import ASSET, ELSEWHERE, TTL_S, HandClock, Life


def test_a_second_run_is_refused_and_told_who_holds_the_lease(life: Life) -> None:
    first, second = life.start(), life.start()
    life.catalog.leases.acquire(ASSET, first.id, TTL_S)
    with pytest.raises(RunConflict) as refusal:
        life.catalog.leases.acquire(ASSET, second.id, TTL_S)
    assert refusal.value.message == (
        f"'clicks' is being run by run {first.id} on {this_process().host} (pid {os.getpid()}) "
        "since 2026-03-01 12:00:02 UTC"
    )
    assert "its lease ends by itself in 60 s" in refusal.value.hint
    holder = life.catalog.leases.holder(ASSET)
    assert holder is not None
    assert (holder.run_id, holder.pid, holder.since) == (first.id, os.getpid(), life.clock.moment)


def test_leases_of_different_assets_do_not_meet(life: Life) -> None:
    other = Life(life.catalog, life.clock, "views")
    life.catalog.leases.acquire(ASSET, life.start().id, TTL_S)
    other.catalog.leases.acquire("views", other.start().id, TTL_S)


def test_a_released_lease_goes_to_the_next_run_with_a_larger_token(life: Life) -> None:
    first, second = life.start(), life.start()
    lease = life.catalog.leases.acquire(ASSET, first.id, TTL_S)
    life.catalog.leases.release(lease)
    life.catalog.leases.release(lease)
    assert life.catalog.leases.holder(ASSET) is None
    assert life.catalog.leases.acquire(ASSET, second.id, TTL_S).token > lease.token


def test_the_same_run_shares_its_lease_with_all_of_its_processes(life: Life, shared_url: str) -> None:
    run = life.start()
    lease = life.catalog.leases.acquire(ASSET, run.id, TTL_S, by_process=False)
    life.clock.advance(10)
    with Catalog.open(shared_url, clock=life.clock, owner=ELSEWHERE) as elsewhere:
        shared = elsewhere.leases.acquire(ASSET, run.id, TTL_S, by_process=False)
    assert shared.token == lease.token
    assert shared.expires_at > lease.expires_at
    life.catalog.leases.renew(lease, TTL_S)


def test_an_expired_lease_can_be_taken_over_and_shuts_its_old_holder_out(life: Life) -> None:
    first, second = life.start(), life.start()
    old = life.catalog.leases.acquire(ASSET, first.id, TTL_S)
    life.clock.advance(TTL_S)
    new = life.catalog.leases.acquire(ASSET, second.id, TTL_S)
    assert new.token > old.token
    with pytest.raises(RunConflict, match=f"run {first.id} has lost the lease of 'clicks'.*run {second.id} took it"):
        life.catalog.leases.renew(old, TTL_S)
    life.catalog.leases.release(old)
    life.catalog.leases.renew(new, TTL_S)


def test_a_lease_that_is_renewed_in_time_does_not_expire(life: Life) -> None:
    first, second = life.start(), life.start()
    lease = life.catalog.leases.acquire(ASSET, first.id, TTL_S)
    for _ in range(5):
        life.clock.advance(TTL_S - 1)
        lease = life.catalog.leases.renew(lease, TTL_S)
        assert life.catalog.runs.get(first.id).heartbeat_at == life.clock.moment
        with pytest.raises(RunConflict):
            life.catalog.leases.acquire(ASSET, second.id, TTL_S)


def test_a_holder_that_slept_too_long_goes_on_if_nobody_took_over(life: Life) -> None:
    lease = life.catalog.leases.acquire(ASSET, life.start().id, TTL_S)
    life.clock.advance(TTL_S * 3)
    assert life.catalog.leases.holder(ASSET) is None
    assert life.catalog.leases.renew(lease, TTL_S).token == lease.token


def test_the_lease_of_a_killed_process_is_free_at_once(life: Life, shared_url: str) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        with open(f"/proc/{child.pid}/stat") as stat:
            started = stat.read().rpartition(")")[2].split()[19]
        owner = replace(this_process(), pid=child.pid, started=started)
        with Catalog.open(shared_url, clock=life.clock, owner=owner) as other:
            lease = other.leases.acquire(ASSET, Life(other, life.clock).start().id, TTL_S)
        run = life.start()
        with pytest.raises(RunConflict, match=rf"\(pid {child.pid}\)"):
            life.catalog.leases.acquire(ASSET, run.id, TTL_S)
        child.kill()
    assert life.catalog.leases.acquire(ASSET, run.id, TTL_S).token > lease.token


def test_a_lease_that_is_not_tied_to_a_process_outlives_it(life: Life, shared_url: str) -> None:
    dead = replace(this_process(), started="1")
    with Catalog.open(shared_url, clock=life.clock, owner=dead) as task:
        task.leases.acquire(ASSET, Life(task, life.clock).start().id, TTL_S, by_process=False)
    with pytest.raises(RunConflict):
        life.catalog.leases.acquire(ASSET, life.start().id, TTL_S)


def test_only_a_running_run_of_the_asset_can_take_the_lease(life: Life) -> None:
    run = life.start()
    other = Life(life.catalog, life.clock, "views").start()
    with pytest.raises(RunFailed, match="is of asset 'views'"):
        life.catalog.leases.acquire(ASSET, other.id, TTL_S)
    life.catalog.runs.finish(run.id, RunState.FAILED)
    with pytest.raises(RunFailed, match=f"run {run.id} of 'clicks' has failed"):
        life.catalog.leases.acquire(ASSET, run.id, TTL_S)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["acquire", "renew", "release", "wait"])), max_size=20))
def test_never_do_two_runs_hold_the_lease_and_tokens_only_grow(sqlite_url: str, actions: list[tuple[int, str]]) -> None:
    clock = HandClock()
    with Catalog.open(sqlite_url, clock=clock) as catalog:
        life = Life(catalog, clock)
        runs = [life.start() for _ in range(3)]
        leases = {}
        highest = 0
        for who, action in actions:
            run_id = runs[who].id
            holder = catalog.leases.holder(ASSET)
            if action == "wait":
                clock.advance(TTL_S / 2)
            elif action == "acquire" and (holder is None or holder.run_id == run_id):
                leases[who] = catalog.leases.acquire(ASSET, run_id, TTL_S)
                assert leases[who].token >= highest
                highest = leases[who].token
            elif action == "acquire":
                with pytest.raises(RunConflict):
                    catalog.leases.acquire(ASSET, run_id, TTL_S)
            elif action == "release" and who in leases:
                catalog.leases.release(leases.pop(who))
            elif who in leases and leases[who].token < highest:
                with pytest.raises(RunConflict):
                    catalog.leases.renew(leases[who], TTL_S)
            now = catalog.leases.holder(ASSET)
            assert now is None or leases[[r.id for r in runs].index(now.run_id)].token == highest
        clock.advance(1e6)
        catalog.assets.remove(ASSET)
