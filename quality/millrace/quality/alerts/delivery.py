"""The outbox is emptied: each alert is sent with a short timeout, tried again later, and given up after two days.

An alert is sent at least once: when a process is killed between sending it and noting that, it is sent again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from millrace.catalog import AlertRecord, Catalog
from millrace.errors import MillraceError
from millrace.quality.alerts.destinations import Notifier, NotSent, notifier
from millrace.quality.alerts.message import Message, one_line, test_message
from millrace.spec.connection import Connection

Resolve = Callable[[str], Connection]

GIVE_UP_AFTER = timedelta(days=2)
#: A try ends by then, however slowly a destination answers.
LONGEST_TRY_S = 15.0
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
    catalog: Catalog,
    resolve: Resolve,
    now: Callable[[], datetime],
    *,
    only: Collection[str] | None = None,
    budget_s: float | None = None,
) -> list[Delivery]:
    """Send the alerts that are due. A destination that fails once is left alone until the next time.

    `only` are the destinations that this process can resolve, when it can't resolve all. After `budget_s` no further
    alert is begun. Raises what the catalog raises, nothing else.
    """
    began = time.monotonic()
    away: set[str] = set()
    done: list[Delivery] = []
    for alert in catalog.alerts.due(only):
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


def send(connection: Connection, message: Message, longest_s: float = LONGEST_TRY_S) -> None:
    """Send one message now. Raises NotSent, whatever the notifier raises, and ConfigError when there is none.

    A notifier that has not come back after `longest_s` is left to itself, in a thread that keeps no process alive.
    """
    told = notifier(connection)
    raised: list[Exception] = []
    thread = threading.Thread(
        target=_tell, args=(told, connection, message, raised), name="millrace-alert", daemon=True
    )
    thread.start()
    thread.join(longest_s)
    if thread.is_alive():
        raise NotSent(f"'{connection.name}' at {connection.host} did not take it within {longest_s:g} s")
    if not raised:
        return
    if isinstance(raised[0], MillraceError):
        raise raised[0]
    raise NotSent(f"the notifier of '{connection.name}' failed: {type(raised[0]).__name__}") from raised[0]


def _tell(told: Notifier, connection: Connection, message: Message, raised: list[Exception]) -> None:
    try:
        told(connection, message)
    except Exception as error:  # a notifier may be anybody's code; `send` says what became of it
        raised.append(error)


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
