"""Rows of bytes put together from columns: the one primitive below every encoder.

Each row is the same sequence of pieces (a constant, an entry of a small table, a cell of a column). All distinct pieces
are laid out as one binary array, and a single Arrow `take` with interleaved indices copies them into one buffer, row
after row: about 10 ns a piece, with no Python object and no join per row. Offsets have 64 bits, so no 2 GiB limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Octets = npt.NDArray[np.uint8]

_EMPTY: pa.LargeBinaryArray = pa.array([b""], pa.large_binary())
_MAX_TABLE = 4096
_BLOCK_ROWS = 1024


@dataclass(frozen=True)
class Cells:
    """One binary cell a row. `values` has no validity of its own: a row is null where `present` is False.

    Cell i is element `step * i` of `values`, so that cells may lie in padded storage.
    """

    values: pa.LargeBinaryArray
    present: Mask | None = None
    step: int = 1

    def __len__(self) -> int:
        return len(self.values) // self.step

    @cached_property
    def offsets(self) -> Integers:
        return offsets_of(self.values)

    @cached_property
    def lengths(self) -> Integers:
        """Bytes of each cell; 0 for a null."""
        found: Integers = np.diff(self.offsets)[:: self.step]
        return found if self.present is None else found * self.present

    def compact(self) -> pa.LargeBinaryArray:
        """The cells one after the other, nothing where one is null. Copies only if something is left out."""
        if self.step == 1 and self.present is None:
            return self.values
        builder = RowBuilder(len(self))
        builder.cells(self)
        return builder.build()

    def array(self) -> pa.LargeBinaryArray:
        """The cells as an Arrow array with nulls."""
        found = self.compact()
        return found if self.present is None else from_offsets(offsets_of(found), found.buffers()[2], self.present)

    def data(self) -> Octets:
        """The bytes of all cells that are stored together, those below nulls included."""
        return np.frombuffer(view(self.values.buffers()[2]), np.uint8)[self.offsets[0] : self.offsets[-1]]


@dataclass(frozen=True)
class _Evenly:
    """Row i of a piece is element `first + i * step` of the sources."""

    first: int
    step: int

    def index(self, rows: int) -> Integers:
        return np.arange(self.first, self.first + rows * self.step, self.step, dtype=np.int64)


class RowBuilder:
    """Collects the pieces of `rows` rows from left to right, then builds them all at once.

    `present` (where given) leaves a piece out of the rows where it is False.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._sources: list[pa.LargeBinaryArray] = [_EMPTY]
        self._bases: dict[int, int] = {}
        self._size = 1
        self._pieces: list[_Evenly | Integers] = []
        self._pending = b""

    def constant(self, data: bytes, present: Mask | None = None) -> None:
        """The same bytes in every row. Neighbouring constants become one piece."""
        if present is None:
            self._pending += data
            return
        self._flush()
        self._pieces.append(np.where(present, self._add(_array([data])), 0))

    def table(self, entries: pa.LargeBinaryArray, codes: Integers, present: Mask | None = None) -> None:
        """Row i gets `entries[codes[i]]`."""
        self._flush()
        index = codes + self._add(entries)
        self._pieces.append(index if present is None else np.where(present, index, 0))

    def choice(self, present: Mask | None, where_true: bytes, where_false: bytes) -> None:
        """`where_true` in the rows where `present`, else `where_false`; `present` None means everywhere."""
        if present is None:
            self.constant(where_true)
        else:
            self.table(_array([where_false, where_true]), present.astype(np.int64))

    def cells(self, cells: Cells, present: Mask | None = None) -> None:
        """Row i gets cell i, and nothing where that is null."""
        self._flush()
        piece = _Evenly(self._add(cells.values), cells.step)
        shown = both(cells.present, present)
        self._pieces.append(piece if shown is None else np.where(shown, piece.index(self._rows), 0))

    def head(self, head: Callable[[int], bytes], numbers: Integers, present: Mask | None = None) -> None:
        """Row i gets `head(numbers[i])`, which is called once for each distinct number (≥ 0), and cached when small.

        `head` must be hashable by value (a frozen dataclass), so that its table is built once for all batches.
        """
        if not self._rows:
            return
        highest = int(numbers.max())
        if highest < _MAX_TABLE:
            self.table(_head_table(head, max(64, 1 << highest.bit_length())), numbers, present)
            return
        distinct, codes = np.unique(numbers, return_inverse=True)
        self.table(_array([head(number) for number in distinct.tolist()]), codes, present)

    def build(self) -> pa.LargeBinaryArray:
        """One element a row, none of them null; the bytes of all rows stand in `buffers()[2]` without gaps."""
        self._flush()
        width = len(self._pieces)
        if not width or not self._rows:
            return from_offsets(np.zeros(self._rows + 1, np.int64), buffer_of(b""))
        source = pa.concat_arrays(self._sources)
        index: Any = pa.array(self._index(width).reshape(-1))
        taken = pc.take(source, index, boundscheck=False)
        return from_offsets(np.ascontiguousarray(offsets_of(taken)[::width]), taken.buffers()[2])

    def _index(self, width: int) -> npt.NDArray[np.int32] | Integers:
        """The pieces as indices into the sources, row by row; filled in blocks that stay in the processor's cache."""
        dtype = np.int32 if self._size <= np.iinfo(np.int32).max else np.int64
        index = np.empty((self._rows, width), dtype)
        evenly = [piece if isinstance(piece, _Evenly) else _Evenly(0, 0) for piece in self._pieces]
        steps = np.tile(np.array([piece.step for piece in evenly], dtype), (min(self._rows, _BLOCK_ROWS), 1))
        first = np.cumsum(steps, axis=0, dtype=dtype) - steps + np.array([piece.first for piece in evenly], dtype)
        others = [(place, piece) for place, piece in enumerate(self._pieces) if not isinstance(piece, _Evenly)]
        for start in range(0, self._rows, _BLOCK_ROWS):
            block = index[start : start + _BLOCK_ROWS]
            np.multiply(steps[: len(block)], dtype(start), out=block)
            block += first[: len(block)]
            for place, piece in others:
                block[:, place] = piece[start : start + len(block)]
        return index

    def _flush(self) -> None:
        if self._pending:
            self._pieces.append(_Evenly(self._add(_array([self._pending])), 0))
            self._pending = b""

    def _add(self, source: pa.LargeBinaryArray) -> int:
        """Put an array among the sources, once; the index of its first element."""
        base = self._bases.get(id(source))
        if base is None:
            base = self._bases[id(source)] = self._size
            self._sources.append(source)
            self._size += len(source)
        return base


