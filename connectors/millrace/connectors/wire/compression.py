"""Compression of values, each on its own, as a frame that any client can open.

| name | format |
|---|---|
| zstd | one Zstandard frame with its content's size (RFC 8878) |
| snappy | one Snappy block without framing, what `Snappy.uncompress` and `snappy.uncompress` open |
| gzip | one gzip member without a name or a time (RFC 1952) |
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING

from millrace.connectors.wire.values import readable

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.connectors.wire.columns import Column

_GZIP_WINDOW = 31  # zlib's number for a gzip header with the largest window
_ZSTD_LEVEL = 1
_GZIP_LEVEL = 6


class Compression(StrEnum):
    NONE = "none"
    ZSTD = "zstd"
    SNAPPY = "snappy"
    GZIP = "gzip"


def compress(values: Column, method: Compression | str, level: int | None = None) -> pa.LargeBinaryArray:
    """Each value compressed; null stays null. `level` is zstd's (1 to 22, default 1) or gzip's (1 to 9, default 6).

    The same values, level and library give the same bytes again. Raises ValueError for an unknown method.
    """
    import pyarrow as pa

    from millrace.connectors.wire.columns import binary_cells
    from millrace.connectors.wire.rows import Cells, offsets_of, view

    cells = binary_cells(values)
    if Compression(method) is Compression.NONE:
        return cells.array()
    compact = cells.compact()
    data = view(compact.buffers()[2])
    ends = offsets_of(compact).tolist()
    compress_one = _compressor(Compression(method), level)
    frames = [compress_one(data[start:end]) for start, end in pairwise(ends)]
    return Cells(pa.array(frames, pa.large_binary()), cells.present).array()


def decompressor(method: Compression | str) -> Callable[[bytes], bytes]:
    """A function that opens one value; not for use by several threads at once.

    Raises UnreadableValue for bytes that are no such frame.
    """
    match Compression(method):
        case Compression.ZSTD:
            import zstandard

            return readable(zstandard.ZstdDecompressor().decompress, "a zstd value", (zstandard.ZstdError,))
        case Compression.SNAPPY:
            import cramjam

            opened = cramjam.snappy.decompress_raw
            return readable(lambda data: bytes(opened(data)), "a snappy value", (cramjam.DecompressionError,))
        case Compression.GZIP:
            return readable(lambda data: zlib.decompress(data, _GZIP_WINDOW), "a gzip value", (zlib.error,))
        case Compression.NONE:
            return bytes


def _compressor(method: Compression, level: int | None) -> Callable[[memoryview], bytes]:
    match method:
        case Compression.ZSTD:
            import zstandard

            return zstandard.ZstdCompressor(level=level or _ZSTD_LEVEL).compress
        case Compression.SNAPPY:
            import cramjam

            block = cramjam.snappy.compress_raw
            return lambda data: bytes(block(data))
        case _:
            return lambda data: zlib.compress(data, level or _GZIP_LEVEL, _GZIP_WINDOW)
