"""Rollback: back to what was good, in one transaction, with the watermark that belonged to it."""

from __future__ import annotations

import pytest

from millrace.catalog import Publication, RunState, VersionState
from millrace.errors import NotFound, RunConflict, RunFailed
from tests.core.catalog.life import ASSET, Life


def state(life: Life, version_id: str) -> VersionState:
    return life.catalog.versions.get(version_id).state


def test_rollback_goes_to_the_version_before(life: Life) -> None:
    first, second = life.published(), life.published()
    life.clock.advance(1)
    flip = life.catalog.rollback(ASSET, reason="prices were off")
    assert (flip.version.id, flip.version.state, flip.version.retired_at) == (first.id, VersionState.CURRENT, None)
    assert flip.version.published_at == life.clock.moment
    assert flip.previous is not None
    assert (flip.previous.id, flip.previous.state, flip.previous.reason) == (
        second.id,
        VersionState.ROLLED_BACK,
        "prices were off",
    )
    assert flip.generation == 3
    assert life.catalog.versions.current(ASSET) == flip.version
    assert [g.wanted for g in life.catalog.unconfirmed_pointers()] == [first.id]


def test_rollback_again_goes_further_back_and_never_to_a_version_that_was_rolled_back(life: Life) -> None:
    first, second, third = life.published(), life.published(), life.published()
    assert life.rolled_back().id == second.id
    assert life.rolled_back().id == first.id
    with pytest.raises(NotFound, match=f"no version of 'clicks' older than the current {first.id} is kept"):
        life.catalog.rollback(ASSET)
    assert {state(life, v.id) for v in (second, third)} == {VersionState.ROLLED_BACK}


def test_rollback_after_a_newer_publish_skips_the_version_that_was_rolled_back(life: Life) -> None:
    first = life.published()
    life.published()
    life.rolled_back()
    life.published()
    assert life.rolled_back().id == first.id


def test_rollback_skips_what_was_rejected_and_what_is_erased(life: Life) -> None:
    first, second = life.published(), life.published()
    rejected = life.prepare()
    life.catalog.versions.reject(rejected.version.id, "no")
    life.catalog.runs.finish(rejected.run.id, RunState.FAILED)
    life.published()
    life.catalog.versions.erase_started(second.id)
    assert life.rolled_back().id == first.id


def test_a_named_version_that_was_rolled_back_becomes_current_again(life: Life) -> None:
    first, second = life.published(), life.published()
    life.rolled_back()
    assert life.rolled_back(second.id).id == second.id
    assert state(life, first.id) is VersionState.RETIRED  # it was good: the default of the next rollback
    assert life.catalog.versions.get(second.id).reason == ""
    assert life.rolled_back().id == first.id


def test_skipping_a_version_does_not_make_the_default_go_forward_to_it(life: Life) -> None:
    first, second, _ = life.published(), life.published(), life.published()
    life.rolled_back(first.id)
    assert state(life, second.id) is VersionState.RETIRED
    with pytest.raises(NotFound):
        life.catalog.rollback(ASSET)


def test_versions_that_cannot_serve_are_refused_by_name(life: Life) -> None:
    first, second = life.published(), life.published()
    never = life.prepare()
    with pytest.raises(RunFailed, match=f"version {never.version.id} of 'clicks' is loaded and was never published"):
        life.catalog.rollback(ASSET, never.version.id)
    life.catalog.versions.reject(never.version.id, "no")
    with pytest.raises(RunFailed, match="is rejected and was never published"):
        life.catalog.rollback(ASSET, never.version.id)
    with pytest.raises(RunFailed, match="is current already"):
        life.catalog.rollback(ASSET, second.id)
    life.catalog.versions.erase_started(first.id)
    with pytest.raises(RunFailed, match=f"version {first.id} of 'clicks' is erased from the stores"):
        life.catalog.rollback(ASSET, first.id)
    with pytest.raises(NotFound, match="no version 'nope'"):
        life.catalog.rollback(ASSET, "nope")
    other = Life(life.catalog, life.clock, "views").published()
    with pytest.raises(RunFailed, match="is one of 'views'"):
        life.catalog.rollback(ASSET, other.id)
    assert life.catalog.versions.current(ASSET) == second


def test_an_asset_without_a_version_cannot_be_rolled_back(life: Life) -> None:
    with pytest.raises(NotFound, match="no asset 'clicks'"):
        life.catalog.rollback(ASSET)
    life.start()
    with pytest.raises(NotFound, match="nothing of 'clicks' was published yet"):
        life.catalog.rollback(ASSET)


def test_the_watermark_goes_back_with_the_version(life: Life) -> None:
    first, second = life.published({"offset": 1}), life.published({"offset": 2})
    life.rolled_back()
    assert life.catalog.assets.watermark(ASSET) == {"offset": 1}
    life.rolled_back(second.id)
    assert life.catalog.assets.watermark(ASSET) == {"offset": 2}
    life.published()
    life.rolled_back(first.id)
    assert life.catalog.assets.watermark(ASSET) == {"offset": 1}


def test_back_to_a_version_without_a_watermark_everything_is_read_again(life: Life) -> None:
    life.published()
    life.published({"offset": 2})
    life.rolled_back()
    assert life.catalog.assets.watermark(ASSET) is None
    life.published({"offset": 3})
    assert life.catalog.assets.watermark(ASSET) == {"offset": 3}


def test_a_run_that_reads_on_from_the_watermark_cannot_publish_after_a_rollback(life: Life) -> None:
    life.published({"offset": 1})
    life.published({"offset": 2})
    under_way = life.prepare()
    life.rolled_back()
    with pytest.raises(RunConflict, match="or the asset was rolled back"):
        life.publish(under_way, {"offset": 3})
    assert life.catalog.assets.watermark(ASSET) == {"offset": 1}


def test_a_run_that_reads_everything_publishes_also_after_a_rollback(life: Life) -> None:
    life.published()
    life.published()
    under_way = life.prepare()
    life.rolled_back()
    flip = life.catalog.publish(under_way.lease, Publication(under_way.version.id))
    assert flip.version.id == under_way.version.id
