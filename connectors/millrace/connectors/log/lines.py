"""Blocks of bytes to lines, without a loop over them: where each line starts, and where it stands in its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from millrace.connectors.base import MAX_RAW_BYTES, DirtyRow
from millrace.connectors.log.arrays import ArrowArray, Bytes, Ints, pc, text_bounds, to_arrow_array, to_buffer

_NEWLINE, _RETURN = 10, 13
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Place:
    """Where a block of lines stands. `line` is the number of its first line (from 1), or None when it isn't known.

    With a `split_start` above 0, `offset` and `line` count from the first line of the split that starts at that byte:
    where exactly that line is isn't known (Hadoop file systems).
    """

    path: str
    offset: int
    line: int | None
    split_start: int | None = None


def origin(place: Place, size: int = 0, lines: int = 0) -> str:
    """Where a line stands that comes so many bytes and lines after a place: exact, and saying what it is."""
    if place.split_start:
        return f"{place.path}, line {(place.line or 1) + lines} of the split at byte {place.split_start}"
    line = f" (line {place.line + lines})" if place.line is not None else ""
    return f"{place.path}, byte {place.offset + size}{line}"


@dataclass(frozen=True)
class RawLines:
    """The lines of a block that aren't blank, without their ends, and the lines that were refused already.

    `offsets` are bytes from the start of the file (of the text, when the file is compressed); `numbers` count all lines
    from the block's first, blank ones too. `size` and `count` are the whole block's bytes and lines.
    """

    place: Place
    data: ArrowArray  # binary
    offsets: Ints
    numbers: Ints
    size: int
    count: int
    dirty: Sequence[DirtyRow] = field(default=())

    @property
    def after(self) -> Place:
        """Where the next block stands."""
        place = self.place
        line = place.line + self.count if place.line is not None else None
        return replace(place, offset=place.offset + self.size, line=line)

    def origin(self, row: int) -> str:
        """Where a line stands."""
        return origin(self.place, int(self.offsets[row]) - self.place.offset, int(self.numbers[row]))

    def refuse(self, row: int, reason: str) -> DirtyRow:
        return DirtyRow(reason, self.origin(row), self.data[row].as_py()[:MAX_RAW_BYTES])

    def head(self, count: int) -> RawLines:
        """Only the first lines."""
        return self.keep(np.arange(min(count, len(self.data))), ())

    def keep(self, rows: Ints, dirty: Sequence[DirtyRow]) -> RawLines:
        """Only these rows; `dirty` is added to what was refused."""
        return replace(
            self,
            data=self.data.take(to_arrow_array(rows)),
            offsets=self.offsets[rows],
            numbers=self.numbers[rows],
            dirty=(*self.dirty, *dirty),
        )


def split_lines(block: bytes, place: Place) -> RawLines:
    """The lines of a block that starts at a line's start. The last one may lack its newline; CRLF ends lines too."""
    bytes_ = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(bytes_ == _NEWLINE)
    if len(block) and (not len(ends) or ends[-1] != len(block) - 1):
        ends = np.append(ends, len(block))
    starts = np.zeros(len(ends), np.int64)
    starts[1:] = ends[:-1] + 1
    return _lines_between(bytes_, starts, ends, starts, place, len(block))


def lines_of_rows(rows: ArrowArray, place: Place) -> RawLines:
    """The lines of a binary array that holds one, without its newline, in each row."""
    bounds, data = text_bounds(rows)
    places = bounds[:-1] - bounds[0] + np.arange(len(rows))
    size = int(bounds[-1] - bounds[0]) + len(rows)
    return _lines_between(data, bounds[:-1], bounds[1:], places, place, size)


def long_line(place: Place, head: bytes, length: int, max_line_bytes: int) -> RawLines:
    """One line that was too long to hold: dirty, with its first bytes."""
    nothing: Ints = np.zeros(0, np.int64)
    dirty = DirtyRow(_long_line_reason(length, max_line_bytes), origin(place), head[:MAX_RAW_BYTES])
    return RawLines(place, pa.array([], pa.binary()), nothing, nothing, length + 1, 1, (dirty,))


