"""One channel: the loop in a Spark task that moves Arrow batches from Spark to a loader, through the gate.

A batch that the store refuses as a whole is split in halves until the bad rows stand alone: O(k log n) tries for k bad
rows among n (the idea of DataX's CommonRdbmsWriter, which goes row by row instead).
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from millrace.connectors.base import DirtyRow, Gate, Loaded, Loader
from millrace.errors import MillraceError

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

SAMPLE_ROWS_PER_BATCH = 100
SAMPLE_BATCHES = 10


class RefusedBatch(MillraceError):
    """The store refused a whole batch because of some row in it; `reason` is the store's own words."""


@dataclass
class ChannelTotals:
    """What one task has moved: rows and bytes confirmed, rows set aside, seconds waited, rows to verify by.

    A sample becomes usable when the store has confirmed its whole batch, with no dirty row reported in between.
    """

    rows: int = 0
    size: int = 0
    dirty: int = 0
    source_waited_s: float = 0.0
    target_waited_s: float = 0.0
    sample: list[pa.RecordBatch] = field(default_factory=list)
    _sent: int = 0
    _unconfirmed: list[tuple[int, pa.RecordBatch]] = field(default_factory=list)

    def send(self, batch: pa.RecordBatch) -> None:
        """Note that a batch is on its way, and keep some rows of it while there is room."""
        self._sent += batch.num_rows
        if len(self.sample) + len(self._unconfirmed) < SAMPLE_BATCHES:
            size = min(SAMPLE_ROWS_PER_BATCH, batch.num_rows)
            self._unconfirmed.append((self._sent, batch.slice(batch.num_rows - size, size)))

    def confirm(self, loaded: Loaded) -> None:
        self.rows += loaded.rows
        self.size += loaded.size
        self.dirty += len(loaded.dirty)
        confirmed = self.rows + self.dirty
        if loaded.dirty:
            self._unconfirmed.clear()
        self.sample += [rows for end, rows in self._unconfirmed if end <= confirmed]
        self._unconfirmed = [(end, rows) for end, rows in self._unconfirmed if end > confirmed]

    def sample_bytes(self) -> bytes:
        """The sampled rows as an Arrow IPC stream; empty when there are none."""
        import pyarrow as pa

        if not self.sample:
            return b""
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, self.sample[0].schema) as writer:
            for batch in self.sample:
                writer.write_batch(batch)
        return sink.getvalue()


def run_channel(batches: Iterable[pa.RecordBatch], loader: Loader, gate: Gate) -> ChannelTotals:
    """Load every batch; every row ends up confirmed or reported dirty.

    Raises what the loader raises, and Cancelled when the run was stopped. The loader is closed in any case.
    """
    totals = ChannelTotals()
    loader.open()
    try:
        for waited_s, batch in timed(batches):
            totals.source_waited_s += waited_s
            if not batch.num_rows:
                continue
            gate.admit(batch.num_rows, batch.nbytes)
            totals.send(batch)
            started = time.perf_counter()
            loaded = _load(loader, batch)
            _report(gate, totals, loaded, time.perf_counter() - started)
        started = time.perf_counter()
        _report(gate, totals, loader.finish(), time.perf_counter() - started)
    finally:
        loader.close()
    return totals


def timed(blocks: Iterable[T]) -> Iterator[tuple[float, T]]:
    """Each block with the seconds that were spent waiting for it."""
    started = time.perf_counter()
    for block in blocks:
        yield time.perf_counter() - started, block
        started = time.perf_counter()


def _report(gate: Gate, totals: ChannelTotals, loaded: Loaded, waited: float) -> None:
    totals.confirm(loaded)
    totals.target_waited_s += waited
    gate.done(loaded.rows, loaded.size, loaded.dirty, waited)


def _load(loader: Loader, batch: pa.RecordBatch) -> Loaded:
    try:
        return loader.load(batch)
    except RefusedBatch as refused:
        if batch.num_rows == 1:
            return Loaded(dirty=(_dirty(batch, refused),))
        half = batch.num_rows // 2
        first, second = _load(loader, batch.slice(0, half)), _load(loader, batch.slice(half))
        return Loaded(first.rows + second.rows, first.size + second.size, first.dirty + second.dirty)


def _dirty(batch: pa.RecordBatch, refused: RefusedBatch) -> DirtyRow:
    row = batch.to_pylist()[0]
    origin = ", ".join(f"{name}={value!r}" for name, value in list(row.items())[:1])
    return DirtyRow(refused.message, origin, repr(row).encode())
