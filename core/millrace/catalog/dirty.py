"""Dirty records: rows set aside, with the reason, the place that they came from, and their raw bytes."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from millrace.catalog import schema
from millrace.catalog.database import Database
from millrace.catalog.model import DirtyLike, DirtyReason, DirtyRecord

_TABLE = schema.dirty
_CHUNK_ROWS = 500
_CHUNK_BYTES = 4 << 20
_DELETE_ROWS = 2_000


class Dirty:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, run_id: str, step: str, rows: Iterable[DirtyLike], target: str = "") -> int:
        """Keep these rows; how many there were. `target` is set when a target refused them.

        They are written in chunks, each a transaction of its own: after a failure call `clear` and begin again.
        """
        shared = {"run_id": run_id, "step": step, "target": target}
        added = 0
        for chunk in _chunks(rows):
            values = [shared | {"reason": r.reason, "origin": r.origin, "raw": r.raw} for r in chunk]
            self._database.write(f"keeping dirty records of run {run_id}", _insertion(values))
            added += len(chunk)
        return added

    def clear(self, run_id: str, step: str) -> int:
        """Drop what an earlier attempt of this step has set aside; how many there were."""
        return self._delete(run_id, _TABLE.c.step == step)

    def prune(self, run_id: str) -> int:
        """Drop all dirty records of a run; how many there were."""
        return self._delete(run_id)

    def list(
        self, run_id: str, *, step: str | None = None, reason: str | None = None, after: int = 0, limit: int = 100
    ) -> builtins.list[DirtyRecord]:
        """In the order in which they were kept; `after` the last one's id gives the next page."""
        statement = select(_TABLE).where(_TABLE.c.run_id == run_id, _TABLE.c.id > after)
        if step is not None:
            statement = statement.where(_TABLE.c.step == step)
        if reason is not None:
            statement = statement.where(_TABLE.c.reason == reason)
        ordered = statement.order_by(_TABLE.c.id).limit(limit)
        rows = self._database.read(f"listing dirty records of run {run_id}", lambda c: c.execute(ordered).all())
        return [DirtyRecord(**r._mapping) for r in rows]

    def reasons(self, run_id: str, limit: int = 100) -> builtins.list[DirtyReason]:
        """The most frequent reasons, with the step and target that gave them."""
        rows = func.count().label("rows")
        group = (_TABLE.c.step, _TABLE.c.target, _TABLE.c.reason)
        statement = select(*group, rows).where(_TABLE.c.run_id == run_id).group_by(*group)
        ordered = statement.order_by(rows.desc(), *group).limit(limit)
        found = self._database.read(f"counting dirty records of run {run_id}", lambda c: c.execute(ordered).all())
        return [DirtyReason(**r._mapping) for r in found]

    def count(self, run_id: str) -> int:
        statement = select(func.count()).select_from(_TABLE).where(_TABLE.c.run_id == run_id)
        counted = self._database.read(
            f"counting dirty records of run {run_id}", lambda c: c.execute(statement).scalar()
        )
        return counted or 0

    def _delete(self, run_id: str, *conditions: Any) -> int:
        """In chunks, so that no transaction is long."""
        ids = (
            select(_TABLE.c.id).where(_TABLE.c.run_id == run_id, *conditions).order_by(_TABLE.c.id).limit(_DELETE_ROWS)
        )

        def work(connection: Connection) -> int:
            found = connection.execute(ids).scalars().all()
            if found:
                connection.execute(delete(_TABLE).where(_TABLE.c.id.in_(found)))
            return len(found)

        dropped = 0
        while count := self._database.write(f"dropping dirty records of run {run_id}", work):
            dropped += count
        return dropped


def _insertion(values: Sequence[dict[str, Any]]) -> Any:
    def work(connection: Connection) -> None:
        connection.execute(insert(_TABLE), values)

    return work


def _chunks(rows: Iterable[DirtyLike]) -> Iterator[builtins.list[DirtyLike]]:
    """By rows and by bytes: the rows may be a million small ones, or a few that are large."""
    chunk: builtins.list[DirtyLike] = []
    size = 0
    for row in rows:
        if chunk and (len(chunk) == _CHUNK_ROWS or size + len(row.raw) > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += len(row.raw)
    if chunk:
        yield chunk
