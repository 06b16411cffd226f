"""HBase's Bloom filters of row keys, by column.

A chunk is a bit array of 128 KiB for as many keys as keep one false answer in a hundred; the last one is halved
(folded) as long as twice its keys still fit. A key sets 7 bits, by MurmurHash 2 of the key with the seed 0, and with
the first hash as its seed (org.apache.hadoop.hbase.util.BloomFilterChunk, MurmurHash).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.connectors.wire.rows import offsets_of, view

MURMUR = 1
HASHES = 7
CHUNK_BYTES = 1 << 17
CHUNK_KEYS = 109_396  # -bits / 7 · ln(1 - exp(ln(0.01) / 7)), as HBase reckons
_M = np.uint32(0x5BD1E995)
_ROWS_AT_ONCE = 1 << 16
_Words = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Chunk:
    """A finished part of the filter: its bits, the first key in it, how many keys it has and could have."""

    first_key: bytes
    bits: bytes
    keys: int
    max_keys: int


class BloomFilter:
    """Takes keys in their order, each once, and gives chunks."""

    def __init__(self) -> None:
        self._bits = np.zeros(CHUNK_BYTES * 8, np.bool_)
        self._keys = 0
        self._first_key = b""
        self._chunks: list[Chunk] = []

    def add(self, keys: pa.LargeBinaryArray) -> None:
        start = 0
        while start < len(keys):
            part = keys.slice(start, min(_ROWS_AT_ONCE, CHUNK_KEYS - self._keys))
            if not self._keys:
                self._first_key = part[0].as_py() or b""
            self._bits[bit_places(part)] = True
            self._keys += len(part)
            start += len(part)
            if self._keys == CHUNK_KEYS:
                self._end_chunk()

    def chunks(self) -> Iterator[Chunk]:
        """The chunks of all keys so far."""
        if self._keys:
            self._end_chunk()
        yield from self._chunks

    def _end_chunk(self) -> None:
        bits, max_keys = self._bits, CHUNK_KEYS
        while len(bits) > 8 and max_keys > 2 * self._keys:
            half = len(bits) // 2
            bits, max_keys = bits[:half] | bits[half:], max_keys // 2
        packed = np.packbits(bits, bitorder="little").tobytes()
        self._chunks.append(Chunk(self._first_key, packed, self._keys, max_keys))
        self._bits = np.zeros(CHUNK_BYTES * 8, np.bool_)
        self._keys = 0


def bit_places(keys: pa.LargeBinaryArray) -> npt.NDArray[np.int64]:
    """The bits that each key sets in a chunk of full size, one column a hash."""
    first = murmur(keys, np.zeros(len(keys), np.uint32))
    second = murmur(keys, first)
    places = np.empty((len(keys), HASHES), np.int64)
    with np.errstate(over="ignore"):
        for number in range(HASHES):
            places[:, number] = (first + np.uint32(number) * second).view(np.int32)
    return np.abs(places) & (CHUNK_BYTES * 8 - 1)


def murmur(keys: pa.LargeBinaryArray, seeds: _Words) -> _Words:
    """MurmurHash 2 as HBase computes it: with signed bytes at a key's end. The longest keys first, word by word."""
    offsets = offsets_of(keys)
    lengths = np.diff(offsets)
    data = np.frombuffer(view(keys.buffers()[2]), np.uint8)
    order = np.argsort(-lengths, kind="stable")
    starts, sizes = offsets[:-1][order], lengths[order]
    ascending = sizes[::-1]
    found = seeds[order] ^ sizes.astype(np.uint32)
    with np.errstate(over="ignore"):
        for word in range(int(sizes.max(initial=0)) // 4):
            longer = len(sizes) - int(np.searchsorted(ascending, 4 * word + 4, side="left"))
            part, at = found[:longer], starts[:longer] + 4 * word
            octets = [data[at + place].astype(np.uint32) << np.uint32(8 * place) for place in range(4)]
            k = (octets[0] | octets[1] | octets[2] | octets[3]) * _M
            k = (k ^ (k >> np.uint32(24))) * _M
            part[:] = (part * _M) ^ k
        _mix_tail(found, data.view(np.int8), starts, sizes)
        found ^= found >> np.uint32(13)
        found *= _M
        found ^= found >> np.uint32(15)
    hashes = np.empty_like(found)
    hashes[order] = found
    return hashes


def _mix_tail(
    found: _Words, data: npt.NDArray[np.int8], starts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
) -> None:
    left = sizes & 3
    at = starts + (sizes & ~3)
    for place in (2, 1, 0):
        rows = np.flatnonzero(left > place)
        signed = data[at[rows] + place].astype(np.int32) << np.int32(8 * place)
        found[rows] ^= signed.view(np.uint32)
    rows = np.flatnonzero(left)
    found[rows] *= _M
