"""Reading local files in blocks of whole lines, plain or compressed, with a bound on memory whatever the file holds."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from millrace.connectors.files import FileInfo, local_file
from millrace.connectors.log.lines import Place, RawLines, long_line, split_lines
from millrace.connectors.log.options import Compression
from millrace.errors import SourceError

BLOCK_BYTES = 2 << 20  # a few of them, with what is made of them, stay in a core's cache
_SCAN_BYTES = 1 << 16


@dataclass(frozen=True)
class Piece:
    """A part of one file: the lines that start in `[start, end)` bytes.

    A compressed file is one piece, from byte `start` of its text on. `limit` is where the planned text ends; None: at
    the file's planned size, or before a last line that was still being written then.
    """

    file: FileInfo
    start: int
    end: int
    limit: int | None = None


class Readable(Protocol):
    """Bytes from where it stands; none at its end."""

    def read(self, size: int, /) -> bytes: ...


def read_lines(piece: Piece, compression: Compression, max_line_bytes: int) -> Iterator[RawLines]:
    """The lines of a piece, a few MiB at a time; a line longer than that and than `max_line_bytes` comes as `dirty`.

    Raises SourceError when the file is not the one that was planned, ends early, or can't be decompressed.
    """
    path = piece.file.path
    try:
        with open(path, "rb", buffering=0) as file:
            grown = check_unchanged(piece.file, local_file(path), compression)
            if compression is Compression.NONE:
                limit = _end_of_text(file, piece.file, grown=grown) if piece.limit is None else piece.limit
                start, end = _line_start(file, piece.start, limit), _line_start(file, piece.end, limit)
                file.seek(start)
                place = Place(path, start, 1 if start == 0 else None)
                yield from _lines(_Part(file, end - start, path), place, max_line_bytes)
            else:
                text = decompressed(file, path, compression)
                skip(text, piece.start)
                yield from _lines(text, Place(path, piece.start, None if piece.start else 1), max_line_bytes)
    except OSError as error:
        raise unreadable(path, error) from error


@dataclass(frozen=True)
class TextSample:
    """The first text of a file, and how many bytes of text one byte of the file gives."""

    text: bytes
    growth: float

    @property
    def line_bytes(self) -> float:
        """The mean length of the sample's lines; 0 when it has none."""
        return len(self.text) / max(self.text.count(b"\n"), 1)


def sample_text(file: FileInfo, compression: Compression) -> TextSample:
    """The first block of a file. Raises SourceError when it can't be read or decompressed."""
    try:
        with open(file.path, "rb", buffering=0) as opened:
            source: Readable = opened
            if compression is not Compression.NONE:
                source = decompressed(opened, file.path, compression)
            text = source.read(BLOCK_BYTES)
            return TextSample(text, len(text) / max(opened.tell(), 1))
    except OSError as error:
        raise unreadable(file.path, error) from error


def check_unchanged(planned: FileInfo, now: FileInfo, compression: Compression) -> bool:
    """Whether a plain file has only grown since it was planned. Raises SourceError when it has changed otherwise."""
    if now == planned:
        return False
    if compression is Compression.NONE and now.inode == planned.inode and now.size > planned.size:
        return True
    if now.inode != planned.inode:
        what = "is another file than the one"
    elif now.size != planned.size:
        what = f"has {now.size:,} bytes instead of the {planned.size:,}"
    else:
        what = "has been written to since it was the file"
    raise SourceError(
        f"{planned.path} {what} that the run has planned to read",
        hint="start a new run, which plans anew; read files only when they are complete, e.g. after their rotation",
    )


def decompressed(file: io.FileIO, path: str, compression: Compression) -> Readable:
    """The text of an open compressed file."""
    return _Decompressed(file, path, compression)


def skip(source: Readable, size: int) -> bool:
    """Go forward by so many bytes; whether there were as many."""
    while size and (skipped := source.read(min(size, BLOCK_BYTES))):
        size -= len(skipped)
    return not size


def unreadable(path: str, error: OSError) -> SourceError:
    """Our error for a file that can't be opened or read."""
    return SourceError(
        f"reading {path}: {error.strerror or error}", hint="see whether the file is there and may be read"
    )


