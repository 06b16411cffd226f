"""The task's side of a load by Thrift: Arrow batches into pipelined calls, replies into rows confirmed or set aside."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from millrace.connectors.base import DirtyRow, Loaded
from millrace.connectors.hbase.columns import Rows, encode_rows, take
from millrace.connectors.hbase.endpoint import Endpoint, Refusal, store_error
from millrace.connectors.hbase.layout import Manifest
from millrace.connectors.hbase.link import Link
from millrace.connectors.hbase.mutations import batch_mutations, calls
from millrace.connectors.wire.dirty import dirty_row

if TYPE_CHECKING:
    import pyarrow as pa

#: Calls under way at a time: one that the server works on, and one that it can begin with right then.
_UNDER_WAY = 2


@dataclass(frozen=True)
class _Sent:
    """Rows `[first, end)` on their way, in one call of `size` bytes."""

    rows: Rows
    first: int
    end: int
    size: int


class ThriftLoader:
    """Writes the rows of one version; see `millrace.connectors.base.Loader`. Cells are overwritten, never added to.

    `load` returns while replies to it are still out, and reports what has been confirmed up to then. A connection that
    breaks raises TransientError: rows under way may or may not be written.
    """

    def __init__(
        self, endpoint: Endpoint, manifest: Manifest, *, merge: bool = False, deletes: str | None = None
    ) -> None:
        self._endpoint, self._manifest = endpoint, manifest
        self._merge, self._deletes = merge, deletes
        self._doing = f"loading version {manifest.version} of {manifest.asset}"
        self._link: Link | None = None
        self._sent: deque[_Sent] = deque()
        self._rows = self._size = 0
        self._dirty: list[DirtyRow] = []

    def open(self) -> None:
        self._link = Link(self._endpoint)
        self._sent.clear()

    def load(self, batch: pa.RecordBatch) -> Loaded:
        rows, dirty = encode_rows(self._manifest, batch, self._deletes)
        self._dirty += dirty
        self._send(rows)
        return self._report()

    def load_rows(self, rows: Rows) -> Loaded:
        """Rows that are encoded already."""
        self._send(rows)
        return self._report()

    def finish(self) -> Loaded:
        while self._sent:
            self._settle()
        return self._report()

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _send(self, rows: Rows) -> None:
        encoded = batch_mutations(self._manifest, rows, erase_nulls=self._merge)
        for call in calls(self._manifest, encoded):
            while len(self._sent) >= _UNDER_WAY:
                self._settle()
            self._opened().send(self._doing, call.payload)
            self._sent.append(_Sent(rows, call.first, call.end, len(call.payload)))

    def _settle(self) -> None:
        """Take in the reply to the call that went out first."""
        sent = self._sent[0]
        try:
            self._opened().receive(self._doing)
        except Refusal as refusal:
            self._sent.popleft()
            self._judge(sent, refusal)
        else:
            self._sent.popleft()
            self._rows += sent.end - sent.first
            self._size += sent.size

    def _judge(self, sent: _Sent, refusal: Refusal) -> None:
        """Set a bad row aside; of several rows, find the bad ones by halving."""
        if not refusal.of_rows:
            raise store_error(refusal, self._doing, self._endpoint) from refusal
        if sent.end - sent.first == 1:
            row = int(sent.rows.index[sent.first])
            key = self._manifest.row_key.template.columns
            self._dirty.append(dirty_row(sent.rows.batch, row, f"the store says '{refusal.summary}'", key))
            return
        half = (sent.first + sent.end) // 2
        for part in (np.arange(sent.first, half), np.arange(half, sent.end)):
            self._send(take(sent.rows, part))

    def _opened(self) -> Link:
        assert self._link is not None, "open() comes first"
        return self._link

    def _report(self) -> Loaded:
        found = Loaded(self._rows, self._size, tuple(self._dirty))
        self._rows = self._size = 0
        self._dirty = []
        return found
