"""HFiles by column: HBase's own files, version 3.3, of rows that are sorted by their keys.

A file is data blocks of about 64 KiB, cut at a row's end, chunks of a Bloom filter by row, then what a reader loads
when it opens the file (the index of the blocks in one level, an empty index of metas, file info, the filter's index),
and a trailer of 4096 bytes. Uncompressed, with CRC-32 checksums for each 16 KiB. Big-endian. See
https://hbase.apache.org/book.html#hfilev3 and the classes HFileBlock, HFileWriterImpl and CompoundBloomFilterWriter.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from isal.isal_zlib import crc32  # eight times the speed of zlib's

from millrace.connectors.wire.bloom import HASHES, MURMUR, BloomFilter
from millrace.connectors.wire.hfile_cells import FamilyRows
from millrace.connectors.wire.rows import Integers, Mask, from_offsets, offsets_of
from millrace.connectors.wire.varint import varint

BLOCK_BYTES = 1 << 16
_STRETCH_BYTES = 1 << 20  # what is encoded, summed up and written while it is in the processor's cache
_BYTES_PER_CHECKSUM = 16384
_CRC32 = 1
_TRAILER_BYTES = 4096
_HEADER = struct.Struct(">8siiqbii")
_ENTRY = struct.Struct(">qi")
_BLOOM_VERSION = 3
_DATA, _ROOT, _INFO, _CHUNK, _BLOOM = b"DATABLK*", b"IDXROOT2", b"FILEINF2", b"BLMFBLK2", b"BLMFMET2"
_COMPARATOR = b"org.apache.hadoop.hbase.CellComparatorImpl"
_NO_COMPRESSION = 2


@dataclass
class HFileWriter:
    """Writes one file by `write`, which takes bytes. Rows come sorted by key, each key once."""

    write: Callable[[bytes], object]
    created_ms: int
    position: int = 0
    rows: int = 0
    _pending: list[bytes | memoryview] = field(default_factory=list)
    _previous: dict[bytes, int] = field(default_factory=dict)
    _index: list[tuple[int, int, bytes]] = field(default_factory=list)
    _bloom: BloomFilter = field(default_factory=BloomFilter)
    _cells: int = 0
    _key_bytes: int = 0
    _value_bytes: int = 0
    _plain_bytes: int = 0
    _last_key: bytes = b""
    _last_row: bytes = b""

    def append(self, rows: FamilyRows) -> None:
        """Rows without a cell are left out."""
        offsets = rows.offsets
        if not rows.cells:
            return
        for bounds in _stretches(offsets):
            encoded = rows.encode(int(bounds[0]), int(bounds[-1]))
            for start, end in pairwise((offsets[bounds] - offsets[bounds[0]]).tolist()):
                block = encoded[start:end]
                self._index.append((*self._block(_DATA, block), _first_key(block)))
            self._flush()
        keys = rows.filled()
        self._bloom.add(keys)
        self.rows += len(keys)
        self._cells += rows.cells
        self._value_bytes += rows.value_bytes
        self._key_bytes += int(offsets[-1]) - rows.value_bytes - 9 * rows.cells
        last = int(offsets.searchsorted(offsets[-1])) - 1
        self._last_key = _last_key(block[offsets[last] - offsets[-1] :])
        self._last_row = keys[len(keys) - 1].as_py() or b""

    def close(self) -> None:
        """Write all that stands behind the rows. Raises ValueError when there are none."""
        if not self.rows:
            raise ValueError("an HFile has at least one row")
        chunks = list(self._bloom.chunks())
        bloom_index = [(*self._block(_CHUNK, chunk.bits), chunk.first_key) for chunk in chunks]
        at_open = self.position
        root = b"".join(map(_entry, self._index))
        self._block(_ROOT, root)
        self._block(_ROOT, b"")
        info_at, _ = self._block(_INFO, self._info())
        bloom = struct.pack(
            ">iqiiqqi",
            _BLOOM_VERSION,
            sum(len(chunk.bits) for chunk in chunks),
            HASHES,
            MURMUR,
            self.rows,
            sum(chunk.max_keys for chunk in chunks),
            len(chunks),
        )
        self._block(_BLOOM, bloom + b"\0" + b"".join(map(_entry, bloom_index)))
        self._pending.append(self._trailer(info_at, at_open, len(root)))
        self.position += _TRAILER_BYTES
        self._flush()

    def _block(self, magic: bytes, data: bytes | memoryview) -> tuple[int, int]:
        """Put a block among what is written next; where it stands and how many bytes it takes."""
        checked = _HEADER.size + len(data)
        sums = 4 * -(-checked // _BYTES_PER_CHECKSUM)
        header = _HEADER.pack(
            magic, len(data) + sums, len(data), self._previous.get(magic, -1), _CRC32, _BYTES_PER_CHECKSUM, checked
        )
        at = self.position
        self._previous[magic] = at
        self._plain_bytes += checked
        self._pending += header, data, _checksums(header, data)
        self.position += checked + sums
        return at, checked + sums

    def _flush(self) -> None:
        self.write(b"".join(self._pending))
        self._pending.clear()

    def _info(self) -> bytes:
        entries = {
            b"BLOOM_FILTER_TYPE": b"ROW",
            b"DELETE_FAMILY_COUNT": bytes(8),
            b"KEY_VALUE_VERSION": struct.pack(">i", 1),
            b"LAST_BLOOM_KEY": self._last_row,
            b"MAX_MEMSTORE_TS_KEY": bytes(8),
            b"hfile.AVG_KEY_LEN": struct.pack(">i", self._key_bytes // self._cells),
            b"hfile.AVG_VALUE_LEN": struct.pack(">i", self._value_bytes // self._cells),
            b"hfile.CREATE_TIME_TS": struct.pack(">q", self.created_ms),
            b"hfile.LASTKEY": self._last_key,
        }
        pairs = (_delimited(1, _delimited(1, name) + _delimited(2, value)) for name, value in entries.items())
        proto = b"".join(pairs)
        return b"PBUF" + varint(len(proto)) + proto

    def _trailer(self, info_at: int, at_open: int, index_bytes: int) -> bytes:
        numbers = {
            1: info_at,
            2: at_open,
            3: index_bytes,
            4: self._plain_bytes,
            5: len(self._index),
            6: 0,
            7: self._cells,
            8: 1,
            9: self._index[0][0],
            10: self._index[-1][0],
        }
        proto = b"".join(varint(number << 3) + varint(value) for number, value in numbers.items())
        proto += _delimited(11, _COMPARATOR) + varint(12 << 3) + varint(_NO_COMPRESSION)
        found = b'TRABLK"$' + varint(len(proto)) + proto
        return found.ljust(_TRAILER_BYTES - 4, b"\0") + b"\3\0\0\3"


def sorted_order(keys: pa.LargeBinaryArray) -> Integers:
    """The rows by key, as unsigned bytes compare; of several with one key, the last one alone."""
    solid = from_offsets(offsets_of(keys), keys.buffers()[2])
    order: Integers = pc.sort_indices(solid).to_numpy().astype(np.int64)  # stable, so equal keys keep their order
    ordered = solid.take(pa.array(order, pa.int64()))
    if len(ordered) < 2:
        return order
    last_ones: Integers = order[np.append(_neighbours(pc.not_equal, ordered), True)]
    return last_ones


def ascending(keys: pa.LargeBinaryArray) -> bool:
    """Whether the rows stand in `sorted_order` already, all of them."""
    return bool(_neighbours(pc.less, keys).all())


def _neighbours(compare: Callable[..., Any], keys: pa.LargeBinaryArray) -> Mask:
    """How each key but the last compares to the next one."""
    found: Mask = compare(keys.slice(0, max(len(keys) - 1, 0)), keys.slice(1)).to_numpy(zero_copy_only=False)
    return found


def _stretches(offsets: Integers) -> Iterator[Integers]:
    """The rows where blocks start, and the end of the last one; by stretches, whose blocks are encoded together."""
    starts = _marks(offsets, BLOCK_BYTES)
    bounds = np.append(starts, len(offsets) - 1)
    stretches = _marks(np.append(offsets[starts], offsets[-1]), _STRETCH_BYTES)
    for first, end in pairwise([*stretches.tolist(), len(starts)]):
        yield bounds[first : end + 1]


def _marks(offsets: Integers, apart: int) -> Integers:
    """The first that starts at or behind each multiple of `apart` bytes."""
    found = np.unique(offsets.searchsorted(np.arange(0, int(offsets[-1]), apart)))
    before_end: Integers = found[offsets[found] < offsets[-1]]
    return before_end


def _checksums(header: bytes, data: bytes | memoryview) -> bytes:
    first = _BYTES_PER_CHECKSUM - len(header)
    sums = [crc32(data[:first], crc32(header))]
    sums += [crc32(data[at : at + _BYTES_PER_CHECKSUM]) for at in range(first, len(data), _BYTES_PER_CHECKSUM)]
    return struct.pack(f">{len(sums)}I", *sums)


def _entry(entry: tuple[int, int, bytes]) -> bytes:
    at, size, key = entry
    return _ENTRY.pack(at, size) + _hadoop_vint(len(key)) + key


def _hadoop_vint(number: int) -> bytes:
    """Hadoop's variable-length integer (WritableUtils.writeVInt), of a number ≥ 0."""
    if number < 128:
        return bytes([number])
    size = (number.bit_length() + 7) // 8
    return bytes([256 - 112 - size]) + number.to_bytes(size, "big")


def _delimited(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def _first_key(cells: memoryview) -> bytes:
    size = int.from_bytes(cells[:4], "big")
    return bytes(cells[8 : 8 + size])


def _last_key(row: memoryview) -> bytes:
    """The key of the last cell of a row."""
    at = 0
    while True:
        key, value = int.from_bytes(row[at : at + 4], "big"), int.from_bytes(row[at + 4 : at + 8], "big")
        end = at + 8 + key + value + 1
        if end >= len(row):
            return bytes(row[at + 8 : at + 8 + key])
        at = end
