"""Redis commands from Arrow columns (RESP2, https://redis.io/docs/latest/develop/reference/protocol-spec/).

A command is `*<arguments>\\r\\n`, then for each argument `$<bytes>\\r\\n<argument>\\r\\n`. Columns may be binary or
string arrays of any width, chunked, dictionary-encoded or sliced. Values may have any size, and a total over 2 GiB is
fine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from millrace.connectors.wire.columns import Column, binary_cells
from millrace.connectors.wire.rows import Cells, Integers, RowBuilder, offsets_of, view

EMPTY_HASH_FIELD = b""


@dataclass(frozen=True)
class Commands:
    """Encoded commands. `rows[i]` is what row i sends, and is answered by `replies_per_row` replies.

    Where one command serves several rows, `replies_per_row` is 0 and only `replies`, their total, is known.
    """

    rows: pa.LargeBinaryArray
    replies: int
    replies_per_row: int

    @property
    def data(self) -> memoryview:
        """All commands, one after the other. The memory is shared, not copied."""
        offsets = offsets_of(self.rows)
        return view(self.rows.buffers()[2])[offsets[0] : offsets[-1]]

    def row_of(self, reply: int) -> int:
        """The row that the reply with this index (from 0) answers. Raises ValueError for commands over several rows."""
        if not self.replies_per_row:
            raise ValueError("a reply to a command over several rows belongs to no single row")
        return reply // self.replies_per_row


def commands(arguments: Sequence[bytes | Column]) -> Commands:
    """One command a row, from constants and columns: `commands([b"SET", keys, values])`.

    Raises ValueError for a column with nulls, for columns of different lengths and when there is no column.
    """
    cells = [argument if isinstance(argument, bytes) else binary_cells(argument) for argument in arguments]
    rows = _row_count([cell for cell in cells if isinstance(cell, Cells)])
    builder = RowBuilder(rows)
    builder.constant(b"*%d" % len(cells))
    for cell in cells:
        if isinstance(cell, bytes):
            builder.constant(b"\r\n$%d\r\n%s" % (len(cell), cell))
        else:
            _no_nulls(cell)
            builder.head(_BulkHead(b"\r\n"), cell.lengths)
            builder.cells(cell)
    builder.constant(b"\r\n")
    return Commands(builder.build(), rows, 1)


def set_commands(keys: Column, values: Column, ttl_ms: int | None = None) -> Commands:
    """`SET key value [PX ttl_ms]` for each row. Raises ValueError for nulls or a TTL below 1 ms."""
    return commands([b"SET", keys, values, *_expiry(b"PX", ttl_ms)])


def mset_commands(keys: Column, values: Column, per_command: int) -> Commands:
    """`MSET key value …`, with up to `per_command` rows each.

    On a cluster all keys of a command must share a slot. Raises ValueError for nulls, or fewer than one per command.
    """
    key, value = binary_cells(keys), binary_cells(values)
    rows = _row_count([key, value])
    _no_nulls(key)
    _no_nulls(value)
    builder = RowBuilder(rows)
    _shared_head(builder, b"MSET", rows, per_command, arguments=2)
    builder.head(_BulkHead(b""), key.lengths)
    builder.cells(key)
    builder.head(_BulkHead(b"\r\n"), value.lengths)
    builder.cells(value)
    builder.constant(b"\r\n")
    return Commands(builder.build(), -(-rows // per_command), 1 if per_command == 1 else 0)


def hset_commands(
    keys: Column,
    names: Sequence[bytes | str],
    columns: Sequence[Column],
    ttl_ms: int | None = None,
    *,
    clear: bool = False,
) -> Commands:
    """`HSET key name cell …` for each row, without the fields whose cell is null; then `PEXPIRE` when there is a TTL.

    A row with nothing but nulls gets one field with an empty name and value, `EMPTY_HASH_FIELD`, so that it exists.
    With `clear`, an `UNLINK` goes first, so that no field of an earlier row under the same key stays.
    """
    key = binary_cells(keys)
    cells = [binary_cells(column) for column in columns]
    rows = _row_count([key, *cells])
    _no_nulls(key)
    builder = RowBuilder(rows)
    if clear:
        _key_command(builder, b"UNLINK", key)
    _hset(builder, key, [name.encode() if isinstance(name, str) else name for name in names], cells)
    if ttl_ms is not None:
        _key_command(builder, b"PEXPIRE", key, _expiry(b"", ttl_ms)[1:])
    replies_per_row = 1 + clear + (ttl_ms is not None)
    return Commands(builder.build(), rows * replies_per_row, replies_per_row)


def arguments(columns: Sequence[Column]) -> pa.LargeBinaryArray:
    """The cells of each row as arguments of a command that is put together elsewhere."""
    cells = [binary_cells(column) for column in columns]
    builder = RowBuilder(_row_count(cells))
    for cell in cells:
        builder.head(_BulkHead(b"\r\n"), cell.lengths)
        builder.cells(cell)
    return builder.build()


def fill_commands(
    name: bytes, keys: Column, arguments: pa.LargeBinaryArray, counts: Integers, ttl_ms: int | None = None
) -> Commands:
    """`UNLINK key`, then `NAME key …` with the row's `counts[i]` arguments; then `PEXPIRE` when there is a TTL."""
    key = binary_cells(keys)
    _no_nulls(key)
    builder = RowBuilder(len(key))
    _key_command(builder, b"UNLINK", key)
    builder.head(_NamedHead(name), counts)
    builder.head(_BulkHead(b"\r\n"), key.lengths)
    builder.cells(key)
    builder.cells(Cells(arguments))
    builder.constant(b"\r\n")
    if ttl_ms is not None:
        _key_command(builder, b"PEXPIRE", key, _expiry(b"", ttl_ms)[1:])
    replies_per_row = 2 + (ttl_ms is not None)
    return Commands(builder.build(), len(key) * replies_per_row, replies_per_row)


