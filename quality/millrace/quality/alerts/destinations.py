"""Where alerts go: a destination is a named connection, and its URL's scheme says how it is told.

| scheme | how |
|---|---|
| `http`, `https` | the message as JSON, by POST |
| `slack` | a Slack incoming webhook |
| `pagerduty` | PagerDuty's Events API v2, or what speaks it |
| `smtp`, `smtps` | e-mail |

Other schemes are found by entry points of the group `millrace.notifiers`: the name is the scheme, the value a function
that takes the connection and the message, and raises anything when it could not send.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from millrace.errors import ConfigError, MillraceError
from millrace.quality.alerts.message import Message
from millrace.spec.connection import Connection

ENTRY_POINT_GROUP = "millrace.notifiers"
TIMEOUT_S = 5.0

Notifier = Callable[[Connection, Message], None]

_OWN = {
    "http": "millrace.quality.alerts.post:webhook",
    "https": "millrace.quality.alerts.post:webhook",
    "slack": "millrace.quality.alerts.post:slack",
    "pagerduty": "millrace.quality.alerts.post:pagerduty",
    "smtp": "millrace.quality.alerts.mail:send",
    "smtps": "millrace.quality.alerts.mail:send",
}


class NotSent(MillraceError):
    """A destination did not take an alert. `forever`: it never will take this one."""

    def __init__(self, message: str, *, hint: str = "", forever: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.forever = forever


def notifier(connection: Connection) -> Notifier:
    """What tells this destination. Raises ConfigError for a scheme that nothing here speaks."""
    own = _OWN.get(connection.scheme)
    if own is not None:
        module, _, name = own.partition(":")
        found: Notifier = getattr(importlib.import_module(module), name)
        return found
    for point in entry_points(group=ENTRY_POINT_GROUP, name=connection.scheme):
        return _load(point)
    others = sorted(point.name for point in entry_points(group=ENTRY_POINT_GROUP))
    raise ConfigError(
        f"alerts can't be sent to '{connection.name}': nothing here speaks '{connection.scheme}'",
        hint=f"a destination's URL begins with one of {', '.join([*sorted(_OWN), *others])}",
    )


def _load(point: Any) -> Notifier:
    try:
        found: Notifier = point.load()
    except Exception as error:  # third-party code: whatever it raises, the message must say whose it is
        raise ConfigError(
            f"loading the notifier '{point.name}' ({point.value}): {type(error).__name__}: {error}",
            hint="repair or uninstall the distribution that brings it",
        ) from error
    return found