def both(first: Mask | None, second: Mask | None) -> Mask | None:
    """Where both hold; None means everywhere."""
    if first is None or second is None:
        return second if first is None else first
    return first & second


def offsets_of(values: pa.LargeBinaryArray) -> Integers:
    """The n + 1 offsets of an array, its slice taken into account."""
    buffer = values.buffers()[1]
    if buffer is None or buffer.size == 0:
        return np.zeros(1, np.int64)
    return np.frombuffer(view(buffer), np.int64, len(values) + 1, values.offset * 8)


def from_offsets(offsets: Integers, data: pa.Buffer | None, present: Mask | None = None) -> pa.LargeBinaryArray:
    """A binary array over `data`, without copying it; null where `present` is False."""
    validity = None if present is None else pa.array(present).buffers()[1]
    buffers = [validity, buffer_of(offsets), data if data is not None else buffer_of(b"")]
    found: Any = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)
    return cast(pa.LargeBinaryArray, found)


def buffer_of(data: npt.NDArray[Any] | bytes) -> pa.Buffer:
    """The memory of an array as a buffer, shared."""
    memory: Any = data
    return pa.py_buffer(memory)


def view(buffer: pa.Buffer | None) -> memoryview:
    """The memory of a buffer, shared, as unsigned bytes: Arrow's own view is signed and differs from equal `bytes`."""
    return memoryview(buffer if buffer is not None else b"").cast("B").toreadonly()


def from_matrix(matrix: Octets, lengths: Integers | None = None, present: Mask | None = None) -> Cells:
    """Cells whose bytes are the first `lengths[i]` of row i of a C-ordered byte matrix (all of them, if None)."""
    rows, width = matrix.shape
    data = buffer_of(matrix.reshape(-1))
    starts = np.arange(0, rows * width + 1, max(width, 1), dtype=np.int64) if width else np.zeros(rows + 1, np.int64)
    if lengths is None:
        return Cells(from_offsets(starts, data), present)
    offsets = np.empty(2 * rows + 1, np.int64)
    offsets[0::2] = starts
    offsets[1::2] = starts[:-1] + lengths
    return Cells(from_offsets(offsets, data), present, step=2)


def grouped(elements: pa.LargeBinaryArray, offsets: Integers, present: Mask | None = None) -> Cells:
    """Cell i is elements `offsets[i]` to `offsets[i + 1]`, one after the other. Copies no bytes."""
    return Cells(from_offsets(np.ascontiguousarray(offsets_of(elements)[offsets]), elements.buffers()[2]), present)


@lru_cache(maxsize=512)
def _head_table(head: Callable[[int], bytes], size: int) -> pa.LargeBinaryArray:
    return _array([head(number) for number in range(size)])


def _array(entries: Sequence[bytes]) -> pa.LargeBinaryArray:
    return pa.array(entries, pa.large_binary())
