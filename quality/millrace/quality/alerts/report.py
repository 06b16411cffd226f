"""What a run's end, or the clock, means: incidents that open, go on or are over, and the alerts of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from millrace.catalog import Catalog, IncidentRecord, NewAlert
from millrace.quality.alerts.happening import Happening, incident_key, is_recovery, is_told
from millrace.quality.alerts.late import lateness
from millrace.quality.alerts.message import compose, subject_of
from millrace.spec import Spec
from millrace.spec.model import AlertEvent


def report(catalog: Catalog, spec: Spec, happenings: Sequence[Happening], recovery: Happening | None) -> None:
    """Keep what happened in a run. `recovery` is there when the asset has published, and ends its other incidents.

    Nothing is sent here. A spec without alerts keeps no incidents.
    """
    if not spec.alerts:
        return
    if recovery is not None:
        _end(catalog, spec, happenings, recovery)
    for happening in happenings:
        _happened(catalog, spec, happening, tuple(a.to for a in spec.alerts if happening.event in a.on))


def tell_late(catalog: Catalog, spec: Spec, happening: Happening) -> bool:
    """Keep that an asset is late, if it is, for each destination by its own `late_after`; whether it is for any.

    `happening` says what is known of the asset; its time is the clock.
    """
    known = catalog.assets.find(spec.asset)
    published = catalog.alerts.last_publish(spec.asset) if known else None
    late = False
    for alert in (a for a in spec.alerts if AlertEvent.LATE in a.on):
        found = lateness(
            spec.schedule,
            alert.late_after,
            published=published,
            known_since=known.registered_at if known else None,
            now=happening.at,
        )
        if found is None:
            continue
        late = True
        here = replace(happening, due=found.due, since=published, serving=known.current_version if known else None)
        _happened(catalog, spec, here, (alert.to,), scope=f" {alert.to}")
    return late


def overdue(catalog: Catalog, spec: Spec, now: datetime) -> datetime | None:
    """When a late asset should have been published, by the most impatient of its alerts on `late`.

    None while it is in time, and for an asset of which nobody says when it is due: no cron line, no such alert.
    """
    allowed = [alert.late_after for alert in spec.alerts if AlertEvent.LATE in alert.on]
    if not allowed and (spec.schedule is None or not spec.schedule.cron):
        return None
    known = catalog.assets.find(spec.asset)
    published = catalog.alerts.last_publish(spec.asset) if known else None
    since = known.registered_at if known else None
    found = [lateness(spec.schedule, a, published=published, known_since=since, now=now) for a in allowed or [None]]
    return min((late.due for late in found if late is not None), default=None)


def _happened(
    catalog: Catalog, spec: Spec, happening: Happening, destinations: tuple[str, ...], scope: str = ""
) -> None:
    key = incident_key(replace(happening, asset=spec.asset + scope))

    def made(incident: IncidentRecord) -> Sequence[NewAlert]:
        if not destinations or not is_told(incident, happening.at):
            return ()
        return _alerts(happening, key, destinations, incident)

    catalog.alerts.happened(spec.asset, key, happening.event.value, subject_of(happening), made)


def _end(catalog: Catalog, spec: Spec, happenings: Sequence[Happening], recovery: Happening) -> None:
    still = [incident_key(h) for h in happenings]
    warned = any(h.event is AlertEvent.CHECK_WARNED for h in happenings)
    destinations = tuple(a.to for a in spec.alerts if AlertEvent.RECOVERED in a.on)

    def made(over: Sequence[IncidentRecord]) -> Sequence[NewAlert]:
        if not is_recovery(tuple(over), warned):
            return ()
        happening = replace(recovery, over=tuple(over))
        return _alerts(happening, incident_key(happening), destinations, None)

    catalog.alerts.over(spec.asset, still, made)


def _alerts(
    happening: Happening, key: str, destinations: tuple[str, ...], incident: IncidentRecord | None
) -> list[NewAlert]:
    message = compose(happening, key, incident).to_json()
    return [
        NewAlert(happening.asset, happening.run_id, happening.event.value, to, message)
        for to in dict.fromkeys(destinations)
    ]
