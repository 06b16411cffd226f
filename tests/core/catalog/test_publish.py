"""Publish: one transaction, by the holder of the lease only, from a watermark that has not moved."""

from __future__ import annotations

import pytest

from millrace.catalog import ApiDefinition, Catalog, Publication, RunState, VersionState, this_process
from millrace.errors import RunConflict, RunFailed, TransientError
from tests.core.catalog.life import ASSET, COLUMNS, ELSEWHERE, TTL_S, Life


def test_publish_makes_the_version_current_and_advances_everything_with_it(life: Life) -> None:
    life.apis = (ApiDefinition("clicks", "kv", {"v": 1}),)
    prepared = life.prepare()
    flip = life.publish(prepared, {"offsets": {"0": 17}})
    assert (flip.asset, flip.version.id, flip.previous, flip.generation) == (ASSET, prepared.version.id, None, 1)
    assert (flip.version.state, flip.version.sequence) == (VersionState.CURRENT, 1)
    assert flip.version.published_at == life.clock.moment
    asset = life.catalog.assets.get(ASSET)
    assert (asset.current_version, asset.generation) == (prepared.version.id, 1)
    assert life.catalog.versions.current(ASSET) == flip.version
    assert life.catalog.assets.watermark(ASSET) == {"offsets": {"0": 17}}
    assert life.catalog.runs.get(prepared.run.id).published_at == life.clock.moment
    assert life.catalog.assets.apis()[0].definition == {"v": 1}


def test_the_version_before_is_retired_and_named(life: Life) -> None:
    first = life.published()
    flip = life.publish(life.prepare())
    assert flip.previous is not None
    assert (flip.previous.id, flip.previous.state) == (first.id, VersionState.RETIRED)
    assert flip.previous.retired_at == life.clock.moment
    assert (flip.version.sequence, flip.generation) == (2, 2)


def test_publishing_twice_gives_the_same_answer(life: Life) -> None:
    life.published()
    prepared = life.prepare()
    flip = life.publish(prepared, {"offset": 1})
    assert life.publish(prepared, {"offset": 1}) == flip
    life.confirm(flip)
    assert life.publish(prepared, {"offset": 1}) == flip
    assert life.catalog.assets.get(ASSET).generation == flip.generation


def test_a_run_that_lost_its_lease_cannot_publish(life: Life) -> None:
    current = life.published()
    slow = life.prepare()
    life.clock.advance(TTL_S * 2)
    quick = life.prepare()
    with pytest.raises(RunConflict, match=f"run {slow.run.id} has lost the lease.*run {quick.run.id} took it"):
        life.publish(slow)
    assert life.catalog.versions.current(ASSET) == current
    assert life.publish(quick).version.id == quick.version.id
    with pytest.raises(RunConflict):
        life.publish(slow)


def test_a_lease_that_ran_out_but_was_not_taken_still_publishes(life: Life) -> None:
    prepared = life.prepare()
    life.clock.advance(TTL_S * 2)
    assert life.publish(prepared).version.id == prepared.version.id


def test_a_released_lease_cannot_publish(life: Life) -> None:
    prepared = life.prepare()
    life.catalog.leases.release(prepared.lease)
    with pytest.raises(RunConflict, match="it was released"):
        life.publish(prepared)


def test_only_a_loaded_version_can_be_published(life: Life) -> None:
    run = life.start()
    lease = life.catalog.leases.acquire(ASSET, run.id, TTL_S)
    version = life.catalog.versions.create(run.id, COLUMNS, {})
    with pytest.raises(RunFailed, match="is loading, so it can't become current"):
        life.catalog.publish(lease, Publication(version.id))
    life.catalog.versions.reject(version.id, "no")
    with pytest.raises(RunFailed, match="it can become nothing: this is its end"):
        life.catalog.publish(lease, Publication(version.id))
    assert life.catalog.assets.get(ASSET).generation == 0


def test_a_run_publishes_its_own_version_of_its_own_asset_only(life: Life) -> None:
    loaded = life.prepare()
    life.catalog.leases.release(loaded.lease)
    run = life.start()
    lease = life.catalog.leases.acquire(ASSET, run.id, TTL_S)
    with pytest.raises(RunFailed, match=f"was loaded by run {loaded.run.id}, so run {run.id} can't publish it"):
        life.catalog.publish(lease, Publication(loaded.version.id))
    stranger = Life(life.catalog, life.clock, "views").prepare()
    with pytest.raises(RunFailed, match="is one of 'views', not of 'clicks'"):
        life.catalog.publish(lease, Publication(stranger.version.id))


def test_without_a_watermark_the_old_one_stays(life: Life) -> None:
    life.published({"offset": 1})
    life.published()
    assert life.catalog.assets.watermark(ASSET) == {"offset": 1}


def test_a_run_that_was_planned_from_an_older_watermark_cannot_publish(life: Life) -> None:
    life.published({"offset": 1})
    slow = life.prepare()
    life.catalog.leases.release(slow.lease)
    life.catalog.runs.finish(slow.run.id, RunState.FAILED)
    life.published({"offset": 2})
    life.catalog.runs.resume(slow.run.id)
    lease = life.catalog.leases.acquire(ASSET, slow.run.id, TTL_S)
    with pytest.raises(RunConflict, match="planned from a watermark that has moved since"):
        life.catalog.publish(lease, Publication(slow.version.id, {"offset": 2}))
    with pytest.raises(RunConflict, match="another run was published") as caught:
        life.catalog.publish(lease, Publication(slow.version.id))
    assert "would bring older rows back" in caught.value.hint


