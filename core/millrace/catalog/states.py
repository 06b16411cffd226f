"""The life of a version: every legal move in one table, and which versions a retire step may erase.

loading ──▶ loaded ──▶ current ──▶ retired
   │ ▲─────── │          ▲  │          │
   ▼          ▼          │  ▼          │
rejected ◀────┘          │ rolled_back │
                         └──┴──────────┘
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from millrace.catalog.model import VersionRecord, VersionState
from millrace.errors import RunFailed

LEGAL_MOVES: Mapping[VersionState, frozenset[VersionState]] = {
    VersionState.LOADING: frozenset({VersionState.LOADED, VersionState.REJECTED}),
    VersionState.LOADED: frozenset({VersionState.CURRENT, VersionState.REJECTED, VersionState.LOADING}),
    VersionState.CURRENT: frozenset({VersionState.RETIRED, VersionState.ROLLED_BACK}),
    VersionState.RETIRED: frozenset({VersionState.CURRENT}),
    VersionState.ROLLED_BACK: frozenset({VersionState.CURRENT}),
    VersionState.REJECTED: frozenset(),
}


def check_move(asset: str, version_id: str, old: VersionState, new: VersionState) -> None:
    """Raises RunFailed, naming the legal moves, when a version in state `old` can't become `new`."""
    legal = LEGAL_MOVES[old]
    if new not in legal:
        could = ", ".join(sorted(legal)) or "nothing: this is its end"
        raise RunFailed(
            f"version {version_id} of asset '{asset}' is {old}, so it can't become {new}; it can become {could}",
            hint=f"`millrace versions {asset}` shows every version and its state",
        )


def retirable(versions: Sequence[VersionRecord], running: Collection[str], keep: int) -> list[VersionRecord]:
    """Which of an asset's versions may be erased from the stores, oldest first.

    `running` are the ids of the runs that are still under way. Kept are the current version, the newest `keep`
    retired ones, a rolled-back one until something newer is published, and what a run is loading or may still resume
    (until a younger version exists). One whose rows a later version of its line has changed is never kept: there is no
    going back to it. An erasure that was begun is always to be finished.
    """
    latest = latest_of_lines(versions)
    held = [v for v in versions if v.erased_at is None and v.state is not VersionState.CURRENT]
    retired = sorted(
        (v for v in held if v.state is VersionState.RETIRED and not v.erase_started_at and latest[v.rows_id] == v.id),
        key=_sequence,
        reverse=True,
    )
    kept = {v.id for v in retired[:keep]}
    current = max((_sequence(v) for v in versions if v.state is VersionState.CURRENT), default=0)
    youngest = max((v.id for v in versions), default="")

    def may_go(version: VersionRecord) -> bool:
        if version.erase_started_at is not None:
            return True
        if version.sequence is not None and latest[version.rows_id] != version.id:
            return True
        match version.state:
            case VersionState.RETIRED:
                return version.id not in kept
            case VersionState.ROLLED_BACK:
                return _sequence(version) < current
            case VersionState.LOADING | VersionState.LOADED:
                return version.run_id not in running and version.id < youngest
            case _:
                return True

    return sorted((v for v in held if may_go(v)), key=lambda v: v.id)


def latest_of_lines(versions: Sequence[VersionRecord]) -> Mapping[str, str]:
    """By the id of its rows, the version of each line that was published last: the rows are as that one left them."""
    ordered = sorted((v for v in versions if v.sequence is not None), key=_sequence)
    return {version.rows_id: version.id for version in ordered}


def _sequence(version: VersionRecord) -> int:
    return version.sequence or 0
