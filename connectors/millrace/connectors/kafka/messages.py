"""What a task does with the messages of its ranges: fetch, decode, judge, report to the gate, pass on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from millrace.connectors.base import MAX_RAW_BYTES, DirtyRow, Gate
from millrace.connectors.channel import timed
from millrace.connectors.kafka.fetch import OFFSET, PARTITION, TIMESTAMP, VALUE, Fetch
from millrace.connectors.kafka.offsets import Range
from millrace.connectors.kafka.options import METADATA, KafkaOptions, Metadata, Policy
from millrace.connectors.kafka.values import ValueParser, parser_of
from millrace.connectors.log.arrays import ArrowArray, Flags, Ints, to_arrow_array, to_flags
from millrace.connectors.wire.arrow_types import to_arrow
from millrace.spec.types import Column


@dataclass(frozen=True)
class MessageTask:
    """Reads the ranges whose numbers it is given; picklable. `columns` are those of the values.

    Messages before `not_before_us` are late.

    Each message that came becomes a row or a dirty record, so rows and records together count what was really read.
    """

    fetch: Fetch
    ranges: tuple[Range, ...]
    options: KafkaOptions
    columns: tuple[Column, ...]
    gate: Gate
    not_before_us: int | None = None
    schema_file: bytes = b""

    def __call__(self, numbers: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        parser = parser_of(self.options, self.columns, self.schema_file)
        mine = (self.ranges[number.as_py()] for batch in numbers for number in batch.column(0))
        for waited_s, batch in timed(batch for wanted in mine for batch in self.fetch(wanted)):
            rows, dirty = self.decode(batch, parser)
            self.gate.admit(batch.num_rows, batch.nbytes)
            self.gate.done(rows.num_rows, batch.nbytes, dirty, waited_s)
            if rows.num_rows:
                yield rows

    def decode(self, batch: pa.RecordBatch, parser: ValueParser) -> tuple[pa.RecordBatch, Sequence[DirtyRow]]:
        """The typed rows of a batch in its order, and the messages to set aside."""
        values = batch.column(VALUE)
        refused: list[tuple[int, str]] = []
        empty = to_flags(values.is_null())
        late = self._late(batch)
        refused += [(int(row), self._late_reason()) for row in np.flatnonzero(late)]
        if self.options.tombstones is Policy.DIRTY:
            refused += [(int(row), "the message has no value (a tombstone)") for row in np.flatnonzero(empty & ~late)]
        asked = np.flatnonzero(~empty & ~late)
        parsed = parser.parse(values if len(asked) == len(values) else values.take(to_arrow_array(asked)))
        refused += [(int(asked[row]), reason) for row, reason in parsed.dirty]
        kept = np.ones(len(values), np.bool_)
        kept[[row for row, _ in refused]] = False
        rows = self._rows(batch, parsed.batch, empty, kept)
        return rows, [_dirty(batch, row, reason) for row, reason in sorted(refused)]

    def _late(self, batch: pa.RecordBatch) -> Flags:
        if self.not_before_us is None or self.options.late is Policy.KEEP:
            return np.zeros(batch.num_rows, np.bool_)
        times: Ints = np.asarray(batch.column(TIMESTAMP).cast(pa.int64()))
        return times < self.not_before_us

    def _late_reason(self) -> str:
        return "late: the message is older than the run's interval, whose end it came after"

    def _rows(self, batch: pa.RecordBatch, parsed: pa.RecordBatch, empty: Flags, kept: Flags) -> pa.RecordBatch:
        """The parsed rows, those of kept tombstones among them as nulls, with the columns of the metadata."""
        tombstones = empty[kept]
        columns = list(parsed.columns)
        if tombstones.any():
            places = to_arrow_array(np.cumsum(~tombstones) - 1, tombstones)
            columns = [column.take(places) for column in columns]
        names = [c.name for c in self.columns]
        keep = None if kept.all() else to_arrow_array(kept)
        for name in self.options.metadata:
            names.append(METADATA[name].name)
            columns.append(_metadata(batch, name, tombstones, keep))
        return pa.RecordBatch.from_arrays(columns, names)


def parts_of(options: KafkaOptions, by_time: bool) -> tuple[str, ...]:
    """What the task needs of each message besides its value and place."""
    made_here = (Metadata.TOMBSTONE, Metadata.PARTITION, Metadata.OFFSET)
    return (*([TIMESTAMP] if by_time else []), *(METADATA[n].name for n in options.metadata if n not in made_here))


def _metadata(batch: pa.RecordBatch, name: Metadata, tombstones: Flags, keep: ArrowArray | None) -> ArrowArray:
    if name is Metadata.TOMBSTONE:
        return to_arrow_array(tombstones)
    source = {Metadata.PARTITION: PARTITION, Metadata.OFFSET: OFFSET}.get(name, METADATA[name].name)
    column = batch.column(source)
    wanted = to_arrow(METADATA[name].type)
    column = column if keep is None else column.filter(keep)
    return column if name is Metadata.HEADERS else column.cast(wanted)


def _dirty(batch: pa.RecordBatch, row: int, reason: str) -> DirtyRow:
    raw = batch.column(VALUE)[row].as_py() or b""
    partition, offset = batch.column(PARTITION)[row].as_py(), batch.column(OFFSET)[row].as_py()
    return DirtyRow(reason, f"partition {partition}, offset {offset}", raw[:MAX_RAW_BYTES])
