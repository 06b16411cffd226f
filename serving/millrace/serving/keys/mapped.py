"""Keeps the interval table of the current version at hand: built once for each machine, mapped by every worker."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import IO, Any

from millrace.connectors.base import Field
from millrace.connectors.readers import Form
from millrace.errors import MillraceError, TransientError
from millrace.serving.keys.intervals import IntervalTable, schema_of, write_table

log = logging.getLogger(__name__)

AllRows = Callable[[Form], AsyncIterator[Sequence[Any]]]


class MappedTable:
    """Follows a version: while a new one's table is built, the one before it answers. Belongs to one event loop."""

    def __init__(self, folder: Path, asset: str, fields: Sequence[Field], start: str, end: str, rows: AllRows) -> None:
        self._folder, self._asset, self._start, self._end, self._rows = folder, asset, start, end, rows
        self._columns = [field.column for field in fields]
        made_of = repr((self._columns, start, end)).encode()
        self._prefix = f"{asset}-{hashlib.sha256(made_of).hexdigest()[:12]}-"
        self._table: IntervalTable | None = None
        self._building: asyncio.Task[None] | None = None

    async def of(self, form: Form) -> IntervalTable:
        """The table of a form's version, or of one before it while that is built. Raises TransientError without any."""
        table = self._table
        if table is not None and table.version == form.version:
            return table
        if self._building is None or self._building.done():
            self._building = asyncio.get_running_loop().create_task(self._build(form))
            self._building.add_done_callback(self._told)
        if table is not None:
            return table
        await asyncio.shield(self._building)
        if self._table is None:
            raise TransientError(f"the table of intervals of {self._asset} could not be built: see the server's log")
        return self._table

    async def close(self) -> None:
        if self._building is not None:
            self._building.cancel()
            await asyncio.gather(self._building, return_exceptions=True)
        self._table = None

    async def _build(self, form: Form) -> None:
        file = self._folder / f"{self._prefix}{form.version}.arrow"
        if not file.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / f"{self._prefix}lock").open("w") as lock:
                await asyncio.to_thread(_wait_for, lock)
                if not file.exists():
                    await self._write(form, file)
        columns = self._columns
        self._table = await asyncio.to_thread(IntervalTable, file, form.version, columns, self._start, self._end)
        for old in self._folder.glob(f"{self._prefix}*.arrow"):
            if old != file:
                old.unlink(missing_ok=True)  # who has mapped it keeps it

    async def _write(self, form: Form, file: Path) -> None:
        import pyarrow as pa

        schema = schema_of(self._columns)
        batches = []
        async for stored in self._rows(form):
            rows = [dict(form.decode(one)) for one in stored]
            batches.append(await asyncio.to_thread(pa.RecordBatch.from_pylist, rows, schema=schema))
        table = pa.Table.from_batches(batches, schema=schema)
        count = await asyncio.to_thread(write_table, table, self._start, self._end, file)
        log.info("the table of intervals of %s, version %s, has %d rows", self._asset, form.version, count)

    def _told(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            text = error.message if isinstance(error, MillraceError) else repr(error)
            log.error("the table of intervals of %s can't be built: %s", self._asset, text)


def _wait_for(lock: IO[str]) -> None:
    """One process builds; the others find the file when they get the lock, which goes with the file's handle."""
    fcntl.flock(lock, fcntl.LOCK_EX)
