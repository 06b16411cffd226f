"""Steps of a run: what `Runs` keeps of each, so that a run goes on where it stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from millrace.catalog import schema
from millrace.catalog.model import RunError, StepRecord, StepState
from millrace.catalog.rows import Row, error_values, to_step
from millrace.errors import NotFound

_TABLE = schema.step


def declare(connection: Connection, run_id: str, names: Sequence[str]) -> None:
    """Note the steps of a new run, pending and in this order."""
    new = [_pending(run_id, name, position) for position, name in enumerate(names)]
    if new:
        connection.execute(insert(_TABLE), new)


def start(connection: Connection, run_id: str, name: str, now: datetime) -> StepRecord:
    """See `Runs.start_step`. The asset must be locked."""
    attempt = connection.execute(select(_TABLE.c.attempt).where(*_is(run_id, name))).scalar()
    if attempt is None:
        last = connection.execute(select(func.max(_TABLE.c.position)).where(_TABLE.c.run_id == run_id)).scalar()
        connection.execute(insert(_TABLE).values(_pending(run_id, name, 0 if last is None else last + 1)))
    started = {"state": StepState.RUNNING, "attempt": (attempt or 0) + 1, "started_at": now, "ended_at": None}
    return change(connection, run_id, name, started | {"stats": None} | error_values(None))


def undo(connection: Connection, run_id: str, names: Sequence[str]) -> None:
    """Those of these steps that have succeeded are pending again. The asset must be locked."""
    done = (_TABLE.c.run_id == run_id, _TABLE.c.name.in_(names), _TABLE.c.state == StepState.SUCCEEDED)
    values = {"state": StepState.PENDING, "ended_at": None, "stats": None}
    connection.execute(update(_TABLE).where(*done).values(values))


def change(connection: Connection, run_id: str, name: str, values: Mapping[str, Any]) -> StepRecord:
    connection.execute(update(_TABLE).where(*_is(run_id, name)).values(values))
    row = connection.execute(select(_TABLE).where(*_is(run_id, name))).mappings().first()
    if row is None:
        raise NotFound(f"run {run_id} has no step '{name}'", hint="start the step before it is ended")
    return to_step(row)


def fail_running(connection: Connection, run_id: str, error: RunError | None, now: datetime) -> None:
    """End the steps that still run, together with their run."""
    still = (_TABLE.c.run_id == run_id, _TABLE.c.state == StepState.RUNNING)
    values = {"state": StepState.FAILED, "ended_at": now, **error_values(error)}
    connection.execute(update(_TABLE).where(*still).values(values))


def names(connection: Connection, run_id: str) -> list[str]:
    """The names of a run's steps, in order."""
    return [row["name"] for row in of_runs(connection, [run_id]).get(run_id, ())]


def of_runs(connection: Connection, run_ids: Sequence[str]) -> Mapping[str, list[Row]]:
    """The steps of these runs, in order."""
    statement = select(_TABLE).where(_TABLE.c.run_id.in_(run_ids)).order_by(_TABLE.c.run_id, _TABLE.c.position)
    found: dict[str, list[Row]] = {}
    for row in connection.execute(statement).mappings():
        found.setdefault(row["run_id"], []).append(row)
    return found


def _is(run_id: str, name: str) -> tuple[Any, ...]:
    return _TABLE.c.run_id == run_id, _TABLE.c.name == name


def _pending(run_id: str, name: str, position: int) -> dict[str, Any]:
    return {"run_id": run_id, "name": name, "position": position, "state": StepState.PENDING, "attempt": 0}
