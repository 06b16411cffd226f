"""Local files in blocks and pieces: every line once, at its true place, within bounded memory."""

from __future__ import annotations

import gzip
import itertools
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.connectors.base import DirtyRow
from millrace.connectors.files import FileInfo, local_file
from millrace.connectors.log import local
from millrace.connectors.log.lines import Place, decode_lines, drop_long_lines, split_lines
from millrace.connectors.log.local import Piece, compression_of, read_lines
from millrace.connectors.log.options import Compression
from millrace.connectors.log.splits import plan_splits
from millrace.errors import SourceError

_MIB = 1 << 20


def read(
    piece: Piece, compression: Compression = Compression.NONE, most: int = _MIB
) -> tuple[list[tuple[int, bytes]], list[DirtyRow]]:
    """(byte, line) of each line, and the dirty rows; checks that origins name the same byte."""
    lines: list[tuple[int, bytes]] = []
    dirty: list[DirtyRow] = []
    for block in read_lines(piece, compression, most):
        found = drop_long_lines(block, most)
        for row, (offset, line) in enumerate(zip(found.offsets, found.data.to_pylist(), strict=True)):
            assert f", byte {offset}" in found.origin(row)
            lines.append((int(offset), line))
        dirty += found.dirty
    return lines, dirty


def whole(path: Path) -> Piece:
    info = local_file(str(path))
    return Piece(info, 0, info.size)


def expected_lines(text: bytes) -> list[tuple[int, bytes]]:
    """What reading is held against: line by line, the obvious way."""
    found, offset = [], 0
    for line in text.split(b"\n"):
        mark = 3 if offset == 0 and line.startswith(b"\xef\xbb\xbf") else 0
        kept = line[mark:].removesuffix(b"\r")
        if kept:
            found.append((offset, kept))
        offset += len(line) + 1
    return found


_TEXTS = st.lists(
    st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\r", b"\xff", b"\xef\xbb\xbf", b"long" * 9]), max_size=40
)