def test_a_run_that_waited_for_the_lease_reads_the_watermark_that_it_finds_then(life: Life) -> None:
    waiting = life.start()
    life.published({"offset": 1})
    lease = life.catalog.leases.acquire(ASSET, waiting.id, TTL_S)
    version = life.catalog.versions.create(waiting.id, COLUMNS, {})
    life.catalog.versions.loaded(version.id, 1)
    life.catalog.publish(lease, Publication(version.id, {"offset": 2}))
    assert life.catalog.assets.watermark(ASSET) == {"offset": 2}


def test_a_merge_advances_the_watermark_under_the_current_version(life: Life) -> None:
    base = life.published({"offset": 1})
    run = life.start()
    lease = life.catalog.leases.acquire(ASSET, run.id, TTL_S)
    life.clock.advance(1)
    flip = life.catalog.publish(lease, Publication(base.id, {"offset": 2}))
    assert (flip.version.id, flip.version.state, flip.version.sequence) == (base.id, VersionState.CURRENT, 1)
    assert flip.previous == flip.version
    assert flip.generation == 2
    assert life.catalog.assets.watermark(ASSET) == {"offset": 2}
    assert life.catalog.unconfirmed_pointers() == []
    assert life.catalog.publish(lease, Publication(base.id, {"offset": 2})) == flip


def test_a_run_is_told_when_its_version_was_replaced_after_it_published(life: Life) -> None:
    prepared = life.prepare()
    life.confirm(life.publish(prepared))
    life.catalog.runs.finish(prepared.run.id, RunState.FAILED)
    newer = life.published()
    with pytest.raises(RunConflict, match=f"since then {newer.id} has become current"):
        life.publish(prepared)


def test_each_target_is_unconfirmed_until_its_pointer_has_moved(life: Life) -> None:
    flip = life.publish(life.prepare(targets=("redis", "clickhouse")))
    gaps = life.catalog.unconfirmed_pointers(ASSET)
    assert sorted(g.target for g in gaps) == ["clickhouse", "redis"]
    assert {(g.wanted, g.confirmed) for g in gaps} == {(flip.version.id, None)}
    life.catalog.pointer_confirmed(ASSET, "redis", flip.version.id)
    life.catalog.pointer_confirmed(ASSET, "redis", flip.version.id)
    assert [g.target for g in life.catalog.unconfirmed_pointers()] == ["clickhouse"]
    life.catalog.pointer_confirmed(ASSET, "clickhouse", flip.version.id)
    assert life.catalog.unconfirmed_pointers() == []


def test_a_pointer_that_was_put_back_by_a_slow_process_is_found(life: Life) -> None:
    old = life.published()
    new = life.published()
    life.catalog.pointer_confirmed(ASSET, "redis", old.id)
    (gap,) = life.catalog.unconfirmed_pointers()
    assert (gap.asset, gap.target, gap.wanted, gap.confirmed) == (ASSET, "redis", new.id, old.id)


def test_a_target_that_is_no_longer_in_the_spec_is_not_waited_for(life: Life) -> None:
    life.published(targets=("redis", "clickhouse"))
    life.published(targets=("redis",))
    assert life.catalog.unconfirmed_pointers() == []


def test_a_crash_after_publish_leaves_pointers_to_roll_forward_for_any_process(life: Life, shared_url: str) -> None:
    with Catalog.open(shared_url, clock=life.clock, owner=ELSEWHERE) as crashed:
        flip = Life(crashed, life.clock).publish(Life(crashed, life.clock).prepare())
    (gap,) = life.catalog.unconfirmed_pointers()
    assert gap.wanted == flip.version.id
    life.catalog.pointer_confirmed(gap.asset, gap.target, gap.wanted)
    life.clock.advance(TTL_S * 2)
    assert life.publish(life.prepare()).generation == 2


def test_no_flip_begins_while_another_process_moves_the_pointers(life: Life, shared_url: str) -> None:
    life.published()
    with Catalog.open(shared_url, clock=life.clock, owner=ELSEWHERE) as elsewhere:
        other = Life(elsewhere, life.clock)
        prepared = other.prepare()
        flip = other.publish(prepared)
        with pytest.raises(
            TransientError, match=f"being flipped to version {flip.version.id} by process 4242 on elsewhere"
        ):
            life.catalog.rollback(ASSET)
        elsewhere.pointer_confirmed(ASSET, "redis", flip.version.id)
        elsewhere.runs.finish(prepared.run.id, RunState.SUCCEEDED)
    life.clock.advance(1)
    assert life.catalog.rollback(ASSET).previous == life.catalog.versions.get(flip.version.id)


def test_the_guard_of_a_flip_ends_by_itself(life: Life, shared_url: str) -> None:
    first = life.published()
    with Catalog.open(shared_url, clock=life.clock, owner=ELSEWHERE) as crashed:
        other = Life(crashed, life.clock)
        other.publish(other.prepare())
    life.clock.advance(61)
    assert life.catalog.rollback(ASSET).version.id == first.id


def test_the_guard_of_a_killed_process_ends_at_once(life: Life, shared_url: str) -> None:
    first = life.published()
    dead = this_process().__class__(this_process().host, this_process().pid, this_process().machine, "1")
    with Catalog.open(shared_url, clock=life.clock, owner=dead) as killed:
        other = Life(killed, life.clock)
        other.publish(other.prepare())
    assert life.catalog.rollback(ASSET).version.id == first.id
