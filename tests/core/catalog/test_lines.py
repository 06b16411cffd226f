"""Versions of merge and append that share rows: what can be published, gone back to, and erased."""

from __future__ import annotations

import pytest

from millrace.catalog import Change, NewRun, Publication, RunState, VersionRecord
from millrace.errors import NotFound, RunConflict, RunFailed
from tests.core.catalog.life import ASSET, COLUMNS, TTL_S, Life, Prepared


def prepare(life: Life, rows_id: str | None, mode: str = "merge") -> Prepared:
    run = life.start()
    lease = life.catalog.leases.acquire(ASSET, run.id, TTL_S)
    life.catalog.runs.freeze_plan(run.id, {})
    life.clock.advance(1)
    version = life.catalog.versions.create(run.id, COLUMNS, {"redis": {}}, how=Change(mode, rows_id))
    return Prepared(run, lease, life.catalog.versions.loaded(version.id, rows=10))


def merged(life: Life, rows_id: str | None, offset: int, mode: str = "merge") -> VersionRecord:
    prepared = prepare(life, rows_id, mode)
    life.confirm(life.publish(prepared, {"offset": offset}))
    life.catalog.runs.finish(prepared.run.id, RunState.SUCCEEDED)
    return life.catalog.versions.get(prepared.version.id)


def test_a_version_keeps_how_it_changes_its_stores(life: Life) -> None:
    first = merged(life, None, 1)
    second = merged(life, first.id, 2)
    assert (first.rows_id, second.rows_id, second.change) == (first.id, first.id, Change("merge", first.id))
    assert {v.id for v in life.catalog.versions.line(first.id)} == {first.id, second.id}
    window = Change("append", None, life.clock.moment, None, "gone")
    version = life.catalog.versions.create(life.start().id, COLUMNS, {}, how=window)
    assert life.catalog.versions.get(version.id).change == window
    chosen = life.catalog.runs.start(NewRun(ASSET, "0" * 64, (), choices={"full_refresh": True}))
    assert life.catalog.runs.get(chosen.id).choices == {"full_refresh": True}


def test_rollback_goes_back_to_the_line_before_with_its_watermark(life: Life) -> None:
    old = merged(life, None, 1)
    changed = merged(life, old.id, 2)
    fresh = merged(life, None, 3)
    merged(life, fresh.id, 4)
    assert life.rolled_back().id == changed.id
    assert life.catalog.assets.watermark(ASSET) == {"offset": 2}


def test_what_a_merge_has_overwritten_is_not_gone_back_to(life: Life) -> None:
    first = merged(life, None, 1)
    second = merged(life, first.id, 2)
    with pytest.raises(NotFound) as nothing:
        life.catalog.rollback(ASSET)
    assert "full-refresh" in nothing.value.hint
    with pytest.raises(RunFailed, match=f"shares its rows with version {second.id}") as caught:
        life.catalog.rollback(ASSET, first.id)
    assert "full-refresh" in caught.value.hint


def test_a_superseded_version_is_retired_at_once_and_the_last_of_an_older_line_is_kept(life: Life) -> None:
    first = merged(life, None, 1)
    second = merged(life, first.id, 2)
    merged(life, None, 3)
    assert [v.id for v in life.catalog.versions.retirable(ASSET, keep=1)] == [first.id]
    assert [v.id for v in life.catalog.versions.retirable(ASSET, keep=0)] == [first.id, second.id]


def test_a_run_cannot_publish_into_a_line_that_is_not_current_any_more(life: Life) -> None:
    old = merged(life, None, 1)
    fresh = merged(life, None, 2)
    prepared = prepare(life, fresh.id)
    life.rolled_back(old.id)
    with pytest.raises(RunConflict, match="the asset was rolled back"):
        life.catalog.publish(prepared.lease, Publication(prepared.version.id))
