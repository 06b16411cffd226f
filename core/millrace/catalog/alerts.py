"""Incidents and the outbox of alerts: an incident and the alerts that it makes are kept in one transaction."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, insert, select, update

from millrace.catalog import schema as tables
from millrace.catalog.alert_model import AlertRecord, AlertState, IncidentRecord, NewAlert
from millrace.catalog.alert_schema import alert, incident
from millrace.catalog.clock import Clock
from millrace.catalog.database import Database
from millrace.catalog.rows import Row
from millrace.catalog.upsert import insert_if_absent

#: Given the incident with this sighting counted: the alerts to make of it.
Compose = Callable[[IncidentRecord], Sequence[NewAlert]]
#: Given the incidents that are over: the alerts to make of that.
ComposeRecovery = Callable[[Sequence[IncidentRecord]], Sequence[NewAlert]]


class Alerts:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def happened(self, asset: str, key: str, event: str, title: str, compose: Compose) -> IncidentRecord:
        """Count one more sighting of an incident, open it when it is new, and keep the alerts that `compose` makes."""

        def work(connection: Connection) -> IncidentRecord:
            now = self._clock()
            here = (incident.c.asset == asset, incident.c.key == key)
            first = {"asset": asset, "key": key, "event": event, "title": title, "opened_at": now}
            if not insert_if_absent(connection, incident, {**first, "seen": 1, "seen_at": now}):
                again = {"seen": incident.c.seen + 1, "seen_at": now, "title": title}
                connection.execute(update(incident).where(*here).values(again))
            found = connection.execute(select(incident).where(*here)).mappings().one()
            made = compose(IncidentRecord(**found))
            if made:
                _keep(connection, made, now)
                connection.execute(update(incident).where(*here).values(told_at=now))
            return IncidentRecord(**found)

        return self._database.write(f"keeping an incident of '{asset}'", work)

    def over(self, asset: str, still: Collection[str], compose: ComposeRecovery) -> builtins.list[IncidentRecord]:
        """End the asset's open incidents but for those with the keys in `still`; keep what `compose` makes of it."""

        def work(connection: Connection) -> builtins.list[IncidentRecord]:
            here = (incident.c.asset == asset, incident.c.key.not_in(sorted(still)))
            statement = select(incident).where(*here).order_by(incident.c.opened_at)
            ended = [IncidentRecord(**row) for row in connection.execute(statement).mappings()]
            gone = [i.key for i in ended if _delete_incident(connection, i)]
            told = [i for i in ended if i.key in gone]
            if told:
                _keep(connection, compose(told), self._clock())
            return told

        return self._database.write(f"ending incidents of '{asset}'", work)

    def incidents(self, asset: str | None = None) -> builtins.list[IncidentRecord]:
        """The open ones, by asset and age."""
        statement = select(incident).order_by(incident.c.asset, incident.c.opened_at)
        if asset is not None:
            statement = statement.where(incident.c.asset == asset)
        rows = self._database.read("listing incidents", lambda c: c.execute(statement).mappings().all())
        return [IncidentRecord(**row) for row in rows]

    def list(self, *, state: AlertState | None = None, limit: int = 50) -> builtins.list[AlertRecord]:
        """The newest alerts first."""
        statement = select(alert).order_by(alert.c.id.desc()).limit(limit)
        if state is not None:
            statement = statement.where(alert.c.state == state)
        rows = self._database.read("listing alerts", lambda c: c.execute(statement).mappings().all())
        return [_record(row) for row in rows]

    def due(self, destinations: Collection[str] | None = None, limit: int = 100) -> builtins.list[AlertRecord]:
        """Waiting alerts whose next try has come, the oldest first; for these destinations, or for all."""
        here = (alert.c.state == AlertState.WAITING, alert.c.next_try_at <= self._clock())
        statement = select(alert).where(*here).order_by(alert.c.id).limit(limit)
        if destinations is not None:
            statement = statement.where(alert.c.destination.in_(sorted(destinations)))
        rows = self._database.read("looking for alerts to send", lambda c: c.execute(statement).mappings().all())
        return [_record(row) for row in rows]

    def claim(self, found: AlertRecord, hold: timedelta) -> bool:
        """Whether this process may try to send it: nobody else does within `hold`."""
        values = {"tries": found.tries + 1, "next_try_at": self._clock() + hold}
        here = (alert.c.id == found.id, alert.c.tries == found.tries, alert.c.state == AlertState.WAITING)
        work = update(alert).where(*here).values(values)
        return self._database.write(f"taking alert {found.id}", lambda c: c.execute(work).rowcount > 0)

    def sent(self, alert_id: int) -> None:
        self._end(alert_id, {"state": AlertState.SENT, "ended_at": self._clock(), "error": ""})

    def failed(self, alert_id: int, error: str, again_in: timedelta | None) -> None:
        """Note why a try failed; without a next one the alert is given up."""
        now = self._clock()
        if again_in is None:
            self._end(alert_id, {"state": AlertState.GIVEN_UP, "ended_at": now, "error": error})
        else:
            self._end(alert_id, {"next_try_at": now + again_in, "error": error})

    def retry_all(self) -> int:
        """Make every waiting alert due now; how many those are."""
        work = update(alert).where(alert.c.state == AlertState.WAITING).values(next_try_at=self._clock())
        return self._database.write("making alerts due", lambda c: c.execute(work).rowcount)

    def prune(self, older_than: timedelta) -> None:
        """Forget alerts that ended that long ago."""
        gone = delete(alert).where(alert.c.ended_at < self._clock() - older_than)
        self._database.write("forgetting old alerts", lambda c: c.execute(gone))

    def last_publish(self, asset: str) -> datetime | None:
        """When a run of the asset last published; a rollback is no publish."""
        run = tables.run.c
        statement = select(func.max(run.published_at)).where(run.asset == asset)
        found: datetime | None = self._database.read(
            f"looking for the last publish of '{asset}'", lambda c: c.execute(statement).scalar()
        )
        return found

    def _end(self, alert_id: int, values: dict[str, object]) -> None:
        work = update(alert).where(alert.c.id == alert_id).values(values)
        self._database.write(f"noting how alert {alert_id} went", lambda c: c.execute(work))


def _keep(connection: Connection, made: Sequence[NewAlert], now: datetime) -> None:
    shared = {"state": AlertState.WAITING, "tries": 0, "error": "", "created_at": now, "next_try_at": now}
    if made:
        connection.execute(insert(alert), [{**a.__dict__, **shared} for a in made])


def _delete_incident(connection: Connection, found: IncidentRecord) -> bool:
    """Whether it was there: of two publishes at once, one tells of the recovery."""
    here = (incident.c.asset == found.asset, incident.c.key == found.key)
    return connection.execute(delete(incident).where(*here)).rowcount > 0


def _record(row: Row) -> AlertRecord:
    return AlertRecord(**{**row, "state": AlertState(row["state"])})
