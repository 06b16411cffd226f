"""The task's side of a load: Arrow batches into a table of the task's own, which is part of the version at its end.

Each attempt of a task writes into a table of its own. When it ends, that table is renamed to the task's one name:
ClickHouse renames atomically and never onto a table that exists, so exactly one attempt wins, whole, however many were
killed, doubled (speculation) or thought lost. `ClickHouseTarget.seal` then attaches the winners' parts.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from millrace.connectors.base import DirtyRow, Loaded
from millrace.connectors.clickhouse.endpoint import Endpoint
from millrace.connectors.clickhouse.layout import Place
from millrace.connectors.clickhouse.lines import DELETED, DELETED_COLUMN
from millrace.connectors.clickhouse.link import Link, RowRefused
from millrace.errors import MillraceError, TransientError
from millrace.spec.types import Column

if TYPE_CHECKING:
    import pyarrow as pa

#: A part is written for each insert, and ClickHouse slows inserts down when a table has hundreds of parts.
INSERT_ROWS = 250_000
INSERT_BYTES = 32 << 20
_ORIGIN_COLUMNS = 2


class ClickHouseLoader:
    """Writes the rows of one version; see `millrace.connectors.base.Loader`.

    Rows are collected until an insert is worth its while; one insert is under way while the next one is collected.
    `load` mostly confirms nothing, and then many batches at once. A connection that breaks raises TransientError, and
    nothing of this attempt counts.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        place: Place,
        columns: Sequence[Column],
        filled: frozenset[str],
        key: Sequence[str],
        deletes: str | None = None,
    ) -> None:
        self._endpoint, self._place = endpoint, place
        self._columns, self._filled = (*columns, DELETED_COLUMN) if deletes else tuple(columns), filled
        self._deletes = deletes
        self._key = tuple(key) or tuple(c.name for c in columns[:_ORIGIN_COLUMNS])
        self._doing = f"loading version {place.version} of {place.asset}"
        self._link: Link | None = None
        self._own = ""
        self._made = False
        self._batches: list[pa.RecordBatch] = []
        self._rows = self._size = 0
        self._sender: ThreadPoolExecutor | None = None
        self._sent: Future[Loaded] | None = None

    def open(self) -> None:
        self._link = Link(self._endpoint)
        self._sender = ThreadPoolExecutor(1, "clickhouse-insert")
        self._sent = None
        self._own = self._place.attempt(uuid.uuid4().hex)
        self._made = False
        self._batches, self._rows, self._size = [], 0, 0

    def load(self, batch: pa.RecordBatch) -> Loaded:
        from millrace.connectors.clickhouse.encode import sift

        if self._deletes is not None:
            batch = _told_apart(batch, self._deletes)
        good, dirty = sift(batch, self._columns, self._filled, self._key)
        if good.num_rows:
            self._batches.append(good)
            self._rows += good.num_rows
            self._size += good.nbytes
        confirmed = self._flush() if self._rows >= INSERT_ROWS or self._size >= INSERT_BYTES else Loaded()
        return _sum(Loaded(dirty=tuple(dirty)), confirmed)

    def finish(self) -> Loaded:
        """Write what is left, and make this attempt the one that counts, unless an earlier one does already."""
        confirmed = _sum(self._flush(), self._confirmed())
        if self._made:
            self._claim()
        return confirmed

    def close(self) -> None:
        if self._link is None or self._sender is None:
            return
        self._sender.shutdown()
        with contextlib.suppress(MillraceError):  # `seal` and `drop` remove it, too
            self._forget()
        self._link.close()
        self._link = self._sender = self._sent = None

    def _flush(self) -> Loaded:
        """Begin to insert what has been collected; what the insert before it has confirmed."""
        confirmed = self._confirmed()
        batches, self._batches, self._rows, self._size = self._batches, [], 0, 0
        if not batches:
            return confirmed
        if not self._made:
            base = self._place.sql(self._place.table)
            self._opened().command(self._doing, f"CREATE TABLE {self._place.sql(self._own)} AS {base}")
            self._made = True
        from millrace.connectors.clickhouse.encode import merged

        assert self._sender is not None
        self._sent = self._sender.submit(lambda: self._insert(merged(batches)))
        return confirmed

    def _confirmed(self) -> Loaded:
        """Wait for the insert that is under way."""
        sent, self._sent = self._sent, None
        return Loaded() if sent is None else sent.result()

    def _insert(self, batch: pa.RecordBatch) -> Loaded:
        """Insert a batch; when a row of it is refused, halves of it, until the bad rows stand alone."""
        from millrace.connectors.clickhouse.encode import arrow_stream
        from millrace.connectors.wire.dirty import dirty_row

        stream = arrow_stream(batch, compressed=not self._endpoint.local)
        names = [column.name for column in self._columns]
        try:
            written = self._opened().insert(self._doing, self._place.sql(self._own), names, stream)
        except RowRefused as refused:
            if batch.num_rows == 1:
                row: DirtyRow = dirty_row(batch, 0, str(refused), self._key)
                return Loaded(dirty=(row,))
            half = batch.num_rows // 2
            return _sum(self._insert(batch.slice(0, half)), self._insert(batch.slice(half)))
        if written != batch.num_rows:
            raise TransientError(
                f"{self._doing} in {self._endpoint}: {batch.num_rows:,} rows were sent, but {written:,} were written",
                hint="a proxy may have cut the request short; the load starts again",
            )
        return Loaded(batch.num_rows, stream.size)

    def _claim(self) -> None:
        part = self._place.part(_task())
        if self._exists(part):
            return
        try:
            rename = f"RENAME TABLE {self._place.sql(self._own)} TO {self._place.sql(part)}"
            self._opened().command(self._doing, rename)
        except MillraceError:
            if not self._exists(part):  # else another attempt of this task was quicker: its rows are the same
                raise
            return
        self._made = False

    def _exists(self, table: str) -> bool:
        place = {"database": self._place.database, "name": table}
        sql = "SELECT count() FROM system.tables WHERE database = {database:String} AND name = {name:String}"
        return bool(self._opened().rows(self._doing, sql, place)[0][0])

    def _forget(self) -> None:
        if self._made:
            self._opened().command(self._doing, f"DROP TABLE IF EXISTS {self._place.sql(self._own)}")
            self._made = False

    def _opened(self) -> Link:
        assert self._link is not None, "open() comes first"
        return self._link


def _told_apart(batch: pa.RecordBatch, deletes: str) -> pa.RecordBatch:
    """The batch with the column of deletes under our own name; null is no delete."""
    position = batch.schema.get_field_index(deletes)
    return batch.set_column(position, DELETED, batch.column(position).fill_null(False))


def _sum(one: Loaded, other: Loaded) -> Loaded:
    return Loaded(one.rows + other.rows, one.size + other.size, one.dirty + other.dirty)


def _task() -> str:
    """The name of the Spark task that we are in, the same in each of its attempts; outside of Spark, one of its own."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return uuid.uuid4().hex if context is None else str(context.partitionId())
