from __future__ import annotations

import gzip
from typing import Any

import cramjam
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from millrace.connectors.wire.compression import Compression, compress, decompressor
from millrace.connectors.wire.values import UnreadableValue

CELLS = st.lists(st.one_of(st.none(), st.binary(max_size=300)), max_size=12)


@given(CELLS, st.sampled_from(Compression))
def test_what_is_compressed_opens_again(column: list[bytes | None], method: Compression) -> None:
    found = compress(pa.array(column, pa.binary()), method)
    assert [None if frame is None else decompressor(method)(frame) for frame in found.to_pylist()] == column
    assert compress(pa.array(column, pa.binary()), method).equals(found)


@given(CELLS, st.integers(0, 5))
def test_slices_and_chunks_are_compressed_as_their_cells(column: list[bytes | None], start: int) -> None:
    whole = pa.array(column, pa.large_binary())
    expected = compress(whole, Compression.ZSTD)[start:]
    assert compress(whole.slice(start), Compression.ZSTD).equals(expected)
    chunks = pa.chunked_array([whole.slice(0, start), whole.slice(start)], pa.large_binary())
    assert compress(chunks, Compression.ZSTD)[start:].equals(expected)


@pytest.mark.parametrize("size", [0, 1, 100, 10_000_000])
def test_other_programs_open_the_frames(size: int) -> None:
    value = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    values = pa.array([value], pa.binary())
    assert zstandard.ZstdDecompressor().decompress(compress(values, "zstd")[0].as_py()) == value
    assert zstandard.get_frame_parameters(compress(values, "zstd")[0].as_py()).content_size == size
    assert gzip.decompress(compress(values, "gzip")[0].as_py()) == value
    assert bytes(cramjam.snappy.decompress_raw(compress(values, "snappy")[0].as_py())) == value
    assert compress(values, "none")[0].as_py() == value


def test_a_higher_level_makes_smaller_values() -> None:
    values = pa.array([b"".join(b"%d," % (number * number) for number in range(5_000))])
    for method, low, high in ((Compression.ZSTD, 1, 19), (Compression.GZIP, 1, 9)):
        assert len(compress(values, method, high)[0].as_py()) < len(compress(values, method, low)[0].as_py())


@pytest.mark.parametrize("method", [Compression.ZSTD, Compression.SNAPPY, Compression.GZIP])
@pytest.mark.parametrize("data", [b"", b"plain text that is no frame", b"\xff" * 20, b"cut"])
def test_bytes_that_are_no_frame_are_called_unreadable(method: Compression, data: Any) -> None:
    if data == b"cut":
        data = compress(pa.array([bytes(range(200))]), method)[0].as_py()[:-9]
    with pytest.raises(UnreadableValue, match=f"a {method} value can't be decoded"):
        decompressor(method)(data)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="lz77"):
        compress(pa.array([b"a"]), "lz77")
