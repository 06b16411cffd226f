"""Versions from their making to their erasure."""

from __future__ import annotations

import pytest

from millrace.catalog import RunState, VersionRecord, VersionState
from millrace.errors import NotFound, RunFailed
from millrace.spec.types import column
from tests.core.catalog.life import ASSET, COLUMNS, Life

TARGETS = {"redis": {"connection": "redis_online"}, "clickhouse": {}}


def make(life: Life) -> VersionRecord:
    return life.catalog.versions.create(life.start().id, COLUMNS, TARGETS, "s3a://lake/stage/ü")


def test_a_version_is_made_by_a_run_and_belongs_to_it(life: Life) -> None:
    version = make(life)
    assert version.state is VersionState.LOADING
    assert (version.targets, version.stage_path, version.rows) == (TARGETS, "s3a://lake/stage/ü", None)
    assert [f.column for f in version.fields] == list(COLUMNS)
    assert life.catalog.versions.get(version.id) == version
    assert life.catalog.runs.get(version.run_id).version_id == version.id
    assert life.catalog.versions.current(ASSET) is None


def test_a_rerun_of_the_load_gets_the_same_version_back_in_loading(life: Life) -> None:
    version = make(life)
    assert life.catalog.versions.create(version.run_id, COLUMNS, TARGETS) == version
    life.catalog.versions.loaded(version.id, 5)
    assert life.catalog.versions.create(version.run_id, COLUMNS, TARGETS).state is VersionState.LOADING


def test_a_run_whose_version_was_rejected_gets_a_new_one(life: Life) -> None:
    version = make(life)
    life.clock.advance(1)
    rejected = life.catalog.versions.reject(version.id, "check row_count failed")
    assert (rejected.state, rejected.reason, rejected.retired_at) == (
        VersionState.REJECTED,
        "check row_count failed",
        life.clock.moment,
    )
    assert life.catalog.versions.reject(version.id, "again") == rejected
    assert life.catalog.versions.create(version.run_id, COLUMNS, TARGETS).id != version.id


def test_a_run_that_has_published_cannot_load_again(life: Life) -> None:
    version = life.published()
    with pytest.raises(RunFailed, match=f"has published its version {version.id}"):
        life.catalog.versions.create(version.run_id, COLUMNS, TARGETS)
    with pytest.raises(RunFailed, match="is current, so it can't become rejected; it can become retired, rolled_back"):
        life.catalog.versions.reject(version.id, "too late")
    with pytest.raises(RunFailed, match="is current, so it can't become loaded"):
        life.catalog.versions.loaded(version.id, 1)


def test_rows_are_noted_when_it_is_loaded(life: Life) -> None:
    version = make(life)
    assert life.catalog.versions.loaded(version.id, 2**40).rows == 2**40
    assert life.catalog.versions.loaded(version.id, 7).rows == 7


def test_nested_types_and_many_columns_are_kept(life: Life) -> None:
    columns = [column(f"column_{i}", "map<string,array<struct<a:int,b:decimal(38,18)>>>") for i in range(300)]
    version = life.catalog.versions.create(life.start().id, columns, TARGETS)
    assert [f.column for f in version.fields] == columns


def test_versions_are_listed_newest_first_and_by_state(life: Life) -> None:
    first, second = life.published(), life.published()
    third = life.prepare().version
    assert [v.id for v in life.catalog.versions.list(ASSET)] == [third.id, second.id, first.id]
    assert [v.id for v in life.catalog.versions.list(ASSET, {VersionState.RETIRED})] == [first.id]
    assert [v.id for v in life.catalog.versions.list(ASSET, {VersionState.CURRENT, VersionState.LOADED})] == [
        third.id,
        second.id,
    ]


def test_a_retired_version_is_erased_in_two_steps(life: Life) -> None:
    first, second, third = life.published(), life.published(), life.published()
    assert [v.id for v in life.catalog.versions.retirable(ASSET, keep=1)] == [first.id]
    with pytest.raises(RunFailed, match="was never begun"):
        life.catalog.versions.erase_finished(first.id)
    begun = life.catalog.versions.erase_started(first.id)
    assert (begun.state, begun.erase_started_at, begun.erased_at) == (VersionState.RETIRED, life.clock.moment, None)
    assert [v.id for v in life.catalog.versions.retirable(ASSET, keep=9)] == [first.id]
    assert life.catalog.versions.erase_started(first.id) == begun
    erased = life.catalog.versions.erase_finished(first.id)
    assert erased.erased_at == life.clock.moment
    assert life.catalog.versions.erase_finished(first.id) == erased
    assert [v.id for v in life.catalog.versions.list(ASSET, erased=False)] == [third.id, second.id]
    assert life.catalog.versions.retirable(ASSET, keep=1) == []
    assert [v.id for v in life.catalog.versions.retirable(ASSET, keep=0)] == [second.id]
    assert life.catalog.versions.current(ASSET) == third


def test_the_current_version_is_never_erased(life: Life) -> None:
    version = life.published()
    with pytest.raises(RunFailed, match="is current, so it can't be erased"):
        life.catalog.versions.erase_started(version.id)


def test_a_version_that_a_run_is_loading_is_never_erased(life: Life) -> None:
    version = make(life)
    with pytest.raises(RunFailed, match=f"is being loaded by run {version.run_id}"):
        life.catalog.versions.erase_started(version.id)


def test_what_a_failed_run_has_half_loaded_may_go_once_a_younger_version_exists(life: Life) -> None:
    half = make(life)
    life.catalog.runs.finish(half.run_id, RunState.FAILED)
    assert life.catalog.versions.retirable(ASSET, keep=2) == []
    life.published()
    assert [v.id for v in life.catalog.versions.retirable(ASSET, keep=2)] == [half.id]
    begun = life.catalog.versions.erase_started(half.id)
    assert (begun.state, begun.reason) == (VersionState.REJECTED, "abandoned by its run")
    life.catalog.runs.resume(half.run_id)
    assert life.catalog.versions.create(half.run_id, COLUMNS, TARGETS).id != half.id


def test_an_unknown_version_is_not_found(life: Life) -> None:
    for call in (life.catalog.versions.get, life.catalog.versions.erase_started):
        with pytest.raises(NotFound, match="no version 'nope'"):
            call("nope")
