"""Publish and rollback: the one transaction that changes which version an asset's readers see.

The catalog flips first, then the caller moves each store's own pointer and confirms it. A crash in between leaves
unconfirmed pointers, which anyone may roll forward: they only ever follow the catalog. While they are being moved no
other flip of the asset begins, so a slow writer can't put back an older pointer; that guard ends when all are
confirmed, when its process is known to have ended, or after `GUARD_S`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from millrace.catalog import pointers, schema
from millrace.catalog.assets import claim
from millrace.catalog.clock import Clock, shown
from millrace.catalog.leases import check_token, watermark_sequence
from millrace.catalog.model import ApiDefinition, Flip, Json, Lease, Publication, VersionRecord, VersionState
from millrace.catalog.owner import Fate, Owner, fate
from millrace.catalog.rows import Row, lock_asset, run_row, to_version, version_row
from millrace.catalog.versions import change
from millrace.errors import NotFound, RunConflict, RunFailed, TransientError

GUARD_S = 60
_NO_WAY_BACK = (
    "what merge and append have overwritten is not kept: correct the source, then run the interval again, or all of it "
    "with `millrace run --full-refresh`. Rollback goes back to what was current before the last full refresh"
)


@dataclass(frozen=True)
class Flipper:
    """Who flips, by which clock. Each function runs within one transaction of the caller."""

    clock: Clock
    owner: Owner

    def publish(self, connection: Connection, lease: Lease, publication: Publication) -> Flip:
        """See `Catalog.publish`."""
        asset = lock_asset(connection, lease.asset)
        run = run_row(connection, lease.run_id)
        version = to_version(version_row(connection, publication.version_id))
        _check_asset(version, lease.asset)
        _check_own(version, lease.run_id)
        if run["published_at"] is not None:
            return self._again(connection, asset, run, version)
        check_token(connection, lease)
        self._refuse_while_moving(asset)
        _check_watermark(connection, run, publication)
        _check_line(connection, asset, run, version)
        now = self.clock()
        flip = self._flip(connection, asset, version, VersionState.RETIRED, now)
        cursor = _advance_watermark(connection, version.asset, publication.watermark, now)
        _set_version(connection, version.id, {"watermark": cursor, "published_at": now})
        _publish_apis(connection, version.asset, publication.apis, now)
        published = {"published_at": now, "version_id": version.id}
        connection.execute(update(schema.run).where(schema.run.c.id == lease.run_id).values(published))
        return self._told(connection, flip)

    def rollback(self, connection: Connection, name: str, to: str | None, reason: str) -> Flip:
        """See `Catalog.rollback`."""
        asset = lock_asset(connection, name)
        self._refuse_while_moving(asset)
        if asset["current_version"] is None:
            raise NotFound(f"nothing of '{name}' was published yet, so it can't be rolled back", hint="run it first")
        current = to_version(version_row(connection, asset["current_version"]))
        version = _older(connection, current) if to is None else _named(connection, current, to)
        now = self.clock()
        # Going back to a younger version leaves one that was good behind.
        forward = (version.sequence or 0) > (current.sequence or 0)
        state = VersionState.RETIRED if forward else VersionState.ROLLED_BACK
        flip = self._flip(connection, asset, version, state, now)
        if not forward:
            _set_version(connection, current.id, {"reason": reason})
        _set_version(connection, version.id, {"published_at": now})
        _restore_watermark(connection, version, now)
        return self._told(connection, flip)

    def _flip(
        self, connection: Connection, asset: Row, version: VersionRecord, left_behind: VersionState, now: datetime
    ) -> Flip:
        """Make `version` current and leave the one before in `left_behind`."""
        previous_id = asset["current_version"]
        generation: int = asset["generation"] + 1
        sequence: int = asset["sequence"]
        values: dict[str, Any] = {"generation": generation, "previous_version": previous_id}
        if version.state is not VersionState.CURRENT:  # a merge publishes the version that is current already
            if previous_id is not None:
                previous = to_version(version_row(connection, previous_id))
                change(connection, previous, left_behind, {"retired_at": now})
            if version.sequence is None:
                sequence += 1
            order = version.sequence or sequence
            change(connection, version, VersionState.CURRENT, {"sequence": order, "retired_at": None, "reason": ""})
            values |= {"current_version": version.id, "sequence": sequence}
        self._set_asset(connection, version.asset, values)
        self._guard(connection, version, now)
        return Flip(version.asset, version, None, generation)

    def _again(self, connection: Connection, asset: Row, run: Row, version: VersionRecord) -> Flip:
        """The answer to a run that has published before, and asks again because it can't know."""
        if asset["current_version"] != version.id or run["version_id"] != version.id:
            raise RunConflict(
                f"run {run['id']} published version {run['version_id']} of '{version.asset}' at "
                f"{shown(run['published_at'])}; since then {asset['current_version']} has become current",
                hint="nothing is left to do for this run; start a new one if newer data is needed",
            )
        if pointers.gaps(connection, version.asset):
            self._refuse_while_moving(asset)
            self._guard(connection, version, self.clock())
        return self._told(connection, Flip(version.asset, version, None, asset["generation"]))

    def _told(self, connection: Connection, flip: Flip) -> Flip:
        """The flip with both versions as they are now."""
        statement = select(schema.asset.c.previous_version).where(schema.asset.c.name == flip.asset)
        previous_id = connection.execute(statement).scalar()
        previous = None if previous_id is None else to_version(version_row(connection, previous_id))
        version = to_version(version_row(connection, flip.version.id))
        return Flip(flip.asset, version, previous, flip.generation)

    def _guard(self, connection: Connection, version: VersionRecord, now: datetime) -> None:
        """Let nobody else flip until the stores' pointers are confirmed; see the top of this file."""
        until = now + timedelta(seconds=GUARD_S) if pointers.gaps(connection, version.asset) else None
        owner = {
            "flip_host": self.owner.host,
            "flip_pid": self.owner.pid,
            "flip_machine": self.owner.machine,
            "flip_started": self.owner.started,
        }
        self._set_asset(connection, version.asset, {**owner, "flip_until": until})

    def _refuse_while_moving(self, asset: Row) -> None:
        until: datetime | None = asset["flip_until"]
        if until is None or until <= self.clock():
            return
        owner = Owner(asset["flip_host"], asset["flip_pid"], asset["flip_machine"], asset["flip_started"])
        if owner == self.owner or fate(owner) is Fate.ENDED:
            return
        raise TransientError(
            f"'{asset['name']}' is being flipped to version {asset['current_version']} by process {owner.pid} "
            f"on {owner.host}: its stores' pointers are not all confirmed yet",
            hint=f"that takes a moment; try again. The guard ends by itself at {shown(until)}",
        )

    def _set_asset(self, connection: Connection, name: str, values: Mapping[str, Any]) -> None:
        statement = update(schema.asset).where(schema.asset.c.name == name)
        connection.execute(statement.values({**values, "updated_at": self.clock()}))


