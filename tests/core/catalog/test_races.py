"""Several real processes at the same moment: one wins, the others are told, nothing is mixed."""

from __future__ import annotations

from functools import partial

import pytest

from millrace.catalog import ApiDefinition, Catalog, NewRun, Publication, Registration, VersionState
from millrace.errors import RunConflict
from tests.core.catalog.conftest import FreshDatabase
from tests.core.catalog.life import ASSET, COLUMNS, TTL_S, HandClock, Life, Prepared
from tests.core.catalog.processes import at_once

PROCESSES = 4


@pytest.mark.parametrize("_turn", range(4))
def test_a_fresh_catalog_is_migrated_once_when_many_processes_open_it(
    fresh_database: FreshDatabase, _turn: int
) -> None:
    url = fresh_database()

    def open_and_register() -> list[str]:
        with Catalog.open(url) as catalog:
            Life(catalog, HandClock()).register()
            return [a.name for a in catalog.assets.list()]

    assert at_once([open_and_register] * 2 * PROCESSES) == [[ASSET]] * 2 * PROCESSES


def test_of_many_processes_one_gets_the_lease(life: Life, shared_url: str) -> None:
    runs = [life.start().id for _ in range(PROCESSES)]

    def take(run_id: str) -> str:
        with Catalog.open(shared_url) as catalog:
            return f"{run_id} {catalog.leases.acquire(ASSET, run_id, TTL_S, by_process=False).token}"

    answers = at_once([partial(take, run_id) for run_id in runs])
    winners = [a for a in answers if isinstance(a, str)]
    assert len(winners) == 1
    run_id, token = winners[0].split()
    assert token == "1"
    losers = [str(a) for a in answers if not isinstance(a, str)]
    assert all(a.startswith("RunConflict") and f"run {run_id}" in a for a in losers)


def test_of_many_processes_one_takes_an_expired_lease_over(life: Life, shared_url: str) -> None:
    old = life.prepare()
    runs = [life.start().id for _ in range(PROCESSES)]

    def take(run_id: str) -> int:
        with Catalog.open(shared_url) as catalog:  # by the real clock, the lease has long run out
            return catalog.leases.acquire(ASSET, run_id, TTL_S, by_process=False).token

    answers = at_once([partial(take, run_id) for run_id in runs])
    assert [a for a in answers if isinstance(a, int)] == [old.lease.token + 1]


def test_the_old_and_the_new_holder_publish_at_once_and_only_the_new_one_does(life: Life, shared_url: str) -> None:
    """Without targets: while a store's pointer is on its way, the second process of the new holder is sent away."""
    old = life.prepare(targets=())
    life.clock.advance(TTL_S * 2)
    new = life.prepare(targets=())

    def publish(prepared: Prepared) -> str:
        with Catalog.open(shared_url, clock=life.clock) as catalog:
            return catalog.publish(prepared.lease, Publication(prepared.version.id, {"by": prepared.run.id})).version.id

    answers = at_once([lambda: publish(old), lambda: publish(new)] * 2)
    assert [a for a in answers if isinstance(a, str)] == [new.version.id] * 2
    assert all("RunConflict" in str(a) for a in answers if not isinstance(a, str))
    assert life.catalog.assets.watermark(ASSET) == {"by": new.run.id}
    assert life.catalog.assets.get(ASSET).generation == 1


def test_publish_and_rollback_at_once_leave_one_current_version(life: Life, shared_url: str) -> None:
    first, second = life.published({"offset": 1}), life.published({"offset": 2})
    third = life.prepare()

    def publish() -> str:
        with Catalog.open(shared_url, clock=life.clock) as catalog:
            return catalog.publish(third.lease, Publication(third.version.id, {"offset": 3})).version.id

    def roll_back() -> str:
        with Catalog.open(shared_url, clock=life.clock) as catalog:
            return catalog.rollback(ASSET).version.id

    answers = at_once([publish, roll_back])
    current = life.catalog.versions.list(ASSET, {VersionState.CURRENT})
    assert len(current) == 1
    assert current[0].id in answers
    asset = life.catalog.assets.get(ASSET)
    assert asset.current_version == current[0].id
    offset = {first.id: 1, second.id: 2, third.version.id: 3}[current[0].id]
    assert life.catalog.assets.watermark(ASSET) == {"offset": offset}