def many_keys(name: str, keys: Column, per_command: int = 512) -> Commands:
    """`NAME key …`, such as EXISTS or UNLINK, with up to `per_command` keys each.

    On a cluster all keys of a command must share a slot. Raises ValueError for nulls, or fewer than one per command.
    """
    key = binary_cells(keys)
    _no_nulls(key)
    rows = len(key)
    builder = RowBuilder(rows)
    _shared_head(builder, name.encode(), rows, per_command, arguments=1)
    builder.head(_BulkHead(b""), key.lengths)
    builder.cells(key)
    builder.constant(b"\r\n")
    return Commands(builder.build(), -(-rows // per_command), 1 if per_command == 1 else 0)


@dataclass(frozen=True)
class _BulkHead:
    prefix: bytes

    def __call__(self, size: int) -> bytes:
        return b"%s$%d\r\n" % (self.prefix, size)


@dataclass(frozen=True)
class _NamedHead:
    name: bytes

    def __call__(self, arguments: int) -> bytes:
        return b"*%d\r\n$%d\r\n%s" % (2 + arguments, len(self.name), self.name)


@dataclass(frozen=True)
class _HsetHead:
    def __call__(self, fields: int) -> bytes:
        return b"*%d\r\n$4\r\nHSET" % (2 + 2 * fields)


def _shared_head(builder: RowBuilder, name: bytes, rows: int, per_command: int, arguments: int) -> None:
    """The beginning of a command for every `per_command` rows, of which each gives so many arguments."""
    if per_command < 1:
        raise ValueError(f"per_command is {per_command}, expected at least 1")
    index, rest = np.arange(rows), rows % per_command
    starts = index % per_command == 0
    full = starts & (index < rows - rest)
    for served, where in ((per_command, full), (rest, starts & ~full)):
        builder.constant(b"*%d\r\n$%d\r\n%s\r\n" % (1 + arguments * served, len(name), name), where)


def _hset(builder: RowBuilder, key: Cells, names: Sequence[bytes], cells: Sequence[Cells]) -> None:
    filled = np.zeros(len(key), np.int64)
    for cell in cells:
        filled += 1 if cell.present is None else cell.present
    lone = filled == 0
    builder.head(_HsetHead(), np.maximum(filled, 1))
    builder.head(_BulkHead(b"\r\n"), key.lengths)
    builder.cells(key)
    for name, cell in zip(names, cells, strict=True):
        builder.head(_BulkHead(b"\r\n$%d\r\n%s\r\n" % (len(name), name)), cell.lengths, cell.present)
        builder.cells(cell)
    if lone.any():
        builder.constant(b"\r\n$%d\r\n%s\r\n$0\r\n" % (len(EMPTY_HASH_FIELD), EMPTY_HASH_FIELD), lone)
    builder.constant(b"\r\n")


def _key_command(builder: RowBuilder, name: bytes, key: Cells, more: Sequence[bytes] = ()) -> None:
    builder.constant(b"*%d\r\n$%d\r\n%s" % (2 + len(more), len(name), name))
    builder.head(_BulkHead(b"\r\n"), key.lengths)
    builder.cells(key)
    builder.constant(b"".join(b"\r\n$%d\r\n%s" % (len(argument), argument) for argument in more) + b"\r\n")


def _expiry(word: bytes, ttl_ms: int | None) -> list[bytes]:
    if ttl_ms is None:
        return []
    if ttl_ms < 1:
        raise ValueError(f"a TTL of {ttl_ms} ms would delete what is written, expected at least 1 ms")
    return [word, b"%d" % ttl_ms]


def _row_count(cells: Sequence[Cells]) -> int:
    lengths = {len(cell) for cell in cells}
    if len(lengths) != 1:
        raise ValueError(f"the columns of a command have {sorted(lengths)} rows, expected one number of rows")
    return lengths.pop()


def _no_nulls(cells: Cells) -> None:
    if cells.present is not None and not cells.present.all():
        row = int(np.argmin(cells.present))
        raise ValueError(f"row {row} is null, and a null can't be an argument of a command: set such rows aside first")
