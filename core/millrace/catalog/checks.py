"""Check results: kept for each run, and read back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from millrace.catalog import schema
from millrace.catalog.clock import Clock
from millrace.catalog.database import Database
from millrace.catalog.model import CheckRecord, CheckResult
from millrace.catalog.rows import Row, lock_asset, run_row

_TABLE = schema.check


class Checks:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def record(self, run_id: str, results: Sequence[CheckResult], step: str = "check") -> None:
        """Keep the results of one step, in place of those that an earlier attempt of it left."""

        def work(connection: Connection) -> None:
            asset, now = run_row(connection, run_id)["asset"], self._clock()
            lock_asset(connection, asset)
            connection.execute(delete(_TABLE).where(_TABLE.c.run_id == run_id, _TABLE.c.step == step))
            shared = {"run_id": run_id, "asset": asset, "step": step, "checked_at": now}
            if results:
                connection.execute(insert(_TABLE), [shared | _values(r) for r in results])

        self._database.write(f"keeping {len(results)} check results of run {run_id}", work)

    def of_run(self, run_id: str) -> list[CheckRecord]:
        """In the order in which they were recorded."""
        statement = select(_TABLE).where(_TABLE.c.run_id == run_id).order_by(_TABLE.c.id)
        rows = self._database.read(
            f"reading the checks of run {run_id}", lambda c: c.execute(statement).mappings().all()
        )
        return [_record(r) for r in rows]

    def checked(self, run_ids: Collection[str]) -> frozenset[str]:
        """Those of the runs that have results."""
        statement = select(_TABLE.c.run_id).where(_TABLE.c.run_id.in_(run_ids)).distinct()
        doing = f"looking for checks of {len(run_ids)} runs"
        return frozenset(self._database.read(doing, lambda c: c.execute(statement).scalars().all()))

    def last_run(self, asset: str) -> str | None:
        """The last run of an asset that has results."""
        statement = select(_TABLE.c.run_id).where(_TABLE.c.asset == asset).order_by(_TABLE.c.id.desc()).limit(1)
        found: str | None = self._database.read(
            f"looking for the last checks of '{asset}'", lambda c: c.execute(statement).scalar()
        )
        return found


def _values(result: CheckResult) -> dict[str, Any]:
    return {
        "kind": result.kind,
        "description": result.description,
        "severity": result.severity,
        "passed": result.passed,
        "observed": result.observed,
        "expected": result.expected,
        "sample": result.sample,
        "error": result.error,
    }


def _record(row: Row) -> CheckRecord:
    result = CheckResult(
        kind=row["kind"],
        description=row["description"],
        severity=row["severity"],
        passed=row["passed"],
        observed=row["observed"],
        expected=row["expected"],
        sample=tuple(row["sample"]),
        error=row["error"],
    )
    return CheckRecord(row["run_id"], row["asset"], row["step"], result, row["checked_at"])
