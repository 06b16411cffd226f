"""Leases: one run of an asset at a time, and a token that shuts out whoever lost it.

A lease ends by release, by time, or at once when the process that holds it is known to have ended. Its token grows by
one with every new holder and never shrinks; `publish` compares it within its own transaction, so a run that slept
through the end of its lease can't publish over its successor (a fencing token).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from millrace.catalog import schema
from millrace.catalog.clock import Clock, shown
from millrace.catalog.database import Database
from millrace.catalog.model import Lease, LeaseHolder, RunState
from millrace.catalog.owner import Fate, Owner, fate
from millrace.catalog.rows import Row, lock_asset, run_row
from millrace.errors import RunConflict, RunFailed


class Leases:
    def __init__(self, database: Database, clock: Clock, owner: Owner) -> None:
        self._database = database
        self._clock = clock
        self._owner = owner

    def acquire(self, asset: str, run_id: str, ttl_s: float, *, by_process: bool = True) -> Lease:
        """Take the lease for a running run, or share the one that this run already has.

        `by_process` ties it to this process: when that is known to have ended, the next run need not wait for the
        time to pass. Without it only time counts, for a run whose steps are processes of their own. Take it before
        the watermark is read: publish refuses a run whose watermark has moved since.
        Raises RunConflict, naming the holder, while another run has it; RunFailed for a run that has ended.
        """

        def work(connection: Connection) -> Lease:
            lock_asset(connection, asset)
            run = _running(connection, asset, run_id)
            known = _lock(connection, asset)
            now = self._clock()
            holder = live_holder(connection, asset, now)
            if holder is not None and holder.run_id != run_id:
                raise _conflict(holder, now)
            until = now + timedelta(seconds=ttl_s)
            held = {"asset": asset, "run_id": run_id, "by_process": by_process, "expires_at": until}
            token = _take(connection, known, held, now)
            self._note_owner(connection, run, now)
            return Lease(asset, run_id, token, until)

        return self._database.write(f"taking the lease of '{asset}' for run {run_id}", work)

    def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Hold it for `ttl_s` from now; also the run's heartbeat. Raises RunConflict when the lease was lost."""

        def work(connection: Connection) -> Lease:
            now = self._clock()
            renewed = Lease(lease.asset, lease.run_id, lease.token, now + timedelta(seconds=ttl_s))
            check_token(connection, lease)
            connection.execute(update(schema.lease).where(*_is(lease)).values(expires_at=renewed.expires_at))
            connection.execute(update(schema.run).where(schema.run.c.id == lease.run_id).values(heartbeat_at=now))
            return renewed

        return self._database.write(f"renewing the lease of '{lease.asset}' for run {lease.run_id}", work)

    def release(self, lease: Lease) -> None:
        """Give it back. No error when it was lost or released before."""
        statement = update(schema.lease).where(*_is(lease)).values(run_id=None)
        self._database.write(f"releasing the lease of '{lease.asset}'", lambda c: c.execute(statement).close())

    def holder(self, asset: str) -> LeaseHolder | None:
        """Who has the lease now; None when it is free, has run out, or its process is known to have ended."""
        return self._database.read(f"looking up the lease of '{asset}'", lambda c: live_holder(c, asset, self._clock()))

    def _note_owner(self, connection: Connection, run: Row, now: datetime) -> None:
        values: dict[str, Any] = {**owner_values(self._owner), "heartbeat_at": now}
        if run["plan"] is None:
            values |= standing(connection, run["asset"])
        connection.execute(update(schema.run).where(schema.run.c.id == run["id"]).values(values))


def owner_values(owner: Owner) -> dict[str, Any]:
    """The columns of a run that say which process works on it."""
    return {
        "host": owner.host,
        "pid": owner.pid,
        "machine": owner.machine,
        "process_started": owner.started,
    }


def run_owner(run: Row) -> Owner:
    return Owner(run["host"], run["pid"], run["machine"], run["process_started"])


def watermark_sequence(connection: Connection, asset: str) -> int:
    """Grows whenever the asset's watermark changes; 0 before the first."""
    statement = select(schema.watermark.c.sequence).where(schema.watermark.c.asset == asset)
    return connection.execute(statement).scalar() or 0


