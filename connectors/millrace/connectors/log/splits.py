"""How the bytes of many files are dealt out to tasks. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from millrace.connectors.files import FileInfo
from millrace.connectors.log.options import Compression

_SPLITS_PER_CHANNEL = 4
_LEAST_BYTES = 4 << 20
_MOST_BYTES = 128 << 20
_COMPRESSED_WEIGHT = 6  # a byte of compressed log is about so many of text


def plan_splits(
    files: Sequence[FileInfo],
    compressions: Sequence[Compression],
    channels: int,
    ranges: Sequence[tuple[int, int]] | None = None,
) -> list[dict[str, Any]]:
    """Parts of about the same work, several for each channel, the largest first so that none starts late.

    `ranges` are the bytes `[start, end)` to read of each file; all by default.

    A split is `{"pieces": [{"file": its index, "start": byte, "end": byte}]}`: a part of one large file, or several
    small files. A compressed file stays whole.
    """
    ranges = [(0, file.size) for file in files] if ranges is None else ranges
    weights = [_weight(end - start, c) for (start, end), c in zip(ranges, compressions, strict=True)]
    target = max(_LEAST_BYTES, min(_MOST_BYTES, sum(weights) // (_SPLITS_PER_CHANNEL * channels) + 1))
    found: list[tuple[int, list[dict[str, int]]]] = [(0, [])]
    for weight, piece in _pieces(ranges, compressions, target):
        filled, pieces = found[-1]
        if pieces and filled + weight > target:
            found.append((weight, [piece]))
        else:
            found[-1] = (filled + weight, [*pieces, piece])
    found.sort(key=lambda split: -split[0])
    return [{"pieces": pieces} for _, pieces in found if pieces]


def _pieces(
    ranges: Sequence[tuple[int, int]], compressions: Sequence[Compression], target: int
) -> Iterator[tuple[int, dict[str, int]]]:
    for index, ((first, last), compression) in enumerate(zip(ranges, compressions, strict=True)):
        size = last - first
        count = -(-size // target) if compression is Compression.NONE else min(size, 1)
        for part in range(count):
            start, end = first + size * part // count, first + size * (part + 1) // count
            yield _weight(end - start, compression), {"file": index, "start": start, "end": end}


def _weight(size: int, compression: Compression) -> int:
    return size if compression is Compression.NONE else size * _COMPRESSED_WEIGHT
