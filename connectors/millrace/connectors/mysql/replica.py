"""Whether a replica is near enough to its primary to be read."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from millrace.connectors.mysql.client import Client
from millrace.errors import SourceError, TransientError
from millrace.spec.units import format_duration

_WAIT_S = 30.0
_POLL_S = 1.0
_DENIED = "Access denied; you need"


def wait_for_replica(client: Client, max_lag: timedelta) -> None:
    """Wait up to 30 seconds until the replica is at most `max_lag` behind.

    Raises TransientError when it stays further behind or doesn't replicate, SourceError when it is no replica or this
    user may not ask.
    """
    deadline = time.monotonic() + _WAIT_S
    while (behind := _seconds_behind(client)) > max_lag.total_seconds():
        if time.monotonic() >= deadline:
            raise TransientError(
                f"the replica {client.name} is {behind:,} s behind its primary, more than max_lag"
                f" ({format_duration(max_lag)})",
                hint="wait until it has caught up, raise `replica.max_lag`, or read from the primary",
            )
        time.sleep(_POLL_S)


def _seconds_behind(client: Client) -> int:
    rows = _status(client)
    if not rows:
        raise SourceError(
            f"{client.name} is named as a replica, and replicates nothing",
            hint="correct the connection that `replica` names; a server that is no replica needs no `replica`",
        )
    behind = [row.get("seconds_behind_master", row.get("seconds_behind_source")) for row in rows]
    if None in behind:
        problem = next(
            (str(v) for row in rows for k, v in row.items() if k.startswith("last_") and k.endswith("error") and v), ""
        )
        raise TransientError(
            f"the replica {client.name} isn't replicating{': ' + problem if problem else ''}",
            hint="see SHOW REPLICA STATUS there, and start it again",
        )
    return max(int(str(seconds)) for seconds in behind)


def _status(client: Client) -> list[dict[str, Any]]:
    try:
        return client.records("SHOW REPLICA STATUS")
    except SourceError as error:
        if _DENIED in error.message:
            raise SourceError(
                error.message,
                hint="grant the user REPLICA MONITOR (MariaDB) or REPLICATION CLIENT (MySQL), to see how far it is"
                " behind",
            ) from error
        return client.records("SHOW SLAVE STATUS")  # MySQL before 8.0.22
