"""HFiles and their Bloom filters, against another reading of the format; HBase reads them in hbase/test_bulk."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.connectors.wire import hfile
from millrace.connectors.wire.bloom import BloomFilter, murmur
from millrace.connectors.wire.columns import binary_cells
from millrace.connectors.wire.hfile_cells import Column, FamilyRows
from millrace.connectors.wire.rows import from_matrix

KEYS = st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=40)


def reference_murmur(key: bytes, seed: int) -> int:
    """MurmurHash 2 with signed bytes at the end, byte by byte."""
    m, h = 0x5BD1E995, (seed ^ len(key)) & 0xFFFFFFFF
    whole = len(key) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * m & 0xFFFFFFFF
        k = (k ^ (k >> 24)) * m & 0xFFFFFFFF
        h = (h * m & 0xFFFFFFFF) ^ k
    tail = struct.unpack(f"{len(key) - whole}b", key[whole:])
    for place, octet in enumerate(tail):
        h ^= (octet << 8 * place) & 0xFFFFFFFF
    if tail:
        h = h * m & 0xFFFFFFFF
    h = (h ^ (h >> 13)) * m & 0xFFFFFFFF
    return h ^ (h >> 15)


@given(KEYS, st.integers(0, 0xFFFFFFFF))
def test_hashes_are_those_of_one_key_at_a_time(keys: list[bytes], seed: int) -> None:
    column = pa.array([b"before", *keys], pa.large_binary()).slice(1)
    found = murmur(column, np.full(len(keys), seed, np.uint32))
    assert found.tolist() == [reference_murmur(key, seed) for key in keys]


@given(KEYS)
def test_a_folded_filter_holds_every_key(keys: list[bytes]) -> None:
    bloom = BloomFilter()
    bloom.add(pa.array(keys, pa.large_binary()))
    (chunk,) = bloom.chunks()
    assert (chunk.first_key, chunk.keys) == (keys[0], len(keys))
    bits = np.unpackbits(np.frombuffer(chunk.bits, np.uint8), bitorder="little")
    for key in keys:
        first = reference_murmur(key, 0)
        second = reference_murmur(key, first)
        for number in range(7):
            signed = struct.unpack("i", struct.pack("I", (first + number * second) & 0xFFFFFFFF))[0]
            assert bits[abs(signed) % len(bits)]


@given(st.dictionaries(st.binary(min_size=1, max_size=20), st.none() | st.binary(max_size=30_000), min_size=1))
@settings(max_examples=50, deadline=None)
def test_cells_are_read_back_block_by_block_with_their_checksums(rows: dict[bytes, bytes | None]) -> None:
    names = sorted(rows)
    keys = pa.array(names, pa.large_binary())
    cells = binary_cells(pa.array([rows[name] for name in names], pa.binary()))
    empty = np.array([rows[name] is None for name in names])
    out = io.BytesIO()
    writer = hfile.HFileWriter(out.write, 1)
    writer.append(FamilyRows(keys, b"p", [Column(b"q", cells)], 7, empty))
    writer.close()
    expected = {(name, b"" if value is None else b"q"): value or b"" for name, value in rows.items()}
    assert read_cells(out.getvalue()) == expected


def test_rows_of_several_stretches_have_the_cells_of_their_columns_in_order() -> None:
    rows = range(3000)
    names = [b"%d" % (10_000 + row) for row in rows]
    columns: dict[bytes, list[bytes | None]] = {
        b"uneven": [b"u" * (row % 50) for row in rows],
        b"even": [b"%06d" % row * 100 for row in rows],
        b"sparse": [b"s" * (row % 3) if row % 7 == 0 else None for row in rows],
        b"none at the end": [b"early" if row < 500 else None for row in rows],
    }
    cells = {name: binary_cells(pa.array(values, pa.binary())) for name, values in columns.items()}
    numbers = np.array([[row % 7, row % 256, 255 - row % 256] for row in rows], np.uint8)
    cells[b"of 3 in 3"], cells[b"of 2 in 3"] = from_matrix(numbers), from_matrix(numbers, np.full(len(rows), 2))
    cells[b"of some in 3"] = from_matrix(numbers, np.arange(len(rows)) % 4)
    columns[b"of 3 in 3"] = [bytes(row) for row in numbers]
    columns[b"of 2 in 3"] = [bytes(row[:2]) for row in numbers]
    columns[b"of some in 3"] = [bytes(row[: number % 4]) for number, row in enumerate(numbers)]
    out = io.BytesIO()
    writer = hfile.HFileWriter(out.write, 1)
    ordered = [Column(name, column) for name, column in cells.items()]
    writer.append(FamilyRows(pa.array(names, pa.large_binary()), b"p", ordered, 7))
    writer.close()
    expected = [((names[row], name), columns[name][row]) for row in rows for name in sorted(columns)]
    found = list(read_cells(out.getvalue()).items())
    assert found == [(place, value) for place, value in expected if value is not None]


def test_rows_without_a_cell_are_left_out() -> None:
    keys = pa.array([b"%03d" % row for row in range(100)], pa.large_binary())
    cells = binary_cells(pa.array([b"there" if 40 <= row < 60 else None for row in range(100)], pa.binary()))
    out = io.BytesIO()
    writer = hfile.HFileWriter(out.write, 1)
    writer.append(FamilyRows(keys, b"p", [Column(b"q", cells)], 7))
    nothing = binary_cells(pa.array([None] * 100, pa.binary()))
    writer.append(FamilyRows(keys, b"p", [Column(b"q", nothing)], 7))
    assert writer.rows == 20
    writer.close()
    assert [row for row, _ in read_cells(out.getvalue())] == [b"%03d" % row for row in range(40, 60)]


def read_cells(data: bytes) -> dict[tuple[bytes, bytes], bytes]:
    """The cells of the data blocks, by row and qualifier."""
    found, at = {}, 0
    while data[at : at + 8] == b"DATABLK*":
        on_disk, size, _, kind, step, checked = struct.unpack(">iiqbii", data[at + 8 : at + 33])
        sums = struct.unpack(f">{(on_disk - size) // 4}I", data[at + checked : at + 33 + on_disk])
        assert kind == 1
        assert list(sums) == [zlib.crc32(data[at + n : at + min(n + step, checked)]) for n in range(0, checked, step)]
        position = at + 33
        while position < at + checked:
            key, value = struct.unpack(">ii", data[position : position + 8])
            row = int.from_bytes(data[position + 8 : position + 10], "big")
            name = data[position + 10 : position + 10 + row]
            tail = data[position + 10 + row : position + 8 + key]
            assert (tail[:2], tail[-9:]) == (b"\1p", b"\0\0\0\0\0\0\0\7\4")
            found[name, tail[2:-9]] = data[position + 8 + key : position + 8 + key + value]
            position += 8 + key + value + 1
        at += 33 + on_disk
    return found


@given(st.lists(st.binary(max_size=4), max_size=30))
def test_rows_are_sorted_by_unsigned_bytes_and_the_last_of_equal_keys_stays(keys: list[bytes]) -> None:
    order = hfile.sorted_order(pa.array(keys, pa.large_binary()))
    last = {key: place for place, key in enumerate(keys)}
    assert order.tolist() == [last[key] for key in sorted(last)]
    assert hfile.ascending(pa.array(keys, pa.large_binary())) == (order.tolist() == list(range(len(keys))))


def test_a_file_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        hfile.HFileWriter(io.BytesIO().write, 1).close()
