"""Reading binary values of many messages side by side: one cursor a message, all moved forward together in numpy.

A message that ends too early, or holds what can't be, is marked bad; its cursor then stands at its end, and what is
read of it means nothing. Rows are given as rising indices of messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from millrace.connectors.log.arrays import ArrowArray, Bytes, Flags, Ints, pc, text_bounds, to_buffer
from millrace.connectors.log.lines import cut
from millrace.connectors.wire.arrow_types import to_arrow
from millrace.spec.types import DataType

if TYPE_CHECKING:
    from numpy.typing import NDArray

Words: TypeAlias = "NDArray[np.uint64]"

_VARINT_BYTES = 10
_DECIMAL_BYTES = 16
_PADDING = np.zeros(_DECIMAL_BYTES, np.uint8)


class Cursors:
    """Where each of some messages is read: `at`, up to `end`, in the bytes of all of them."""

    def __init__(self, data: Bytes, at: Ints, end: Ints) -> None:
        self.data = data
        self.at = at
        self.end = end
        self.bad = np.zeros(len(at), np.bool_)
        self.reasons: dict[int, str] = {}
        self.place = ""  # what is read now, for the reasons

    @classmethod
    def over(cls, values: ArrowArray, skip: int = 0) -> Cursors:
        """Cursors at the start of each value of a binary array, after `skip` bytes."""
        bounds, data = text_bounds(values)
        found = cls(np.concatenate((data, _PADDING)), bounds[:-1].copy(), bounds[1:].copy())
        if skip:
            rows = np.arange(len(values))
            found.place = "the envelope"
            found.move(rows, np.full(len(rows), skip, np.int64))
        return found

    def refuse(self, rows: Ints, reason: str = "") -> None:
        """Mark these messages bad; the first reason of each holds."""
        for row in rows[~self.bad[rows]]:
            self.reasons[int(row)] = reason or f"it ends in {self.place}"
        self.bad[rows] = True
        self.at[rows] = self.end[rows]

    def move(self, rows: Ints, lengths: Ints) -> Ints:
        """Step over so many bytes of each row. Where they began; a row that hasn't as many is bad, and stays."""
        starts = self.at[rows]
        short = (lengths < 0) | (lengths > self.end[rows] - starts)
        if short.any():
            self.refuse(rows[short])
            starts = self.at[rows]
            lengths = np.where(short, 0, lengths)
        self.at[rows] = starts + lengths
        return starts

    def varints(self, rows: Ints) -> Words:
        """The next base-128 number of each row."""
        at, end = self.at[rows], self.end[rows]
        values = np.zeros(len(rows), np.uint64)
        reading = np.ones(len(rows), np.bool_)
        for i in range(_VARINT_BYTES):
            inside = reading & (at < end)
            byte = self.data[np.where(inside, at, 0)]
            values |= np.where(inside, (byte & 0x7F).astype(np.uint64) << np.uint64(7 * i), np.uint64(0))
            at = at + inside
            cut_short = reading & ~inside
            if cut_short.any():
                self.refuse(rows[cut_short])
            reading = inside & (byte >= 0x80)
            if not reading.any():
                break
        if reading.any():
            self.refuse(rows[reading], f"a number of more than {_VARINT_BYTES} bytes in {self.place}")
        self.at[rows] = np.where(self.bad[rows], self.end[rows], at)
        return values

    def zigzags(self, rows: Ints) -> Ints:
        """The next number of each row, with its sign in the lowest bit."""
        return zigzag(self.varints(rows))

    def fixed(self, rows: Ints, type_: str) -> NDArray[np.generic]:
        """The next value of each row, of a numpy type such as `<f8`."""
        width = np.dtype(type_).itemsize
        return values_at(self.data, self.move(rows, np.full(len(rows), width, np.int64)), type_)

    def spans(self, rows: Ints, lengths: Ints) -> ArrowArray:
        """The next `lengths` bytes of each row, as a binary array."""
        starts = self.move(rows, lengths)
        return spans_at(self.data, starts, self.at[rows])


def zigzag(words: Words) -> Ints:
    return ((words >> np.uint64(1)) ^ (np.uint64(0) - (words & np.uint64(1)))).view(np.int64)


def values_at(data: Bytes, starts: Ints, type_: str) -> NDArray[np.generic]:
    width = np.dtype(type_).itemsize
    places = np.minimum(starts, len(data) - width)[:, None] + np.arange(width)
    return np.ascontiguousarray(data[places]).view(type_).reshape(-1)


def spans_at(data: Bytes, starts: Ints, ends: Ints) -> ArrowArray:
    """The bytes between rising places, as a binary array."""
    return cut(data, np.column_stack((starts, ends)), pa.binary())[0]


def decimals_of(values: ArrowArray, precision: int, scale: int) -> tuple[ArrowArray, Flags]:
    """Big-endian two's complement numbers as decimals, and which of them are too long or have too many digits."""
    bounds, data = text_bounds(values)
    starts, lengths = bounds[:-1], np.diff(bounds)
    bad = (lengths > _DECIMAL_BYTES) | (lengths == 0)
    padded = np.concatenate((data, _PADDING))
    places = bounds[1:, None] - 1 - np.arange(_DECIMAL_BYTES)
    inside = places >= starts[:, None]
    negative = (padded[np.minimum(starts, len(padded) - 1)] >= 0x80) & (lengths > 0)
    sign = np.where(negative, 0xFF, 0).astype(np.uint8)
    numbers = np.where(inside, padded[np.maximum(places, 0)], sign[:, None])
    numbers[bad] = 0
    wide = pa.decimal128(38, scale)
    found = pa.Array.from_buffers(wide, len(values), [None, to_buffer(np.ascontiguousarray(numbers))])
    most = pa.scalar(10**precision - 1, pa.decimal128(38, 0)).cast(pa.decimal128(38, 0))
    digits = pa.Array.from_buffers(pa.decimal128(38, 0), len(values), [None, found.buffers()[1]])
    over = np.asarray(pc.greater(pc.abs(digits), most).to_numpy(zero_copy_only=False), np.bool_)
    numbers[over] = 0
    fitting = pa.decimal128(precision, scale)
    return pa.Array.from_buffers(fitting, len(values), [None, to_buffer(np.ascontiguousarray(numbers))]), bad | over


def struct_of(columns: Sequence[ArrowArray], type_: DataType) -> ArrowArray:
    """Columns as the members of a struct."""
    members: Any = to_arrow(type_)
    return pa.StructArray.from_arrays(columns, fields=list(members))