def _check_asset(version: VersionRecord, asset: str) -> None:
    if version.asset != asset:
        raise RunFailed(f"version {version.id} is one of '{version.asset}', not of '{asset}'")


def _check_own(version: VersionRecord, run_id: str) -> None:
    if version.run_id != run_id and version.state is not VersionState.CURRENT:
        raise RunFailed(
            f"version {version.id} of '{version.asset}' was loaded by run {version.run_id}, so run {run_id} can't "
            f"publish it",
            hint="a run publishes the version that it made, or merges into the current one",
        )


def _check_watermark(connection: Connection, run: Row, publication: Publication) -> None:
    if publication.watermark is None:
        return
    if watermark_sequence(connection, run["asset"]) != run["watermark_sequence"]:
        raise RunConflict(
            f"run {run['id']} of '{run['asset']}' was planned from a watermark that has moved since: another run was "
            "published, or the asset was rolled back",
            hint="publishing it would lose or repeat rows. Start a new run: it reads from the watermark as it is now",
        )


def _check_line(connection: Connection, asset: Row, run: Row, version: VersionRecord) -> None:
    """What the version was made from is still what is current: its line, or for new rows, the last publish."""
    if version.rows_id == version.id:
        moved = run["publish_sequence"] not in (None, asset["sequence"])
    else:
        current = asset["current_version"]
        moved = current is None or to_version(version_row(connection, current)).rows_id != version.rows_id
    if moved:
        raise RunConflict(
            f"since run {run['id']} of '{run['asset']}' was planned, another run was published or the asset was rolled "
            f"back: {asset['current_version']} is current",
            hint="publishing it would bring older rows back. Start a new run",
        )