def standing(connection: Connection, asset: str) -> dict[str, Any]:
    """The columns of a run that say what was published when it was planned; the asset must be locked."""
    published = connection.execute(select(schema.asset.c.sequence).where(schema.asset.c.name == asset)).scalar()
    return {"watermark_sequence": watermark_sequence(connection, asset), "publish_sequence": published}


def live_holder(connection: Connection, asset: str, now: datetime) -> LeaseHolder | None:
    """See `Leases.holder`."""
    lease, run = schema.lease, schema.run
    statement = (
        select(lease.c.by_process, lease.c.acquired_at, lease.c.expires_at, run)
        .join(run, lease.c.run_id == run.c.id)
        .where(lease.c.asset == asset, lease.c.expires_at > now)
    )
    row = connection.execute(statement).mappings().first()
    if row is None or (row["by_process"] and fate(run_owner(row)) is Fate.ENDED):
        return None
    return LeaseHolder(asset, row["id"], row["host"], row["pid"], row["acquired_at"], row["expires_at"])


def held_by_time(connection: Connection, run_id: str) -> bool:
    """Whether the run has a lease, live or not, that isn't tied to a process."""
    statement = select(schema.lease.c.by_process).where(schema.lease.c.run_id == run_id)
    return connection.execute(statement).scalar() is False


def check_token(connection: Connection, lease: Lease) -> None:
    """Lock the lease's row, and raise RunConflict unless this lease is still the asset's."""
    row = _lock(connection, lease.asset)
    if row is not None and row["token"] == lease.token and row["run_id"] == lease.run_id:
        return
    taken = "it was released"
    if row is not None and row["run_id"] is not None:
        taken = f"run {row['run_id']} took it at {shown(row['acquired_at'])}"
    raise RunConflict(
        f"run {lease.run_id} has lost the lease of '{lease.asset}', held until {shown(lease.expires_at)}: {taken}",
        hint="this run can't publish any more; readers keep what they have. Start a new run if it is needed",
    )


def drop(connection: Connection, run_id: str) -> None:
    """Free the lease if this run has it. The token stays, so the next holder gets a larger one."""
    connection.execute(update(schema.lease).where(schema.lease.c.run_id == run_id).values(run_id=None))


def _is(lease: Lease) -> tuple[Any, ...]:
    table = schema.lease
    return table.c.asset == lease.asset, table.c.run_id == lease.run_id, table.c.token == lease.token


def _running(connection: Connection, asset: str, run_id: str) -> Row:
    run = run_row(connection, run_id)
    if run["asset"] != asset:
        raise RunFailed(f"run {run_id} is of asset '{run['asset']}', so it can't take the lease of '{asset}'")
    if run["state"] != RunState.RUNNING:
        raise RunFailed(f"run {run_id} of '{asset}' has {run['state']}", hint="resume it first, or start a new run")
    return run


def _lock(connection: Connection, asset: str) -> Row | None:
    statement = select(schema.lease).where(schema.lease.c.asset == asset).with_for_update()
    return connection.execute(statement).mappings().first()


def _take(connection: Connection, known: Row | None, held: Mapping[str, Any], now: datetime) -> int:
    """Write the lease for its new or same holder; its token."""
    table = schema.lease
    if known is None:
        connection.execute(insert(table).values(**held, token=1, acquired_at=now))
        return 1
    same: bool = known["run_id"] == held["run_id"]
    token: int = known["token"] if same else known["token"] + 1
    acquired_at = known["acquired_at"] if same else now
    values = {**held, "token": token, "acquired_at": acquired_at}
    connection.execute(update(table).where(table.c.asset == held["asset"]).values(values))
    return token


def _conflict(holder: LeaseHolder, now: datetime) -> RunConflict:
    left_s = max(1, round((holder.expires_at - now).total_seconds()))
    return RunConflict(
        f"'{holder.asset}' is being run by run {holder.run_id} on {holder.host} (pid {holder.pid}) "
        f"since {shown(holder.since)}",
        hint=f"wait for it or stop it; if it is dead, its lease ends by itself in {left_s} s",
    )
