"""The writing half of `layout`: Arrow batches as the commands that store their rows. By column; needs pyarrow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from millrace.connectors.base import DirtyRow
from millrace.connectors.redis.collections import COMMANDS, encode_members
from millrace.connectors.redis.layout import Manifest
from millrace.connectors.redis.options import ValueLayout
from millrace.connectors.redis.slots import slots_of
from millrace.connectors.wire import json as json_wire
from millrace.connectors.wire import msgpack, protobuf, resp, text
from millrace.connectors.wire.compression import compress
from millrace.connectors.wire.dirty import dirty_row
from millrace.connectors.wire.rows import offsets_of

if TYPE_CHECKING:
    from millrace.connectors.redis.slots import Slots

_pc: Any = pyarrow.compute  # whose stubs know only some of the functions
MAX_VALUE_BYTES = 512 << 20  # Redis takes no longer string
#: One MSET stores this many rows: half of the server's work for them one by one, and others still get their turn.
ROWS_PER_MSET = 16

_ENCODERS = {
    ValueLayout.PROTOBUF: protobuf.encode,
    ValueLayout.JSON: json_wire.encode,
    ValueLayout.MSGPACK: msgpack.encode,
}
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Some rows of a batch as commands: `commands[i]` stores row `index[i]` of `batch` under `keys[i]`.

    With `rows_per_command`, each `commands[i]` is a part of a command that stores so many rows.
    """

    manifest: Manifest
    batch: pa.RecordBatch
    index: Indices
    keys: pa.LargeBinaryArray
    commands: pa.LargeBinaryArray
    replies_per_row: int
    rows_per_command: int = 1

    def __len__(self) -> int:
        return len(self.index)

    @property
    def replies(self) -> int:
        """How many replies the commands bring."""
        return -(-len(self) // self.rows_per_command) * self.replies_per_row

    def answered_by(self, reply: int) -> range:
        """The positions of the rows that the reply with this index (from 0) is about."""
        first = reply // self.replies_per_row * self.rows_per_command
        return range(first, min(first + self.rows_per_command, len(self)))

    @property
    def data(self) -> memoryview:
        """The commands, one after the other."""
        return memoryview(self.commands.buffers()[2] or b"")

    @property
    def size(self) -> int:
        return len(self.data)

    def slots(self) -> Slots:
        return slots_of(self.keys, self.manifest.prefix.encode())

    def size_of(self, positions: Indices) -> int:
        return int(np.diff(offsets_of(self.commands))[positions].sum())

    def alone(self, positions: Indices) -> Rows:
        """Some of the rows, each with a command of its own."""
        rows, _ = encode_rows(self.manifest, self.batch.take(pa.array(self.index[positions], pa.int64())))
        return rows

    def take(self, positions: Indices) -> Rows:
        """Some of the rows, where each has a command of its own."""
        chosen = pa.array(positions, pa.int64())
        return Rows(
            self.manifest,
            self.batch,
            self.index[positions],
            self.keys.take(chosen),
            self.commands.take(chosen),
            self.replies_per_row,
        )

    def dirty(self, position: int, reason: str) -> DirtyRow:
        return dirty_row(self.batch, int(self.index[position]), reason, self.manifest.key.columns)


def pieces(batch: pa.RecordBatch, size: int) -> Iterator[pa.RecordBatch]:
    """The batch in parts of about `size` bytes, of one row at least."""
    rows = max(1, batch.num_rows // max(1, math.ceil(batch.nbytes / size)))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def encode_keys(manifest: Manifest, batch: pa.RecordBatch) -> tuple[pa.LargeBinaryArray, Mapping[int, str]]:
    """The whole key of each row; null, with the reason, where it has none."""
    found = manifest.whole_key.render(batch, manifest.types)
    return found.values, found.refused


def encode_rows(
    manifest: Manifest, batch: pa.RecordBatch, max_value: int = MAX_VALUE_BYTES, *, together: bool = False
) -> tuple[Rows, list[DirtyRow]]:
    """The rows as commands, and those that can't be stored, with the reason. `together`: several rows by a command,
    where there is one for that.

    A key that is null in part, a value that the encoding can't hold, or one of more than `max_value` bytes.
    """
    keys, refused = encode_keys(manifest, batch)
    values, bad, counts = _encode_values(manifest, batch)
    reasons = {**_too_long(values, max_value), **bad, **refused}
    index = np.arange(batch.num_rows)
    if reasons:
        index = np.delete(index, list(reasons))
        kept = pa.array(index, pa.int64())
        keys, values, counts = keys.take(kept), [column.take(kept) for column in values], counts[index]
    if together and manifest.ttl_ms is None and manifest.value in _ENCODERS:
        commands = resp.mset_commands(keys, values[0], ROWS_PER_MSET)
        rows = Rows(manifest, batch, index, keys, commands.rows, 1, ROWS_PER_MSET)
    else:
        commands = _commands(manifest, keys, values, counts)
        rows = Rows(manifest, batch, index, keys, commands.rows, commands.replies_per_row)
    return rows, [dirty_row(batch, row, reasons[row], manifest.key.columns) for row in sorted(reasons)]


def encode_deletes(manifest: Manifest, batch: pa.RecordBatch) -> tuple[Rows, list[DirtyRow]]:
    """The commands that take the rows' keys away, and the rows without a key."""
    keys, refused = encode_keys(manifest, batch)
    index = np.delete(np.arange(batch.num_rows), list(refused))
    keys = keys.take(pa.array(index, pa.int64()))
    commands = resp.commands([b"UNLINK", keys])
    rows = Rows(manifest, batch, index, keys, commands.rows, commands.replies_per_row)
    return rows, [dirty_row(batch, row, refused[row], manifest.key.columns) for row in sorted(refused)]


def split_deletes(batch: pa.RecordBatch, column: str) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """The rows that stay, and those whose keys go away, both without the column that tells. Null: stays."""
    goes: Any = _pc.fill_null(batch.column(column), False)
    rest = batch.drop_columns([column])
    return rest.filter(_pc.invert(goes)), rest.filter(goes)


def _encode_values(
    manifest: Manifest, batch: pa.RecordBatch
) -> tuple[list[pa.LargeBinaryArray], Mapping[int, str], Indices]:
    """What is stored of each row, the rows that can't be, and for collections the number of arguments."""
    no_counts = np.zeros(batch.num_rows, np.int64)
    if manifest.value.collection:
        members = encode_members(manifest, batch)
        return [members.arguments], members.refused, members.counts
    if manifest.value is ValueLayout.HASH:
        texts = text.encode(batch, manifest.fields)
        return list(texts.columns), texts.refused, no_counts
    encoded = _ENCODERS[manifest.value](batch, manifest.fields)
    return [compress(encoded.values, manifest.compression)], encoded.refused, no_counts


def _commands(
    manifest: Manifest, keys: pa.LargeBinaryArray, values: Sequence[pa.LargeBinaryArray], counts: Indices
) -> resp.Commands:
    if manifest.value.collection:
        return resp.fill_commands(COMMANDS[manifest.value], keys, values[0], counts, manifest.ttl_ms)
    if manifest.value is ValueLayout.HASH:
        names = [field.name for field in manifest.fields]
        return resp.hset_commands(keys, names, values, manifest.ttl_ms, clear=True)
    return resp.set_commands(keys, values[0], manifest.ttl_ms)


def _too_long(columns: Iterable[pa.LargeBinaryArray], limit: int) -> dict[int, str]:
    found = {}
    for column in columns:
        lengths = np.diff(offsets_of(column))
        for row in np.flatnonzero(lengths > limit).tolist():
            found[row] = f"the value has {int(lengths[row]):,} bytes, and Redis holds at most {limit:,}"
    return found
