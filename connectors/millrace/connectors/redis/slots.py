"""Which node of a cluster holds a key: CRC16 over the key or its hash tag, modulo 16384.

https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model: CRC-16/XMODEM
(polynomial 0x1021, start 0). When a key has a `{` and behind it, not directly, a `}`, only what is between counts.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Slots = npt.NDArray[np.uint16]

SLOTS = 16384
Address = tuple[str, int]


def slot_of(key: bytes) -> int:
    """The slot of one key."""
    opening = key.find(b"{")
    if opening >= 0:
        closing = key.find(b"}", opening + 1)
        if closing > opening + 1:
            key = key[opening + 1 : closing]
    return binascii.crc_hqx(key, 0) % SLOTS


def slots_of(keys: pa.LargeBinaryArray, shared: bytes = b"") -> Slots:
    """The slot of each key, none of them null, computed byte column by byte column; each starts with `shared`."""
    import numpy as np

    from millrace.connectors.wire.rows import offsets_of

    offsets = offsets_of(keys)
    data = np.frombuffer(memoryview(keys.buffers()[2] or b""), np.uint8)
    starts = offsets[:-1] + len(shared)
    crc = _crc16(data, starts, offsets[1:] - starts, binascii.crc_hqx(shared, 0))
    tagged = np.flatnonzero(_has_brace(data, offsets))
    crc[tagged] = [slot_of(keys[row].as_py()) for row in tagged.tolist()]
    return crc % SLOTS


@dataclass(frozen=True)
class Topology:
    """The primaries of a cluster, and for each slot the index of its primary; -1 where there is none."""

    nodes: tuple[Address, ...]
    owners: tuple[int, ...]

    def node_of(self, key: bytes) -> Address | None:
        owner = self.owners[slot_of(key)]
        return self.nodes[owner] if owner >= 0 else None


def parse_slots(reply: Sequence[Any], asked: Address) -> Topology:
    """The topology in a CLUSTER SLOTS reply: `[start, end, [host, port, …primary], …replicas]` for each range.

    An empty or null host is the one that was asked.
    """
    nodes: dict[Address, int] = {}
    owners = [-1] * SLOTS
    for start, end, primary, *_replicas in reply:
        host = primary[0].decode() if primary[0] not in (None, b"", b"?") else asked[0]
        index = nodes.setdefault((host, int(primary[1])), len(nodes))
        owners[start : end + 1] = [index] * (end + 1 - start)
    return Topology(tuple(nodes), tuple(owners))


def _crc16(data: Any, starts: Any, lengths: Any, start: int) -> Slots:
    """CRC-16/XMODEM of many byte strings at once: one step for each position, over the strings that reach it."""
    import numpy as np

    table = np.array([binascii.crc_hqx(bytes([byte]), 0) for byte in range(256)], np.uint16)
    crc = np.full(len(starts), start, np.uint16)
    shortest = int(lengths.min()) if len(lengths) else 0
    for position in range(shortest):
        crc = (crc << np.uint16(8)) ^ table[(crc >> np.uint16(8)) ^ data[starts + position]]
    position, rows = shortest, np.flatnonzero(lengths > shortest)
    while len(rows):
        now = crc[rows]
        crc[rows] = (now << np.uint16(8)) ^ table[(now >> np.uint16(8)) ^ data[starts[rows] + position]]
        position += 1
        rows = rows[lengths[rows] > position]
    return crc


def _has_brace(data: Any, offsets: Any) -> Any:
    import numpy as np

    braces = data[offsets[0] : offsets[-1]] == ord("{")
    if not braces.any():
        return np.zeros(len(offsets) - 1, bool)
    before = np.concatenate(([0], np.cumsum(braces)))
    return np.diff(before[offsets - offsets[0]]) > 0