@settings(deadline=None, max_examples=200)
@given(_TEXTS.map(b"".join), st.lists(st.integers(0, 200), max_size=6), st.integers(1, 30))
def test_pieces_cut_anywhere_give_every_line_once_at_its_place(
    tmp_path_factory: pytest.TempPathFactory, text: bytes, cuts: list[int], block: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.log"
    path.write_bytes(text)
    info = local_file(str(path))
    bounds = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    pieces = [Piece(info, start, end) for start, end in itertools.pairwise(bounds)] or [Piece(info, 0, 0)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "BLOCK_BYTES", block)
        patch.setattr(local, "_SCAN_BYTES", block)
        lines = [line for piece in pieces for line in read(piece)[0]]
    assert lines == expected_lines(text)


def test_an_origin_names_the_line_where_it_can_be_counted(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"one\n\nthree\n" * 3)
    piece = whole(tmp_path / "a.log")
    found = next(read_lines(piece, Compression.NONE, _MIB))
    assert [found.origin(i) for i in (0, 1, 2)] == [
        f"{tmp_path}/a.log, byte {byte} (line {line})" for byte, line in ((0, 1), (5, 3), (11, 4))
    ]
    inside = next(read_lines(Piece(piece.file, 7, 20), Compression.NONE, _MIB))
    assert inside.origin(0) == f"{tmp_path}/a.log, byte 11"


@pytest.mark.parametrize("line_bytes", [100, 9 * _MIB])
def test_a_line_that_is_too_long_is_dirty_with_its_first_bytes(tmp_path: Path, line_bytes: int) -> None:
    (tmp_path / "a.log").write_bytes(b"first\n" + b"x" * line_bytes + b"\nlast\n")
    lines, dirty = read(whole(tmp_path / "a.log"), most=64)
    assert lines == [(0, b"first"), (6 + line_bytes + 1, b"last")]
    assert [d.reason for d in dirty] == [f"the line has {line_bytes:,} bytes, more than max_line_bytes (64)"]
    assert dirty[0].origin == f"{tmp_path}/a.log, byte 6 (line 2)"
    assert dirty[0].raw == b"x" * min(line_bytes, _MIB)


def _gzip_bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    zeros = b"0" * _MIB
    return b"".join(
        [packer.compress(b"first\n"), *(packer.compress(zeros) for _ in range(size // _MIB)), packer.flush()]
    )


@pytest.mark.parametrize(
    ("compression", "pack"),
    [(Compression.GZIP, gzip.compress), (Compression.ZSTD, zstandard.ZstdCompressor().compress)],
)
def test_compressed_files_are_read_whole_with_several_members(
    tmp_path: Path, compression: Compression, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "a"
    path.write_bytes(pack(b"one\ntwo") + pack(b" and\nthree"))
    assert read(whole(path), compression)[0] == [(0, b"one"), (4, b"two and"), (12, b"three")]
    path.write_bytes(b"")
    assert read(whole(path), compression)[0] == []


@pytest.mark.parametrize(
    ("compression", "pack"),
    [(Compression.GZIP, gzip.compress), (Compression.ZSTD, zstandard.ZstdCompressor().compress)],
)
def test_a_damaged_or_unfinished_compressed_file_is_an_error_and_never_an_end(
    tmp_path: Path, compression: Compression, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "a"
    packed = pack(bytes(range(256)) * 400)
    for damaged in (packed[:-4], packed[: len(packed) // 2], packed + b"rubbish", b"plain text\n"):
        path.write_bytes(damaged)
        with pytest.raises(SourceError, match=f"{path}: it can't be decompressed as {compression}"):
            read(whole(path), compression)


def test_a_compression_bomb_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(_gzip_bomb(300 * _MIB))
    lines, dirty = read(whole(path), Compression.GZIP)
    assert (lines, len(dirty)) == ([(0, b"first")], 1)
    assert dirty[0].reason.startswith(f"the line has {300 * _MIB:,} bytes")


def test_the_ending_tells_the_compression() -> None:
    auto = Compression.AUTO
    assert [compression_of(f"a.{e}", auto) for e in ("gz", "ZST", "log", "1")] == ["gzip", "zstd", "none", "none"]
    assert compression_of("a.gz", Compression.NONE) == "none"
    with pytest.raises(SourceError, match=r"can't be read \(\.bz2\)"):
        compression_of("a.bz2", auto)


def test_a_file_that_only_grew_is_read_up_to_the_last_line_that_was_planned(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"one\ntwo\nthr")
    planned = whole(path)
    assert read(planned)[0] == [(0, b"one"), (4, b"two"), (8, b"thr")]  # nobody is writing: the last line is whole
    with path.open("ab") as file:
        file.write(b"ee\nfour\n")
    assert read(planned)[0] == [(0, b"one"), (4, b"two")]  # it was being written: it belongs to the next plan
    path.write_bytes(b"one\ntwo")
    planned = whole(path)
    with path.open("ab") as file:
        file.write(b"\nthree\n")
    assert read(planned)[0] == [(0, b"one"), (4, b"two")]


@pytest.mark.parametrize("change", ["shrunk", "rewritten", "replaced", "gone"])
def test_a_file_that_changed_since_the_plan_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"one\ntwo\n")
    planned = whole(path)
    match change:
        case "shrunk":
            os.truncate(path, 4)
        case "rewritten":
            path.write_bytes(b"ONE\nTWO\n")
            os.utime(path, ns=(0, (planned.file.modified_us + 1_000_000) * 1000))
        case "replaced":
            (tmp_path / "b").write_bytes(b"one\ntwo\nthree\n")
            os.replace(tmp_path / "b", path)
        case "gone":
            path.unlink()
    words = {
        "shrunk": "has 4 bytes instead of the 8",
        "rewritten": "written to",
        "replaced": "another file",
        "gone": "No such",
    }
    with pytest.raises(SourceError, match=words[change]):
        read(planned)


@settings(deadline=None)
@given(st.lists(st.integers(0, 600 * _MIB), max_size=12), st.integers(1, 16), st.booleans())
def test_splits_cover_every_byte_of_every_file_once_and_are_of_about_one_size(
    sizes: list[int], channels: int, zipped: bool
) -> None:
    files = [FileInfo(f"f{i}", size, 0) for i, size in enumerate(sizes)]
    compression = Compression.GZIP if zipped else Compression.NONE
    splits = plan_splits(files, [compression] * len(files), channels)
    pieces = sorted((p["file"], p["start"], p["end"]) for split in splits for p in split["pieces"])
    expected = [(i, 0) for i, size in enumerate(sizes) if size]
    covered: list[tuple[int, int]] = []
    for file, start, end in pieces:
        assert start < end
        assert (file, start) in [(file, 0), *((f, e) for f, e in covered)]
        covered.append((file, end))
    assert [i for i, _ in expected] == sorted({f for f, _ in covered})
    assert all(max(e for f, e in covered if f == i) == sizes[i] for i, _ in expected)
    if not zipped:
        assert all(sum(p["end"] - p["start"] for p in split["pieces"]) <= 128 * _MIB + 1 for split in splits)


def test_invalid_bytes_make_a_line_dirty_or_are_replaced() -> None:
    place_and_text = (b"good\nb\xffd\nk\xc3\xb6ln\n", Place("x", 0, 1))
    lines, texts = decode_lines(split_lines(*place_and_text), "utf-8", replace_invalid=False)
    assert texts.to_pylist() == ["good", "köln"]
    assert [(d.origin, d.raw) for d in lines.dirty] == [("x, byte 5 (line 2)", b"b\xffd")]
    assert "not valid utf-8" in lines.dirty[0].reason
    lines, texts = decode_lines(split_lines(*place_and_text), "utf-8", replace_invalid=True)
    assert (texts.to_pylist(), lines.dirty) == (["good", "b�d", "köln"], ())
    lines, texts = decode_lines(split_lines(*place_and_text), "latin-1", replace_invalid=False)
    assert texts.to_pylist() == ["good", "bÿd", "kÃ¶ln"]
