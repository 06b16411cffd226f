"""The cells of HFiles by column: rows of one family as HBase stores them, one after the other.

What is as long in every row of a stretch lies at the same places of all of them: the lengths and constants of cells,
and keys and values of one length, are filled into a matrix, column by column. Cells that differ in length part it in
two, and one Arrow join puts the parts together; where there are none, the matrix is what HBase reads. Big-endian; see
the class KeyValue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millrace.connectors.wire.rows import (
    Cells,
    Integers,
    Mask,
    Octets,
    from_matrix,
    from_offsets,
    offsets_of,
    view,
)

_PUT = b"\4"
_MEMSTORE_TIMESTAMP = b"\0"
_AROUND_KEY = 4 + 4 + 2 + 1  # bytes: the lengths of a cell's key, value and row key, and its memstore timestamp
_NOTHING: Any = pa.scalar(b"", pa.large_binary())


@dataclass(frozen=True)
class Column:
    """A column's cells, with the qualifier under which they stand."""

    qualifier: bytes
    cells: Cells


class FamilyRows:
    """Rows of one family, sorted by key: a cell for each column, nothing for a null.

    `marker`: rows that get a cell with an empty qualifier and an empty value. Columns may come in any order.
    `offsets[i]`: the bytes of all rows before row i. `cells`, `value_bytes`: of all rows.
    """

    def __init__(
        self,
        keys: pa.LargeBinaryArray,
        family: bytes,
        columns: Sequence[Column],
        stamp_ms: int,
        marker: Mask | None = None,
    ) -> None:
        self.keys = keys
        self._key = _Stretch.of(Cells(keys))
        found = [Column(b"", _nothing(marker))] if marker is not None and marker.any() else []
        found += sorted(columns, key=lambda column: column.qualifier)
        start, end = bytes([len(family)]) + family, stamp_ms.to_bytes(8, "big") + _PUT
        self._columns = [(start + column.qualifier + end, _Stretch.of(column.cells)) for column in found]
        self.cells = self.value_bytes = 0
        sizes = np.zeros(len(keys), np.int64)
        for tail, values in self._columns:
            sizes += values.lengths
            whole = self._key.lengths + (_AROUND_KEY + len(tail))
            sizes += whole if values.present is None else whole * values.present
            self.cells += len(keys) if values.present is None else int(values.present.sum())
            self.value_bytes += int(values.lengths.sum())
        self.offsets = np.zeros(len(keys) + 1, np.int64)
        np.cumsum(sizes, out=self.offsets[1:])

    def filled(self) -> pa.LargeBinaryArray:
        """The keys of the rows that have a cell."""
        shown = np.diff(self.offsets) > 0
        return self.keys if shown.all() else self.keys.take(pa.array(np.flatnonzero(shown), pa.int64()))

    def encode(self, first: int, end: int) -> memoryview:
        """The cells of rows `[first, end)`, which have one at least."""
        layout = _Layout(end - first)
        key = self._key.part(first, end)
        for tail, values in self._columns:
            value = values.part(first, end)
            if value.present is None or value.present.any():
                layout.cell(key, tail, value)
        return layout.build()


def _nothing(where: Mask) -> Cells:
    return Cells(from_offsets(np.zeros(len(where) + 1, np.int64), None), where)


@dataclass(frozen=True)
class _Stretch:
    """Cells one after the other, of some rows; as `rows.Cells`, cut without Arrow's own slices."""

    offsets: Integers
    lengths: Integers
    data: pa.Buffer | None
    present: Mask | None

    @classmethod
    def of(cls, cells: Cells) -> _Stretch:
        values = cells.values if cells.step == 1 else cells.compact()
        return cls(offsets_of(values), cells.lengths, values.buffers()[2], cells.present)

    def part(self, first: int, end: int) -> _Stretch:
        present = None if self.present is None else self.present[first:end]
        shown = None if present is None or present.all() else present
        return _Stretch(self.offsets[first : end + 1], self.lengths[first:end], self.data, shown)

    @property
    def size(self) -> int | None:
        """The bytes of each cell; None when one is null, or not as long as the others."""
        size = self.lengths[0]
        return None if self.present is not None or (self.lengths != size).any() else int(size)

    def elements(self, size: int) -> npt.NDArray[np.void]:
        return np.ndarray(self.lengths.shape, f"V{size}", view(self.data), int(self.offsets[0]))

    def array(self, present: Mask | None) -> pa.LargeBinaryArray:
        return from_offsets(self.offsets, self.data, present)


class _Layout:
    """Collects what rows consist of from left to right, then builds all of them at once."""

    def __init__(self, rows: int) -> None:
        self._matrix = _Matrix(rows)
        self._parts: list[pa.LargeBinaryArray] = []

    def cell(self, key: _Stretch, tail: bytes, value: _Stretch) -> None:
        """A cell of each row where the value is present. `tail`: of the cell's key, what stands behind the row key."""
        present, key_size, value_size = value.present, key.size, value.size
        if present is not None:
            self._end_part(None)
        self._matrix.number(">i4", (key.lengths if key_size is None else key_size) + (2 + len(tail)))
        self._matrix.number(">i4", value.lengths if value_size is None else value_size)
        self._matrix.number(">i2", key.lengths if key_size is None else key_size)
        self._cells(key, key_size, present)
        self._matrix.constant(tail)
        self._cells(value, value_size, present)
        self._matrix.constant(_MEMSTORE_TIMESTAMP)
        if present is not None:
            self._end_part(present)

    def build(self) -> memoryview:
        if not self._parts:
            return self._matrix.fill().reshape(-1).data
        self._end_part(None)
        join: Any = pc.binary_join_element_wise
        joined = join(*self._parts, _NOTHING, null_handling="replace", null_replacement=b"")
        return view(joined.buffers()[2])[: offsets_of(joined)[-1]]

    def _cells(self, cells: _Stretch, size: int | None, present: Mask | None) -> None:
        if size is not None:
            self._matrix.column(cells.elements(size))
        else:
            self._end_part(present)
            self._parts.append(cells.array(present))

    def _end_part(self, present: Mask | None) -> None:
        """What comes next stands in a part of its own."""
        if self._matrix.width:
            self._parts.append(from_matrix(self._matrix.fill(), present=present).array())
            self._matrix = _Matrix(self._matrix.rows)


class _Matrix:
    """Rows of the same length, by what stands at their places."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._template = bytearray()
        self._fields: list[tuple[int, npt.NDArray[Any], npt.DTypeLike]] = []

    @property
    def width(self) -> int:
        return len(self._template)

    def constant(self, data: bytes) -> None:
        self._template += data

    def number(self, kind: str, number: int | Integers) -> None:
        if isinstance(number, int):
            self.constant(number.to_bytes(np.dtype(kind).itemsize, "big"))
        else:
            self.column(number, kind)

    def column(self, values: npt.NDArray[Any], kind: str | None = None) -> None:
        """`kind`: as what the values are stored, their own type if None."""
        dtype = values.dtype if kind is None else np.dtype(kind)
        if dtype.itemsize:
            self._fields.append((self.width, values, dtype))
            self._template += bytes(dtype.itemsize)

    def fill(self) -> Octets:
        matrix = np.empty((self.rows, self.width), np.uint8)
        matrix.view(f"V{self.width}")[:] = np.frombuffer(self._template, f"V{self.width}")
        for at, values, dtype in self._fields:
            np.ndarray((self.rows,), dtype, matrix.data, at, (self.width,))[:] = values
        return matrix