def test_the_same_run_publishes_from_two_processes_and_both_get_the_same_answer(life: Life, shared_url: str) -> None:
    prepared = life.prepare(targets=())

    def publish() -> tuple[str, int]:
        with Catalog.open(shared_url, clock=life.clock) as catalog:
            flip = catalog.publish(prepared.lease, Publication(prepared.version.id))
            return flip.version.id, flip.generation

    assert at_once([publish] * PROCESSES) == [(prepared.version.id, 1)] * PROCESSES


def test_runs_and_versions_of_many_processes_in_one_moment_have_ids_of_their_own(life: Life, shared_url: str) -> None:
    life.register()
    moment = life.clock.moment

    def make() -> list[str]:
        with Catalog.open(shared_url, clock=lambda: moment) as catalog:
            runs = [catalog.runs.start(NewRun(ASSET, "d", ("plan",))).id for _ in range(15)]
            return runs + [catalog.versions.create(run_id, COLUMNS, {}).id for run_id in runs]

    found = [name for made in at_once([make] * PROCESSES) for name in made]
    assert len(set(found[0:15])) == 15
    assert len(life.catalog.runs.list(ASSET, limit=1000)) == 15 * PROCESSES
    assert len(life.catalog.versions.list(ASSET)) == 15 * PROCESSES
    assert [(f.name, f.number) for f in life.catalog.assets.fields(ASSET)] == [("id", 1), ("name", 2)]


def test_a_key_starts_one_run_also_from_many_processes(life: Life, shared_url: str) -> None:
    life.register()

    def start() -> str:
        with Catalog.open(shared_url) as catalog:
            return catalog.runs.start(NewRun(ASSET, "d", ("plan",), key="scheduled__1")).id

    assert len(set(at_once([start] * PROCESSES))) == 1


def test_an_api_name_is_claimed_by_one_of_many_assets(life: Life, shared_url: str) -> None:
    def claim(asset: str) -> str:
        apis = tuple(ApiDefinition(name, "kv", {}) for name in ("one", "two", "three"))
        with Catalog.open(shared_url) as catalog:
            return catalog.assets.register(Registration(asset, "", asset, asset, apis)).name

    answers = at_once([partial(claim, asset) for asset in ("a", "b", "c")])
    winners = [a for a in answers if isinstance(a, str)]
    assert len(winners) == 1
    assert {a.asset for a in life.catalog.assets.apis()} == set(winners)
    assert all("SpecError" in str(a) for a in answers if not isinstance(a, str))


def test_parallel_steps_heartbeats_and_dirty_rows_of_one_run_do_not_disturb_each_other(
    life: Life, shared_url: str
) -> None:
    prepared = life.prepare()
    run_id = prepared.run.id

    class Row:
        reason, origin, raw = "bad", "here", b"x"

    def work(step: str) -> int:
        with Catalog.open(shared_url) as catalog:
            for i in range(10):
                catalog.runs.start_step(run_id, step)
                catalog.leases.renew(prepared.lease, TTL_S)
                catalog.dirty.add(run_id, step, [Row()] * 5)
                catalog.runs.save_stats(run_id, {step: i})
                catalog.runs.finish_step(run_id, step, {"rows": i})
            return catalog.dirty.count(run_id)

    steps = [f"load:{i}" for i in range(PROCESSES)]
    answers = at_once([partial(work, step) for step in steps])
    assert max(answers) == 50 * PROCESSES
    assert {s.name: s.attempt for s in life.catalog.runs.get(run_id).steps if s.name in steps} == dict.fromkeys(
        steps, 10
    )


def test_a_process_whose_clock_runs_ahead_takes_the_lease_but_never_mixes_publishes(
    life: Life, shared_url: str
) -> None:
    slow = life.prepare()
    fast = HandClock(life.clock.moment.replace(year=2030))
    with Catalog.open(shared_url, clock=fast) as ahead:
        other = Life(ahead, fast).prepare()
        Life(ahead, fast).publish(other)
    with pytest.raises(RunConflict, match="has lost the lease"):
        life.publish(slow)
