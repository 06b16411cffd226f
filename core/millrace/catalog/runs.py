"""Runs: starting, resuming and ending them, and their frozen plans."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from millrace.catalog import leases, schema, steps
from millrace.catalog.clock import Clock
from millrace.catalog.database import Database
from millrace.catalog.ids import new_id
from millrace.catalog.json_text import plain
from millrace.catalog.leases import live_holder, owner_values, run_owner
from millrace.catalog.model import Json, NewRun, RunError, RunRecord, RunState, StepRecord, StepState, VersionState
from millrace.catalog.owner import Fate, Owner, fate
from millrace.catalog.rows import Row, error_values, lock_asset, run_row, to_run, version_row
from millrace.catalog.upsert import insert_if_absent
from millrace.errors import RunConflict, RunFailed


class Runs:
    def __init__(self, database: Database, clock: Clock, owner: Owner) -> None:
        self._database = database
        self._clock = clock
        self._owner = owner

    def start(self, new: NewRun) -> RunRecord:
        """A running run with its steps pending. With a `key` that the asset has already: that run, as it is.

        It holds no lease yet. Raises NotFound for an asset that was never registered.
        """

        def work(connection: Connection) -> RunRecord:
            lock_asset(connection, new.asset)
            known = _by_key(connection, new.asset, new.key)
            return _record(connection, known or self._insert(connection, new))

        return self._database.write(f"starting a run of '{new.asset}'", work)

    def resume(self, run_id: str) -> RunRecord:
        """Make a failed, cancelled or abandoned run a running one again, with the next attempt's number.

        Plan, steps and version stay as they are; continue with `unfinished[0]`. When its version has been rejected
        since, what was done with it (loads, verifications) is pending again: make a new version first. A lease that
        it had is gone: acquire it again. Raises RunFailed for a run that succeeded, RunConflict for one whose process
        is alive.
        """

        def work(connection: Connection) -> RunRecord:
            asset = run_row(connection, run_id)["asset"]
            lock_asset(connection, asset)
            run = run_row(connection, run_id)
            self._refuse_resume(connection, run)
            leases.drop(connection, run_id)  # before the run's row: whoever renews locks the two in this order
            now = self._clock()
            again = {"state": RunState.RUNNING, "attempt": run["attempt"] + 1, "ended_at": None, "heartbeat_at": now}
            values = again | owner_values(self._owner) | error_values(None)
            _update(connection, run_id, values)
            version_id = run["version_id"]
            if version_id is not None and version_row(connection, version_id)["state"] == VersionState.REJECTED:
                steps.undo(connection, run_id, [name for name in steps.names(connection, run_id) if ":" in name])
            return _record(connection, run_id)

        return self._database.write(f"resuming run {run_id}", work)

    def finish(
        self,
        run_id: str,
        state: RunState,
        *,
        stats: Mapping[str, Json] | None = None,
        error: RunError | None = None,
        attempt: int | None = None,
    ) -> RunRecord:
        """End a run, and release its lease. A step that was still running has failed with the same error.

        `stats` None keeps those that were saved. Ending a run again changes its end. With an `attempt`, raises
        RunConflict when the run is at another one by now, because someone has resumed it. Raises ValueError for
        `running`.
        """
        if state is RunState.RUNNING:
            raise ValueError("a run ends as succeeded, failed or cancelled")

        def work(connection: Connection) -> RunRecord:
            lock_asset(connection, run_row(connection, run_id)["asset"])
            _check_attempt(run_row(connection, run_id), attempt)
            leases.drop(connection, run_id)
            now = self._clock()
            values = {"state": state, "ended_at": now, **error_values(error)}
            _update(connection, run_id, values if stats is None else values | {"stats": stats})
            steps.fail_running(connection, run_id, error, now)
            return _record(connection, run_id)

        return self._database.write(f"ending run {run_id} as {state}", work)

    def get(self, run_id: str) -> RunRecord:
        """Raises NotFound."""
        return self._database.read(f"looking up run {run_id}", lambda c: _record(c, run_id))

    def find(self, asset: str, key: str) -> RunRecord | None:
        """The run that was started with this key."""

        def work(connection: Connection) -> RunRecord | None:
            found = _by_key(connection, asset, key)
            return None if found is None else _record(connection, found)

        return self._database.read(f"looking up run '{key}' of '{asset}'", work)

    def list(
        self,
        asset: str | None = None,
        *,
        state: RunState | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> builtins.list[RunRecord]:
        """The newest runs first; `before` a run's id gives the next page."""
        table = schema.run
        statement = select(table).order_by(table.c.id.desc()).limit(limit)
        if asset is not None:
            statement = statement.where(table.c.asset == asset)
        if state is not None:
            statement = statement.where(table.c.state == state)
        if before is not None:
            statement = statement.where(table.c.id < before)
        return self._database.read("listing runs", lambda c: _records(c, c.execute(statement).mappings().all()))

    def freeze_plan(self, run_id: str, plan: Mapping[str, Json]) -> Mapping[str, Json]:
        """Keep the run's plan. The first one holds for ever; it comes back, as JSON, also from later calls."""

        def work(connection: Connection) -> Mapping[str, Json]:
            lock_asset(connection, run_row(connection, run_id)["asset"])
            kept: Mapping[str, Json] | None = run_row(connection, run_id)["plan"]
            if kept is not None:
                return kept
            _update(connection, run_id, {"plan": plan})
            frozen: Mapping[str, Json] = plain(plan)
            return frozen

        return self._database.write(f"freezing the plan of run {run_id}", work)

    def save_stats(self, run_id: str, stats: Mapping[str, Json]) -> None:
        """Replace the run's statistics."""
        self._database.write(f"saving the statistics of run {run_id}", lambda c: _update(c, run_id, {"stats": stats}))

    def start_step(self, run_id: str, step: str, undo: Sequence[str] = ()) -> StepRecord:
        """Mark a step as running, as one more attempt of it. One that wasn't declared is added at the end.

        `undo` are the steps whose results are worth nothing by this: those that have succeeded are pending again.
        """

        def work(connection: Connection) -> StepRecord:
            lock_asset(connection, run_row(connection, run_id)["asset"])
            now = self._clock()
            _update(connection, run_id, {"step": step, "heartbeat_at": now})
            steps.undo(connection, run_id, undo)
            return steps.start(connection, run_id, step, now)

        return self._database.write(f"starting step '{step}' of run {run_id}", work)

    def finish_step(self, run_id: str, step: str, stats: Mapping[str, Json] | None = None) -> StepRecord:
        """Raises NotFound for a step that the run doesn't have."""
        return self._end_step(run_id, step, StepState.SUCCEEDED, stats, None)

    def fail_step(self, run_id: str, step: str, error: RunError, stats: Mapping[str, Json] | None = None) -> StepRecord:
        """Raises NotFound for a step that the run doesn't have."""
        return self._end_step(run_id, step, StepState.FAILED, stats, error)

    def gone(self, ttl_s: float) -> builtins.list[RunRecord]:
        """Running runs that nobody works on, oldest first.

        Their process is known to have ended, or they hold no live lease and were silent for `ttl_s`.
        """
        statement = select(schema.run).where(schema.run.c.state == RunState.RUNNING).order_by(schema.run.c.id)

        def work(connection: Connection) -> builtins.list[RunRecord]:
            rows = connection.execute(statement).mappings().all()
            return _records(connection, [r for r in rows if self._is_gone(connection, r, ttl_s)])

        return self._database.read("looking for abandoned runs", work)

    def _is_gone(self, connection: Connection, run: Row, ttl_s: float) -> bool:
        now = self._clock()
        holder = live_holder(connection, run["asset"], now)
        if holder is not None and holder.run_id == run["id"]:
            return False
        match _fate(connection, run):
            case Fate.ENDED:
                return True
            case Fate.ALIVE:
                return False
        silent_since: datetime = run["heartbeat_at"]
        return silent_since < now - timedelta(seconds=ttl_s)

    def _insert(self, connection: Connection, new: NewRun) -> str:
        now = self._clock()
        values = {
            "asset": new.asset,
            "state": RunState.RUNNING,
            "cause": new.trigger,
            "run_key": new.key,
            "window_start": new.window_start,
            "window_end": new.window_end,
            "spec_digest": new.spec_digest,
            "attempt": 1,
            "started_at": now,
            "heartbeat_at": now,
            "choices": new.choices,
            **leases.standing(connection, new.asset),
            **owner_values(self._owner),
        }
        run_id = new_id(now)
        while not insert_if_absent(connection, schema.run, values | {"id": run_id}):
            run_id = new_id(self._clock())
        steps.declare(connection, run_id, new.steps)
        return run_id

    def _refuse_resume(self, connection: Connection, run: Row) -> None:
        run_id, asset = run["id"], run["asset"]
        if run["state"] == RunState.SUCCEEDED:
            raise RunFailed(
                f"run {run_id} of '{asset}' has succeeded, there is nothing to resume", hint="start a new run"
            )
        if run["state"] != RunState.RUNNING:
            return
        holder = live_holder(connection, asset, self._clock())
        leased = holder is not None and holder.run_id == run_id
        if leased or (_fate(connection, run) is Fate.ALIVE and run_owner(run) != self._owner):
            raise RunConflict(
                f"run {run_id} of '{asset}' is still under way on {run['host']} (pid {run['pid']})",
                hint="wait for it, or stop it and then resume it",
            )

    def _end_step(
        self, run_id: str, step: str, state: StepState, stats: Mapping[str, Json] | None, error: RunError | None
    ) -> StepRecord:
        values: dict[str, Any] = {"state": state, "ended_at": self._clock(), "stats": stats, **error_values(error)}
        return self._database.write(
            f"ending step '{step}' of run {run_id} as {state}", lambda c: steps.change(c, run_id, step, values)
        )


