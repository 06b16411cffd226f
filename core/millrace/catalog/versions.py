"""Versions: made by a run, moved through their states, and erased when nobody needs them."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, select, update

from millrace.catalog import fields, schema
from millrace.catalog.clock import Clock
from millrace.catalog.database import Database
from millrace.catalog.ids import new_id
from millrace.catalog.model import Change, Json, RunState, VersionRecord, VersionState
from millrace.catalog.rows import VERSION_COLUMNS, lock_asset, run_row, to_version, version_row
from millrace.catalog.states import check_move, retirable
from millrace.catalog.upsert import insert_if_absent
from millrace.errors import RunFailed
from millrace.spec.types import Column


class Versions:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def create(
        self,
        run_id: str,
        columns: Sequence[Column],
        targets: Mapping[str, Json],
        stage_path: str = "",
        how: Change | None = None,
    ) -> VersionRecord:
        """The version that this run loads, in state `loading`, with a Protobuf field number for each column.

        `how` it changes the stores: by a whole new set of rows, unless that says something else.

        Called again, it is the same version, back in `loading`: what was loaded is loaded anew. A new one is made when
        the run's last one was rejected. Raises RunFailed when the run has published its version already, SpecError
        when a column's name stands there twice.
        """

        def work(connection: Connection) -> VersionRecord:
            asset = run_row(connection, run_id)["asset"]
            lock_asset(connection, asset)
            known = run_row(connection, run_id)["version_id"]
            if known is not None:
                version = to_version(version_row(connection, known))
                if version.state is VersionState.LOADED:
                    change(connection, version, VersionState.LOADING, {})
                elif version.state not in {VersionState.LOADING, VersionState.REJECTED}:
                    raise RunFailed(
                        f"run {run_id} has published its version {known} of '{asset}', so it can't load it again",
                        hint="start a new run",
                    )
                if version.state is not VersionState.REJECTED:
                    return to_version(version_row(connection, known))
            made = {
                "asset": asset,
                "run_id": run_id,
                "state": VersionState.LOADING,
                "fields": [[f.name, f.type, f.number] for f in fields.keep(connection, asset, columns)],
                "targets": targets,
                "stage_path": stage_path,
                "reason": "",
                "created_at": self._clock(),
                **asdict(how or Change()),
            }
            return self._insert(connection, made)

        return self._database.write(f"making a version for run {run_id}", work)

    def loaded(self, version_id: str, rows: int) -> VersionRecord:
        """Every target holds all of its `rows`. Called again: notes the rows again."""

        def work(connection: Connection, version: VersionRecord) -> None:
            if version.state is not VersionState.LOADED:
                change(connection, version, VersionState.LOADED, {"row_count": rows})
            else:
                _set(connection, version_id, {"row_count": rows})

        return self._change(f"noting that version {version_id} is loaded", version_id, work)

    def reject(self, version_id: str, reason: str) -> VersionRecord:
        """It will never be published. Called again: no change. Raises RunFailed once it was published."""

        def work(connection: Connection, version: VersionRecord) -> None:
            if version.state is not VersionState.REJECTED:
                _reject(connection, version, reason, self._clock)

        return self._change(f"rejecting version {version_id}", version_id, work)

    def get(self, version_id: str) -> VersionRecord:
        """Raises NotFound."""
        return self._database.read(f"looking up version {version_id}", lambda c: to_version(version_row(c, version_id)))

    def current(self, asset: str) -> VersionRecord | None:
        """The version that readers of the asset are to see; None when nothing was published yet."""
        asset_table, table = schema.asset, schema.version
        statement = (
            select(*VERSION_COLUMNS)
            .join(asset_table, asset_table.c.current_version == table.c.id)
            .where(asset_table.c.name == asset)
        )
        row = self._database.read(f"looking up '{asset}'", lambda c: c.execute(statement).mappings().first())
        return None if row is None else to_version(row)

    def list(
        self, asset: str, states: Collection[VersionState] = (), *, erased: bool = True
    ) -> builtins.list[VersionRecord]:
        """The asset's versions, the newest first; only those in `states`, if any are named.

        Without the `erased` ones, of which nothing is left in the stores and of which there may be thousands.
        """
        statement = _of_asset(asset).order_by(schema.version.c.id.desc())
        if states:
            statement = statement.where(schema.version.c.state.in_(sorted(states)))
        if not erased:
            statement = statement.where(schema.version.c.erased_at.is_(None))
        rows = self._database.read(f"listing versions of '{asset}'", lambda c: c.execute(statement).mappings().all())
        return [to_version(r) for r in rows]

    def line(self, rows_id: str) -> builtins.list[VersionRecord]:
        """Every version of these rows, erased ones too, the oldest first."""
        table = schema.version
        here = (table.c.id == rows_id) | (table.c.rows_id == rows_id)
        statement = select(*VERSION_COLUMNS).where(here).order_by(table.c.id)
        rows = self._database.read(f"listing the line {rows_id}", lambda c: c.execute(statement).mappings().all())
        return [to_version(r) for r in rows]

    def retirable(self, asset: str, keep: int) -> builtins.list[VersionRecord]:
        """What the retire step may erase from the stores now, oldest first; see `states.retirable`."""

        def work(connection: Connection) -> builtins.list[VersionRecord]:
            rows = connection.execute(_of_asset(asset)).mappings().all()
            return retirable([to_version(r) for r in rows], _running(connection, asset), keep)

        return self._database.read(f"looking for versions of '{asset}' to retire", work)

    def erase_started(self, version_id: str) -> VersionRecord:
        """Called before a store is touched: from here on the version can't become current any more.

        One that was never published is rejected by this. Called again: no change. Raises RunFailed for the current
        version, and for one that a running run is loading.
        """

        def work(connection: Connection, version: VersionRecord) -> None:
            if version.state is VersionState.CURRENT:
                raise RunFailed(
                    f"version {version_id} of '{version.asset}' is current, so it can't be erased",
                    hint=f"publish or roll back to another one first: `millrace rollback {version.asset}`",
                )
            if version.state in {VersionState.LOADING, VersionState.LOADED}:
                if version.run_id in _running(connection, version.asset):
                    raise RunFailed(
                        f"version {version_id} of '{version.asset}' is being loaded by run {version.run_id}",
                        hint="wait for that run, or stop it",
                    )
                _reject(connection, version, "abandoned by its run", self._clock)
            if version.erase_started_at is None:
                _set(connection, version_id, {"erase_started_at": self._clock()})

        return self._change(f"beginning to erase version {version_id}", version_id, work)

    def erase_finished(self, version_id: str) -> VersionRecord:
        """No store holds anything of it any more. Raises RunFailed when `erase_started` was not called before."""

        def work(connection: Connection, version: VersionRecord) -> None:
            if version.erase_started_at is None:
                raise RunFailed(f"the erasure of version {version_id} of '{version.asset}' was never begun")
            if version.erased_at is None:
                _set(connection, version_id, {"erased_at": self._clock(), "watermark": None})

        return self._change(f"noting that version {version_id} is erased", version_id, work)

    def _change(self, what: str, version_id: str, work: Any) -> VersionRecord:
        def locked(connection: Connection) -> VersionRecord:
            lock_asset(connection, version_row(connection, version_id)["asset"])
            work(connection, to_version(version_row(connection, version_id)))
            return to_version(version_row(connection, version_id))

        return self._database.write(what, locked)

    def _insert(self, connection: Connection, values: Mapping[str, Any]) -> VersionRecord:
        version_id = new_id(values["created_at"])
        while not insert_if_absent(connection, schema.version, {**values, "id": version_id}):
            version_id = new_id(self._clock())
        statement = update(schema.run).where(schema.run.c.id == values["run_id"]).values(version_id=version_id)
        connection.execute(statement)
        return to_version(version_row(connection, version_id))


def change(connection: Connection, version: VersionRecord, state: VersionState, values: Mapping[str, Any]) -> None:
    """Move a version to another state, if that is legal. The asset must be locked."""
    check_move(version.asset, version.id, version.state, state)
    _set(connection, version.id, {**values, "state": state})


def _reject(connection: Connection, version: VersionRecord, reason: str, clock: Clock) -> None:
    change(connection, version, VersionState.REJECTED, {"reason": reason, "retired_at": clock()})


def _set(connection: Connection, version_id: str, values: Mapping[str, Any]) -> None:
    connection.execute(update(schema.version).where(schema.version.c.id == version_id).values(values))


def _of_asset(asset: str) -> Any:
    return select(*VERSION_COLUMNS).where(schema.version.c.asset == asset)


def _running(connection: Connection, asset: str) -> builtins.list[str]:
    table = schema.run
    statement = select(table.c.id).where(table.c.asset == asset, table.c.state == RunState.RUNNING)
    return list(connection.execute(statement).scalars())
