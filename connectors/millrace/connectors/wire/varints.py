"""Base-128 varints of whole columns (https://protobuf.dev/programming-guides/encoding/#varints)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from millrace.connectors.wire.rows import Cells, Integers, Mask, from_matrix
from millrace.connectors.wire.varint import varint

_Words = npt.NDArray[np.uint64]
_GROUP_BITS = 7
_LOW_BITS = 56  # what eight groups hold
_LOW_BYTES = 8
_MAX_BYTES = 10
# Continuation bits of the low eight bytes, by the varint's length.
_CONTINUED = np.array(
    [sum(0x80 << 8 * byte for byte in range(min(max(size - 1, 0), 8))) for size in range(_MAX_BYTES + 1)], np.uint64
)
# To spread 7-bit groups: those `bytes_apart` move up by `shift` bits, coarsest first.
_HALVINGS = tuple(
    (bytes_apart, np.uint64(low), np.uint64(high), np.uint64(bytes_apart))
    for bytes_apart, low, high in (
        (4, 0x0000_0000_0FFF_FFFF, 0x00FF_FFFF_F000_0000),
        (2, 0x0000_3FFF_0000_3FFF, 0x0FFF_C000_0FFF_C000),
        (1, 0x007F_007F_007F_007F, 0x3F80_3F80_3F80_3F80),
    )
)


def varint_cells(values: Integers, prefix: bytes, present: Mask | None) -> Cells:
    """`prefix` and the varint of each value; negative values take ten bytes, as Protobuf's int32 and int64 do."""
    words = values.view(np.uint64) if present is None else np.where(present, values, 0).view(np.uint64)
    sizes = varint_sizes(words)
    longest = int(sizes.max(initial=1))
    start = len(prefix)
    matrix = np.empty((len(words), start + (longest if longest <= _LOW_BYTES else _MAX_BYTES)), np.uint8)
    matrix[:, :start] = np.frombuffer(prefix, np.uint8)
    low = (_spread(words, longest) | _CONTINUED[sizes]).astype("<u8", copy=False)
    matrix[:, start : start + _LOW_BYTES] = low.view(np.uint8).reshape(-1, _LOW_BYTES)[:, : min(longest, _LOW_BYTES)]
    if longest > _LOW_BYTES:
        continued = np.where(sizes == _MAX_BYTES, np.uint64(0x80), np.uint64(0))
        matrix[:, start + 8] = (words >> np.uint64(_LOW_BITS)) & np.uint64(0x7F) | continued
        matrix[:, start + 9] = words >> np.uint64(_LOW_BITS + _GROUP_BITS)
    if matrix.shape[1] == start + longest and int(sizes.min(initial=longest)) == longest:
        return from_matrix(matrix, present=present)
    return from_matrix(matrix, sizes + start, present)


def varint_sizes(words: _Words) -> Integers:
    """Bytes of each varint, 1 to 10."""
    if not len(words):
        return np.zeros(0, np.int64)
    least, most = (len(varint(int(word))) for word in (words.min(), words.max()))
    sizes = np.full(len(words), least, np.int64)
    for size in range(least, most):
        sizes += words >= np.uint64(1 << _GROUP_BITS * size)
    return sizes


def _spread(words: _Words, longest: int) -> _Words:
    """The low 56 bits with their groups of 7 spread over 8 bytes, by halving; `longest` varints need fewer halvings."""
    found = words
    for bytes_apart, low, high, shift in _HALVINGS:
        if longest > bytes_apart:
            found = (found & low) | ((found & high) << shift)
    return found
