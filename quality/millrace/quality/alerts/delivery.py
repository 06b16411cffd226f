"""The outbox is emptied: each alert is sent with a short timeout, tried again later, and given up after two days.

An alert is sent at least once: when a process is killed between sending it and noting that, it is sent again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from millrace.catalog import AlertRecord, Catalog
from millrace.errors import MillraceError
from millrace.quality.alerts.destinations import NotSent, notifier
from millrace.quality.alerts.message import Message, one_line, test_message
from millrace.spec.connection import Connection

Resolve = Callable[[str], Connection]

GIVE_UP_AFTER = timedelta(days=2)
_FIRST_WAIT = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(hours=1)
_HOLD = timedelta(minutes=2)  # longer than any try: another process doesn't send the same alert meanwhile
_KEPT = timedelta(days=30)
_LONGEST_ERROR = 500


@dataclass(frozen=True)
class Delivery:
    """How one alert went: its error is empty when it was sent."""

    alert: AlertRecord
    error: str = ""
    given_up: bool = False


def deliver(
    catalog: Catalog, resolve: Resolve, now: Callable[[], datetime], *, budget_s: float | None = None
) -> list[Delivery]:
    """Send the alerts that are due. A destination that fails once is left alone until the next time.

    After `budget_s` no further one is begun. Raises what the catalog raises, nothing else.
    """
    began = time.monotonic()
    away: set[str] = set()
    done: list[Delivery] = []
    for alert in catalog.alerts.due():
        if budget_s is not None and time.monotonic() - began >= budget_s:
            break
        if alert.destination in away or not catalog.alerts.claim(alert, _HOLD):
            continue
        went = _try(catalog, alert, resolve, now())
        if went.error and not went.given_up:
            away.add(alert.destination)
        done.append(went)
    catalog.alerts.prune(_KEPT)
    return done


def send_test(destination: str, resolve: Resolve, at: datetime) -> Message:
    """Send a message that says it is a test, past the outbox. Raises NotSent and ConfigError."""
    message = test_message(destination, at)
    send(resolve(destination), message)
    return message


def send(connection: Connection, message: Message) -> None:
    """Send one message now. Raises NotSent, whatever the notifier raises, and ConfigError when there is none."""
    told = notifier(connection)
    try:
        told(connection, message)
    except MillraceError:
        raise
    except Exception as error:  # a notifier may be anybody's code
        raise NotSent(f"the notifier of '{connection.name}' failed: {type(error).__name__}") from error


def wait_after(tries: int) -> timedelta:
    """How long a destination is left alone after that many tries: one minute, two, four, … at most an hour."""
    doubled: int = 2 ** min(tries - 1, 10)
    return min(_FIRST_WAIT * doubled, _LONGEST_WAIT)


def _try(catalog: Catalog, alert: AlertRecord, resolve: Resolve, now: datetime) -> Delivery:
    try:
        send(resolve(alert.destination), Message.from_json(alert.message))
    except MillraceError as error:
        words = one_line(error.message, _LONGEST_ERROR)
        hopeless = getattr(error, "forever", False) or now - alert.created_at >= GIVE_UP_AFTER
        catalog.alerts.failed(alert.id, words, None if hopeless else wait_after(alert.tries + 1))
        return Delivery(alert, words, hopeless)
    catalog.alerts.sent(alert.id)
    return Delivery(alert)