def _lines_between(data: Bytes, starts: Ints, ends: Ints, places: Ints, place: Place, size: int) -> RawLines:
    """Lines at `[start, end)`, `places` bytes after the place, without CR, byte order mark and blank lines."""
    if not len(starts):
        return RawLines(place, pa.array([], pa.binary()), starts, starts, size, 0)
    starts = starts.copy()
    if place.offset == 0 and not place.split_start and data[starts[0] : ends[0]][: len(BOM)].tobytes() == BOM:
        starts[0] += len(BOM)
    if len(data):
        ends = ends - ((ends > starts) & (data[np.maximum(ends - 1, 0)] == _RETURN))
    full = np.flatnonzero(ends > starts)
    lines = cut(data, np.column_stack((starts[full], ends[full])), pa.binary())[0]
    return RawLines(place, lines, place.offset + places[full], full, size, len(starts))


def cut(data: Bytes, bounds: Ints, type_: pa.DataType) -> list[ArrowArray]:
    """Columns cut out of some bytes: row i of column j is `[bounds[i, 2j], bounds[i, 2j + 1])`.

    `bounds` must rise along each row and from row to row. Pieces and the gaps between them are laid over them as
    one array without copying; a `take` for each column picks its pieces.
    """
    rows, width = bounds.shape
    if not rows:
        return [pa.array([], type_)] * (width // 2)
    offsets = np.ascontiguousarray(bounds, np.int32).reshape(-1)
    pieces = pa.Array.from_buffers(type_, len(offsets) - 1, [None, to_buffer(offsets), to_buffer(data)])
    return [pieces.take(to_arrow_array(np.arange(at, len(offsets) - 1, width))) for at in range(0, width, 2)]


def joined(lines: ArrowArray) -> pa.Buffer:
    """The lines as one buffer, each with a newline after it."""
    text = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(lines)], pa.int32()), lines), "\n")
    ended: pa.Buffer = pc.binary_join_element_wise(text, "", "\n").buffers()[2]
    return ended


def drop_long_lines(lines: RawLines, max_line_bytes: int) -> RawLines:
    """Refuse the lines that are longer than allowed."""
    lengths = np.asarray(pc.binary_length(lines.data))
    if not len(lengths) or lengths.max() <= max_line_bytes:
        return lines
    too_long = np.flatnonzero(lengths > max_line_bytes)
    dirty = [lines.refuse(int(r), _long_line_reason(int(lengths[r]), max_line_bytes)) for r in too_long]
    return lines.keep(np.flatnonzero(lengths <= max_line_bytes), dirty)


def refuse_lines(lines: RawLines, dirty: Sequence[tuple[int, str]]) -> list[DirtyRow]:
    """Dirty rows of these lines, by their numbers in `lines.data`."""
    return [lines.refuse(row, reason) for row, reason in dirty]


def _long_line_reason(length: int, max_line_bytes: int) -> str:
    return f"the line has {length:,} bytes, more than max_line_bytes ({max_line_bytes:,})"


def decode_lines(lines: RawLines, encoding: str, *, replace_invalid: bool) -> tuple[RawLines, ArrowArray]:
    """The lines as a string array, with the lines that are left. Invalid bytes refuse the line, or become U+FFFD."""
    if encoding != "utf-8":
        return _decode_each(lines, encoding, replace_invalid=replace_invalid)
    try:
        return lines, lines.data.cast(pa.string())
    except pa.ArrowInvalid:
        return _decode_each(lines, encoding, replace_invalid=replace_invalid)


def _decode_each(lines: RawLines, encoding: str, *, replace_invalid: bool) -> tuple[RawLines, ArrowArray]:
    texts: list[str] = []
    kept: list[int] = []
    dirty: list[DirtyRow] = []
    for row, raw in enumerate(lines.data.to_pylist()):
        try:
            texts.append(raw.decode(encoding, "replace" if replace_invalid else "strict"))
            kept.append(row)
        except UnicodeDecodeError as error:
            reason = f"the bytes at {error.start} of the line are not valid {encoding} ({error.reason})"
            dirty.append(lines.refuse(row, reason))
    left = lines.keep(np.array(kept, np.int64), dirty) if dirty else lines
    return left, pa.array(texts, pa.string())