def _fate(connection: Connection, run: Row) -> Fate:
    """What became of the run's process; unknown when the run isn't tied to one."""
    return Fate.UNKNOWN if leases.held_by_time(connection, run["id"]) else fate(run_owner(run))


def _check_attempt(run: Row, attempt: int | None) -> None:
    if attempt is not None and run["attempt"] != attempt:
        raise RunConflict(
            f"run {run['id']} of '{run['asset']}' was resumed meanwhile: process {run['pid']} on {run['host']} is at "
            f"attempt {run['attempt']} of it, not {attempt}",
            hint="leave it to that process",
        )


def _by_key(connection: Connection, asset: str, key: str | None) -> str | None:
    if key is None:
        return None
    table = schema.run
    return connection.execute(select(table.c.id).where(table.c.asset == asset, table.c.run_key == key)).scalar()


def _update(connection: Connection, run_id: str, values: Mapping[str, Any]) -> None:
    run_row(connection, run_id)  # NotFound, rather than an update of nothing
    connection.execute(update(schema.run).where(schema.run.c.id == run_id).values(values))


def _record(connection: Connection, run_id: str) -> RunRecord:
    return _records(connection, [run_row(connection, run_id)])[0]


def _records(connection: Connection, runs: Sequence[Row]) -> builtins.list[RunRecord]:
    of_run = steps.of_runs(connection, [r["id"] for r in runs])
    return [to_run(r, of_run.get(r["id"], ())) for r in runs]
