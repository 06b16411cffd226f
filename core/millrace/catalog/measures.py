"""What was measured of an asset's runs, and the values of its published versions."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, delete, insert, select

from millrace.catalog import schema
from millrace.catalog.database import Database
from millrace.catalog.model import VersionState
from millrace.catalog.rows import lock_asset, run_row

_TABLE = schema.measure
_PUBLISHED = (VersionState.CURRENT, VersionState.RETIRED)


class Measures:
    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, run_id: str, values: Mapping[tuple[str, str], float]) -> None:
        """Keep a run's values by measure and column, in place of those that an earlier attempt left."""

        def work(connection: Connection) -> None:
            asset = run_row(connection, run_id)["asset"]
            lock_asset(connection, asset)
            connection.execute(delete(_TABLE).where(_TABLE.c.run_id == run_id))
            shared = {"run_id": run_id, "asset": asset}
            rows = [shared | {"measure": m, "column": c, "value": value} for (m, c), value in values.items()]
            if rows:
                connection.execute(insert(_TABLE), rows)

        self._database.write(f"keeping the measures of run {run_id}", work)

    def published(self, asset: str, measure: str, column: str, limit: int) -> list[float]:
        """The values of the last versions that were published and not rolled back, the newest first."""
        version = schema.version
        statement = (
            select(_TABLE.c.value)
            .join(version, version.c.run_id == _TABLE.c.run_id)
            .where(_TABLE.c.asset == asset, _TABLE.c.measure == measure, _TABLE.c.column == column)
            .where(version.c.state.in_(_PUBLISHED))
            .order_by(version.c.sequence.desc())
            .limit(limit)
        )
        found = self._database.read(
            f"reading the measures of '{asset}'", lambda c: c.execute(statement).scalars().all()
        )
        return [float(value) for value in found]
