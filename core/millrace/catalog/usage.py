"""How many requests each grant has made in each period of its quota."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, delete, select, update

from millrace.catalog import access_schema as schema
from millrace.catalog.clock import Clock
from millrace.catalog.database import Database
from millrace.catalog.upsert import insert_if_absent

Key = tuple[int, datetime]


class Usage:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def add(self, requests: Mapping[Key, int]) -> dict[Key, int]:
        """Add requests by grant and start of the period; the sums over all servers, in the same keys.

        A grant that is gone has no sum. Older periods of the same grants are forgotten.
        """

        def work(connection: Connection) -> dict[Key, int]:
            return {
                key: total for key in sorted(requests) if (total := _add(connection, key, requests[key])) is not None
            }

        return self._database.write("counting requests against quotas", work)


def _add(connection: Connection, key: Key, requests: int) -> int | None:
    table = schema.usage
    grant_id, start = key
    here = (table.c.grant_id == grant_id, table.c.period_start == start)
    done = connection.execute(update(table).where(*here).values(requests=table.c.requests + requests))
    if not done.rowcount:
        if connection.execute(select(schema.grant.c.id).where(schema.grant.c.id == grant_id)).first() is None:
            return None
        if not insert_if_absent(connection, table, {"grant_id": grant_id, "period_start": start, "requests": requests}):
            connection.execute(update(table).where(*here).values(requests=table.c.requests + requests))
        connection.execute(delete(table).where(table.c.grant_id == grant_id, table.c.period_start < start))
    return int(connection.execute(select(table.c.requests).where(*here)).scalar_one())