def _advance_watermark(
    connection: Connection, asset: str, cursor: Mapping[str, Json] | None, now: datetime
) -> Mapping[str, Json] | None:
    """Keep the new cursor, if there is one; the cursor that holds now."""
    table = schema.watermark
    row = connection.execute(select(table).where(table.c.asset == asset)).mappings().first()
    if cursor is None:
        return None if row is None else row["cursor"]
    if row is None:
        connection.execute(insert(table).values(asset=asset, cursor=cursor, sequence=1, updated_at=now))
    elif row["cursor"] != cursor:
        moved = {"cursor": cursor, "sequence": row["sequence"] + 1, "updated_at": now}
        connection.execute(update(table).where(table.c.asset == asset).values(moved))
    return cursor


def _restore_watermark(connection: Connection, version: VersionRecord, now: datetime) -> None:
    """Put the watermark back to where it was with this version, so that what came later is read again."""
    statement = select(schema.version.c.watermark).where(schema.version.c.id == version.id)
    cursor = connection.execute(statement).scalar()
    table = schema.watermark
    row = connection.execute(select(table).where(table.c.asset == version.asset)).mappings().first()
    if row is not None and row["cursor"] != cursor:
        moved = {"cursor": cursor, "sequence": row["sequence"] + 1, "updated_at": now}
        connection.execute(update(table).where(table.c.asset == version.asset).values(moved))


def _publish_apis(connection: Connection, asset: str, apis: Sequence[ApiDefinition], now: datetime) -> None:
    """Make these the asset's APIs: new, changed, and those that are gone are removed."""
    claim(connection, asset, apis)
    table = schema.api
    for api in apis:
        values = {"kind": api.kind, "definition": api.definition, "published_at": now}
        connection.execute(update(table).where(table.c.name == api.name).values(values))
    gone = (table.c.asset == asset, table.c.name.not_in([a.name for a in apis]))
    connection.execute(delete(table).where(*gone))


def _older(connection: Connection, current: VersionRecord) -> VersionRecord:
    """The newest kept version that was good, is older than the current one and has other rows."""
    table = schema.version
    statement = (
        select(table.c.id)
        .where(
            table.c.asset == current.asset,
            table.c.state == VersionState.RETIRED,
            table.c.erase_started_at.is_(None),
            table.c.sequence < current.sequence,
            func.coalesce(table.c.rows_id, table.c.id) != current.rows_id,
        )
        .order_by(table.c.sequence.desc())
        .limit(1)
    )
    found = connection.execute(statement).scalar()
    if found is None:
        hint = "`versions: {keep: 2}` in the spec keeps two; a rolled-back version must be named to be used again"
        if current.change.mode != "replace":
            hint = _NO_WAY_BACK
        raise NotFound(
            f"no version of '{current.asset}' older than the current {current.id} is kept, so it can't be rolled back",
            hint=hint,
        )
    return to_version(version_row(connection, found))


def _named(connection: Connection, current: VersionRecord, version_id: str) -> VersionRecord:
    version = to_version(version_row(connection, version_id))
    _check_asset(version, current.asset)
    hint = f"`millrace versions {current.asset}` shows which versions are kept"
    if version.id == current.id:
        raise RunFailed(f"version {version.id} of '{current.asset}' is current already", hint=hint)
    if version.erase_started_at is not None:
        raise RunFailed(f"version {version.id} of '{current.asset}' is erased from the stores", hint=hint)
    later = _changed_by(connection, version)
    if later is not None:
        raise RunFailed(
            f"version {version.id} of '{version.asset}' shares its rows with version {later}, which has changed them "
            f"since by {version.change.mode}",
            hint=_NO_WAY_BACK,
        )
    if version.sequence is None:
        raise RunFailed(
            f"version {version.id} of '{current.asset}' is {version.state} and was never published, so there is no "
            "going back to it",
            hint=hint,
        )
    return version


def _changed_by(connection: Connection, version: VersionRecord) -> str | None:
    """The version that was published after this one in its line, if there is one."""
    table = schema.version
    rows_id = func.coalesce(table.c.rows_id, table.c.id)
    later = (table.c.asset == version.asset, rows_id == version.rows_id, table.c.sequence > (version.sequence or 0))
    return connection.execute(select(table.c.id).where(*later).order_by(table.c.sequence.desc()).limit(1)).scalar()


def _set_version(connection: Connection, version_id: str, values: Mapping[str, Any]) -> None:
    connection.execute(update(schema.version).where(schema.version.c.id == version_id).values(values))
