"""The legal moves of a version, and what a retire step may erase."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.catalog.model import VersionRecord, VersionState
from millrace.catalog.states import LEGAL_MOVES, check_move, retirable
from millrace.errors import RunFailed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BLANK = VersionRecord("", "clicks", "", VersionState.RETIRED, 1, (), {}, "", None, "", NOW, None, None, None, None)
PUBLISHED = [VersionState.RETIRED, VersionState.ROLLED_BACK, VersionState.CURRENT]


@pytest.mark.parametrize(("old", "new"), list(itertools.product(VersionState, VersionState)))
def test_only_moves_of_the_table_are_legal(old: VersionState, new: VersionState) -> None:
    if new in LEGAL_MOVES[old]:
        check_move("clicks", "v1", old, new)
    else:
        with pytest.raises(RunFailed, match=f"version v1 of asset 'clicks' is {old}, so it can't become {new}"):
            check_move("clicks", "v1", old, new)


def test_only_what_was_loaded_or_published_before_can_become_current() -> None:
    ways = {old for old, targets in LEGAL_MOVES.items() if VersionState.CURRENT in targets}
    assert ways == {VersionState.LOADED, VersionState.RETIRED, VersionState.ROLLED_BACK}


def version(number: int, state: VersionState, *, erasing: bool = False, erased: bool = False) -> VersionRecord:
    return replace(
        BLANK,
        id=f"v{number}",
        run_id=f"r{number}",
        state=state,
        sequence=number if state in PUBLISHED else None,
        erase_started_at=NOW if erasing or erased else None,
        erased_at=NOW if erased else None,
    )


def ids(versions: Sequence[VersionRecord]) -> list[str]:
    return [v.id for v in versions]


def test_the_newest_retired_versions_are_kept() -> None:
    versions = [version(i, VersionState.RETIRED) for i in range(1, 6)] + [version(6, VersionState.CURRENT)]
    assert ids(retirable(versions, (), keep=2)) == ["v1", "v2", "v3"]
    assert ids(retirable(versions, (), keep=0)) == ["v1", "v2", "v3", "v4", "v5"]
    assert retirable(versions, (), keep=9) == []


def test_a_rolled_back_version_is_kept_until_something_newer_is_published() -> None:
    versions = [version(1, VersionState.CURRENT), version(2, VersionState.ROLLED_BACK)]
    assert retirable(versions, (), keep=2) == []
    versions = [
        version(1, VersionState.RETIRED),
        version(2, VersionState.ROLLED_BACK),
        version(3, VersionState.CURRENT),
    ]
    assert ids(retirable(versions, (), keep=2)) == ["v2"]


def test_a_rejected_version_goes_at_once() -> None:
    assert ids(retirable([version(1, VersionState.REJECTED)], (), keep=5)) == ["v1"]


def test_an_unfinished_load_is_kept_while_its_run_may_still_go_on() -> None:
    half = version(1, VersionState.LOADING)
    assert retirable([half], (), keep=0) == []
    assert retirable([half, version(2, VersionState.CURRENT)], ["r1"], keep=0) == []
    assert ids(retirable([half, version(2, VersionState.CURRENT)], (), keep=0)) == ["v1"]


def test_an_erasure_that_was_begun_is_finished_although_the_version_would_be_kept() -> None:
    versions = [version(1, VersionState.RETIRED, erasing=True), version(2, VersionState.RETIRED)]
    assert ids(retirable(versions, (), keep=2)) == ["v1"]
    assert retirable([version(1, VersionState.RETIRED, erased=True)], (), keep=0) == []


@given(st.lists(st.tuples(st.sampled_from(VersionState), st.booleans()), max_size=12), st.integers(0, 5))
def test_the_current_version_and_the_last_good_ones_always_stay(
    drawn: list[tuple[VersionState, bool]], keep: int
) -> None:
    versions = [version(i, s, erased=e and s is not VersionState.CURRENT) for i, (s, e) in enumerate(drawn, 1)]
    may_go = retirable(versions, (), keep)
    assert all(v.state is not VersionState.CURRENT and v.erased_at is None for v in may_go)
    good = [v for v in versions if v.state is VersionState.RETIRED and v.erased_at is None]
    stay = [v for v in good if v not in may_go]
    assert stay == good[len(good) - min(keep, len(good)) :]