def _line_start(file: io.FileIO, position: int, limit: int) -> int:
    """Where the first line begins that begins at this position or after it; `limit` when there is none."""
    if position <= 0 or position >= limit:
        return min(max(position, 0), limit)
    at = position - 1
    file.seek(at)
    while at < limit and (chunk := file.read(_SCAN_BYTES)):
        found = chunk.find(b"\n")
        if found >= 0:
            return min(at + found + 1, limit)
        at += len(chunk)
    return limit


def _end_of_text(file: io.FileIO, planned: FileInfo, *, grown: bool) -> int:
    """Where the planned text ends. A line that was being written when the plan was made belongs to the next plan."""
    if not grown or not planned.size:
        return planned.size
    file.seek(planned.size - 1)
    if b"\n" in file.read(2):
        return planned.size
    at = planned.size
    while at:
        size = min(_SCAN_BYTES, at)
        file.seek(at - size)
        found = file.read(size).rfind(b"\n")
        if found >= 0:
            return at - size + found + 1
        at -= size
    return 0


class _Part:
    """So many bytes of a file from where it stands; they must be there."""

    def __init__(self, file: io.FileIO, size: int, path: str) -> None:
        self._file, self._left, self._path = file, size, path

    def read(self, size: int, /) -> bytes:
        data = self._file.read(min(size, self._left))
        if not data and self._left:
            raise SourceError(
                f"{self._path} ended {self._left:,} bytes before the size that the run has planned to read",
                hint="it was cut while it was read; start a new run",
            )
        self._left -= len(data)
        return data


class _Decompressed:
    """The text of a compressed file. Several gzip members or zstd frames are one text."""

    def __init__(self, file: io.FileIO, path: str, compression: Compression) -> None:
        self._path, self._compression = path, compression
        codec: Any = str(compression)
        self._stream: Any = pa.CompressedInputStream(pa.PythonFile(file, "r"), codec)

    def read(self, size: int, /) -> bytes:
        try:
            data: bytes = self._stream.read(size)
        except OSError as error:
            raise SourceError(
                f"reading {self._path}: it can't be decompressed as {self._compression}: {error}",
                hint="the file is damaged or was still being written; if it is compressed in another way or not at all,"
                " set `compression`",
            ) from error
        return data


def _lines(source: Readable, place: Place, max_line_bytes: int) -> Iterator[RawLines]:
    """Cut what a source gives at the ends of lines. Holds no more than a block and the longest allowed line."""
    most = max(BLOCK_BYTES, max_line_bytes)
    rest = b""
    while chunk := source.read(BLOCK_BYTES):
        cut = chunk.rfind(b"\n") + 1
        if cut:
            lines = split_lines(b"".join((rest, memoryview(chunk)[:cut])), place)
            place, rest = lines.after, chunk[cut:]
            yield lines
            continue
        rest += chunk
        if len(rest) > most:
            head, (length, rest) = rest, _skip_line(source, len(rest))
            lines = long_line(place, head, length, max_line_bytes)
            place = lines.after
            yield lines
    if rest:
        yield split_lines(rest, place)


def _skip_line(source: Readable, length: int) -> tuple[int, bytes]:
    """Read to the end of a line; its whole length, and what was read after it."""
    while chunk := source.read(BLOCK_BYTES):
        end = chunk.find(b"\n")
        if end >= 0:
            return length + end, chunk[end + 1 :]
        length += len(chunk)
    return length, b""


def compression_of(path: str, declared: Compression) -> Compression:
    """How a file is compressed, by its ending when that isn't declared.

    Raises SourceError for an ending that tells of a compression that can't be read.
    """
    if declared is not Compression.AUTO:
        return declared
    ending = os.path.splitext(path)[1].lower()
    if ending in _OTHER_ENDINGS:
        raise SourceError(
            f"{path} is compressed in a form that can't be read ({ending})",
            hint="compress it with gzip or zstd; if it is plain text after all, set `compression: none`",
        )
    return _ENDINGS.get(ending, Compression.NONE)


_ENDINGS = {".gz": Compression.GZIP, ".gzip": Compression.GZIP, ".zst": Compression.ZSTD, ".zstd": Compression.ZSTD}
_OTHER_ENDINGS = (".bz2", ".xz", ".lz4", ".snappy", ".zip", ".7z", ".br", ".lzma", ".lzo", ".deflate")
