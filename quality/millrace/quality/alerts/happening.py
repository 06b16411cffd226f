"""What happened to an asset, and what makes two happenings the same incident. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from millrace.catalog import IncidentRecord
from millrace.spec.model import AlertEvent, JsonValue

#: After this time an incident that goes on is told once more.
REMIND_AFTER = timedelta(days=1)


@dataclass(frozen=True)
class Failure:
    """Why a run ended: the step that failed, the error's class, what it says and what to do next."""

    step: str
    kind: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class CheckFinding:
    """A check that did not pass, with sample rows as they are staged: what `mask` made unreadable stays so.

    `error` says why it could not be evaluated in full.
    """

    check: str
    severity: str
    observed: JsonValue = None
    expected: JsonValue = None
    sample: tuple[Mapping[str, JsonValue], ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Happening:
    """Something that happened to an asset at a moment. `serving` is the version that readers have, None: none yet.

    `since` is when a late asset was last published, and `due` when it should have been; `over` are the incidents that
    a recovery has ended. `links` are by name.
    """

    event: AlertEvent
    asset: str
    at: datetime
    run_id: str | None = None
    owner: str = ""
    serving: str | None = None
    failure: Failure | None = None
    checks: tuple[CheckFinding, ...] = ()
    due: datetime | None = None
    since: datetime | None = None
    over: tuple[IncidentRecord, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)


def incident_key(happening: Happening) -> str:
    """What is the same for happenings of one incident: the event and what failed, whatever was observed this time."""
    match happening.event:
        case AlertEvent.CHECK_FAILED | AlertEvent.CHECK_WARNED:
            what = sorted(found.check for found in happening.checks)
        case AlertEvent.RUN_FAILED if happening.failure is not None:
            what = [happening.failure.step, happening.failure.kind]
        case _:
            what = []
    text = json.dumps([happening.asset, happening.event.value, what])
    return hashlib.sha256(text.encode()).hexdigest()


def is_told(incident: IncidentRecord, now: datetime) -> bool:
    """Whether this sighting is told: the first one, and one a day after that as long as it goes on."""
    return incident.told_at is None or now - incident.told_at >= REMIND_AFTER


def is_recovery(over: tuple[IncidentRecord, ...], warned: bool) -> bool:
    """Whether the end of these incidents is worth telling: not when one warning has only given way to another."""
    return any(found.event != AlertEvent.CHECK_WARNED for found in over) or not warned
