"""What the catalog knows of incidents and alerts, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class AlertState(StrEnum):
    WAITING = "waiting"
    SENT = "sent"
    GIVEN_UP = "given_up"


@dataclass(frozen=True)
class IncidentRecord:
    """Something that is wrong with an asset, from when it was first seen until the asset publishes again.

    `key` says what is wrong, `title` says it in words; `told_at` is when alerts were last made of it, None: never.
    """

    asset: str
    key: str
    event: str
    title: str
    seen: int
    opened_at: datetime
    seen_at: datetime
    told_at: datetime | None


@dataclass(frozen=True)
class NewAlert:
    """A message for one destination; `message` is JSON."""

    asset: str
    run_id: str | None
    event: str
    destination: str
    message: Mapping[str, Any]


@dataclass(frozen=True)
class AlertRecord:
    """An alert in the outbox. `error` says why the last try failed."""

    id: int
    asset: str
    run_id: str | None
    event: str
    destination: str
    message: Mapping[str, Any]
    state: AlertState
    tries: int
    error: str
    created_at: datetime
    next_try_at: datetime
    ended_at: datetime | None
