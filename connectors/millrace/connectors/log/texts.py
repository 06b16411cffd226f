"""A few bytes of a file's text, to know it again: of local files and, through Hadoop, of all others."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import zstandard

from millrace.connectors.files import FileInfo, HadoopReader
from millrace.connectors.log.local import Readable, decompressed, skip, unreadable
from millrace.connectors.log.options import Compression
from millrace.errors import SourceError

_SCAN_BYTES = 1 << 16
_COMPRESSED_HEAD = 1 << 16


@dataclass(frozen=True)
class LocalText:
    """The text of a local file; see `manifest.Text`. Raises SourceError when it can't be read."""

    file: FileInfo
    compression: Compression

    @property
    def compressed(self) -> bool:
        return self.compression is not Compression.NONE

    def head(self, size: int) -> bytes:
        return self._between(0, size)

    def before(self, at: int, size: int) -> bytes | None:
        return self._between(max(0, at - size), at)

    def last_line_end(self, start: int, size: int) -> int:
        return _last_line_end(self._between, start, size)

    def _between(self, start: int, end: int) -> bytes:
        path = self.file.path
        try:
            with open(path, "rb", buffering=0) as file:
                if not self.compressed:
                    file.seek(start)
                    return file.read(end - start)
                return _cut(decompressed(file, path, self.compression), start, end) if self.file.size else b""
        except OSError as error:
            raise unreadable(path, error) from error


@dataclass(frozen=True)
class HadoopText:
    """The text of a file on a Hadoop file system. Of a compressed one only the head can be had."""

    file: FileInfo
    compression: Compression
    reader: HadoopReader

    @property
    def compressed(self) -> bool:
        return self.compression is not Compression.NONE

    def head(self, size: int) -> bytes:
        if not self.compressed:
            return self._between(0, size)
        raw = self._between(0, min(self.file.size, _COMPRESSED_HEAD))
        try:
            return _head_of(raw, self.compression)[:size]
        except (zlib.error, zstandard.ZstdError) as error:
            raise SourceError(
                f"reading {self.file.path}: it can't be decompressed as {self.compression}: {error}",
                hint="the file is damaged or was still being written; if it is compressed in another way or not at"
                " all, name it so",
            ) from error

    def before(self, at: int, size: int) -> bytes | None:
        return None if self.compressed else self._between(max(0, at - size), at)

    def last_line_end(self, start: int, size: int) -> int:
        return _last_line_end(self._between, start, size)

    def _between(self, start: int, end: int) -> bytes:
        return self.reader.read(self.file.path, start, end - start)


def _head_of(raw: bytes, compression: Compression) -> bytes:
    if compression is Compression.GZIP:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(raw)
    reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw))
    return reader.read(_COMPRESSED_HEAD)


def _cut(source: Readable, start: int, end: int) -> bytes:
    """Text in `[start, end)` of a stream that can only go forward."""
    if not skip(source, start):
        return b""
    found = b""
    while len(found) < end - start and (more := source.read(end - start - len(found))):
        found += more
    return found


def _last_line_end(between: Callable[[int, int], bytes], start: int, size: int) -> int:
    at = size
    while at > start:
        low = max(start, at - _SCAN_BYTES)
        found = between(low, at).rfind(b"\n")
        if found >= 0:
            return low + found + 1
        at = low
    return start
