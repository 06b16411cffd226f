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


def plan_splits(files: Sequence[FileInfo], compressions: Sequence[Compression], channels: int) -> list[dict[str, Any]]:
    """Parts of about the same work, several for each channel, the largest first so that none starts late.

    A split is `{"pieces": [{"file": its index, "start": byte, "end": byte}]}`: a part of one large file, or several
    small files. A compressed file stays whole.
    """
    weights = [_weight(f.size, c) for f, c in zip(files, compressions, strict=True)]
    target = max(_LEAST_BYTES, min(_MOST_BYTES, sum(weights) // (_SPLITS_PER_CHANNEL * channels) + 1))
    found: list[tuple[int, list[dict[str, int]]]] = [(0, [])]
    for weight, piece in _pieces(files, compressions, target):
        filled, pieces = found[-1]
        if pieces and filled + weight > target:
            found.append((weight, [piece]))
        else:
            found[-1] = (filled + weight, [*pieces, piece])
    found.sort(key=lambda split: -split[0])
    return [{"pieces": pieces} for _, pieces in found if pieces]


def _pieces(
    files: Sequence[FileInfo], compressions: Sequence[Compression], target: int
) -> Iterator[tuple[int, dict[str, int]]]:
    for index, (file, compression) in enumerate(zip(files, compressions, strict=True)):
        count = -(-file.size // target) if compression is Compression.NONE else min(file.size, 1)
        for part in range(count):
            start, end = file.size * part // count, file.size * (part + 1) // count
            yield _weight(end - start, compression), {"file": index, "start": start, "end": end}


def _weight(size: int, compression: Compression) -> int:
    return size if compression is Compression.NONE else size * _COMPRESSED_WEIGHT
