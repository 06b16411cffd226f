"""HBase's Bloom filters of row keys, by column.

A chunk is a bit array of 128 KiB for as many keys as keep one false answer in a hundred; the last one is halved
(folded) as long as twice its keys still fit. A key sets 7 bits, by MurmurHash 2 of the key with the seed 0, and with
the first hash as its seed (org.apache.hadoop.hbase.util.BloomFilterChunk, MurmurHash).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.connectors.wire.rows import Integers, offsets_of, view

MURMUR = 1
HASHES = 7
CHUNK_BYTES = 1 << 17
CHUNK_KEYS = 109_396  # -bits / 7 · ln(1 - exp(ln(0.01) / 7)), as HBase reckons
_M = np.uint32(0x5BD1E995)
_ROWS_AT_ONCE = 1 << 14
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
            for places in bit_places(part):
                self._bits[places.astype(np.int64)] = True
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


def bit_places(keys: pa.LargeBinaryArray) -> Iterator[npt.NDArray[np.int32]]:
    """The bits that the keys set in a chunk of full size, one array a hash."""
    mixed = _mixed(keys)
    first = mixed.hashes(np.zeros(len(keys), np.uint32))
    second = mixed.hashes(first)
    with np.errstate(over="ignore"):
        for number in range(HASHES):
            yield np.abs((first + np.uint32(number) * second).view(np.int32)) & np.int32(CHUNK_BYTES * 8 - 1)


def murmur(keys: pa.LargeBinaryArray, seeds: _Words) -> _Words:
    """MurmurHash 2 as HBase computes it: with signed bytes at a key's end."""
    return _mixed(keys).hashes(seeds)


@dataclass(frozen=True)
class _Mixed:
    """Keys as the hash takes them in, whatever its seed; in an order with the longest first.

    `order`: None where they stand in their own. `words[i]`: word i, mixed, of those that have one. `ends`: what the
    bytes behind the last word come to.
    """

    order: Integers | None
    sizes: Integers
    words: Sequence[_Words]
    ends: _Words

    def hashes(self, seeds: _Words) -> _Words:
        found = self.sizes.astype(np.uint32) ^ (seeds if self.order is None else seeds[self.order])
        with np.errstate(over="ignore"):
            for word in self.words:
                part = found[: len(word)]
                part *= _M
                part ^= word
            found ^= self.ends
            np.multiply(found, _M, out=found, where=self.sizes & 3 != 0)
            found ^= found >> np.uint32(13)
            found *= _M
            found ^= found >> np.uint32(15)
        if self.order is None:
            return found
        hashes = np.empty_like(found)
        hashes[self.order] = found
        return hashes


def _mixed(keys: pa.LargeBinaryArray) -> _Mixed:
    offsets, data = offsets_of(keys), np.frombuffer(view(keys.buffers()[2]), np.uint8)
    sizes = np.diff(offsets)
    if len(keys) and sizes.min() == sizes.max():
        return _mixed_even(data, int(offsets[0]), sizes)
    order = np.argsort(-sizes, kind="stable")
    starts, sizes = offsets[:-1][order], sizes[order]
    windows = np.ndarray((max(len(data) - 3, 0),), "<u4", data, 0, (1,))
    longer = [int(np.searchsorted(-sizes, -end, side="right")) for end in range(4, int(sizes.max(initial=0)) + 1, 4)]
    words = [_mix(windows[starts[:number] + 4 * word]) for word, number in enumerate(longer)]
    ends = np.zeros(len(keys), np.uint32)
    for place in range(3):
        rows = np.flatnonzero(sizes & 3 > place)
        ends[rows] ^= _end(data.view(np.int8)[starts[rows] + (sizes[rows] & ~3) + place], place)
    return _Mixed(order, sizes, words, ends)


def _mixed_even(data: npt.NDArray[np.uint8], start: int, sizes: Integers) -> _Mixed:
    """Keys of one length, one after the other: each of their words and bytes is a column of the memory."""
    size = int(sizes[0])
    whole = size & ~3

    def column(place: int, kind: str) -> npt.NDArray[Any]:
        return np.ndarray(sizes.shape, kind, data, start + place, (size,))

    words = [_mix(column(place, "<u4")) for place in range(0, whole, 4)]
    ends = np.zeros(len(sizes), np.uint32)
    for place in range(size - whole):
        ends ^= _end(column(whole + place, "i1"), place)
    return _Mixed(None, sizes, words, ends)


def _mix(words: _Words) -> _Words:
    with np.errstate(over="ignore"):
        mixed = words * _M
        mixed ^= mixed >> np.uint32(24)
        mixed *= _M
    return mixed


def _end(octets: npt.NDArray[np.int8], place: int) -> _Words:
    return (octets.astype(np.int32) << np.int32(8 * place)).view(np.uint32)
