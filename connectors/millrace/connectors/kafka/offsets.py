"""Which offsets a run reads: from a watermark and what the topic holds now. Pure.

A range is `[start, end)` of one partition. In transactional and compacted topics some offsets in it have no message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from millrace.connectors.kafka.options import FirstOffset

Offsets = Mapping[int, int]
"""An offset of each partition."""

_LEAST_SPLIT = 20_000  # messages that are worth a task of their own
_SPLITS_PER_CHANNEL = 2


@dataclass(frozen=True)
class Ends:
    """What a topic holds: the first offset of each partition, and the one after its last."""

    first: Offsets
    after: Offsets


@dataclass(frozen=True)
class Watermark:
    """What the asset's published runs have taken of a topic: everything before `next` of each partition."""

    topic: str
    topic_id: str
    next: Offsets
    until: str | None = None  # with `data_interval`: the end of the newest published interval, ISO 8601
    schema: Mapping[str, str] | None = None  # columns and types that were inferred, in order

    def to_json(self) -> dict[str, Any]:
        return {
            "topic": self.topic,
            "topic_id": self.topic_id,
            "next": {str(p): offset for p, offset in sorted(self.next.items())},
            **({"until": self.until} if self.until else {}),
            **({"schema": [[name, type_] for name, type_ in self.schema.items()]} if self.schema else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> Watermark | None:
        """None for no watermark, and for one of another source, which the spec had before."""
        if not data or "topic" not in data or "next" not in data:
            return None
        schema = data.get("schema")
        return cls(
            topic=str(data["topic"]),
            topic_id=str(data.get("topic_id", "")),
            next={int(p): int(offset) for p, offset in data["next"].items()},
            until=data.get("until"),
            schema=dict(schema) if schema else None,
        )


@dataclass(frozen=True)
class Lost:
    """Messages of one partition that are gone though no published run has read them: `[start, end)`."""

    partition: int
    start: int
    end: int

    def __str__(self) -> str:
        return f"partition {self.partition}: offsets {self.start:,} to {self.end - 1:,}"


@dataclass(frozen=True)
class Range:
    """Offsets `[start, end)` of one partition."""

    partition: int
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start

    def to_json(self) -> dict[str, int]:
        return {"partition": self.partition, "start": self.start, "end": self.end}


@dataclass(frozen=True)
class Selection:
    """The ranges to read, one a partition, and what a person must know of them."""

    ranges: tuple[Range, ...]
    lost: tuple[Lost, ...] = ()
    beyond: tuple[int, ...] = ()  # partitions that end before what was read of them: truncated, or made anew
    added: tuple[int, ...] = ()  # partitions that the watermark doesn't know
    gone: tuple[int, ...] = field(default=())  # partitions that the topic doesn't have any more

    @property
    def size(self) -> int:
        return sum(r.size for r in self.ranges)


def since(watermark: Watermark | None, ends: Ends, first: FirstOffset, max_messages: int | None) -> Selection:
    """What came after the watermark; without one, everything, or with `latest` nothing but the place to go on from.

    A partition that is new is read from its start; one whose old messages are gone from its first that is there.
    """
    if watermark is None:
        start = ends.first if first is FirstOffset.EARLIEST else ends.after
        return Selection(_limited(_ranges(start, ends.after), max_messages))
    known = watermark.next
    starts = {p: known.get(p, earliest) for p, earliest in ends.first.items()}
    lost = tuple(Lost(p, starts[p], e) for p, e in sorted(ends.first.items()) if starts[p] < e <= ends.after[p])
    beyond = tuple(p for p in sorted(ends.first) if starts[p] > ends.after[p])
    placed = {p: max(starts[p], ends.first[p]) if p not in beyond else ends.first[p] for p in starts}
    return Selection(
        _limited(_ranges(placed, ends.after), max_messages),
        lost,
        beyond,
        added=tuple(sorted(set(ends.first) - set(known))),
        gone=tuple(sorted(set(known) - set(ends.first))),
    )


def between(start: Offsets, end: Offsets, lost: Sequence[Lost] = ()) -> Selection:
    """The offsets between those of two times."""
    return Selection(_ranges(start, {p: max(end[p], start[p]) for p in start}), tuple(lost))


def split(ranges: Sequence[Range], channels: int) -> tuple[Range, ...]:
    """Cut big ranges into even parts, so that every channel has work; ranges without offsets are left out."""
    total = sum(r.size for r in ranges)
    wanted = min(channels * _SPLITS_PER_CHANNEL, max(1, total // _LEAST_SPLIT))
    size = max(1, -(-total // wanted)) if total else 1
    parts: list[Range] = []
    for r in ranges:
        count = max(1, round(r.size / size)) if r.size else 0
        cuts = [r.start + r.size * i // count for i in range(count + 1)] if count else []
        parts += [Range(r.partition, a, b) for a, b in pairwise(cuts)]
    return tuple(parts)


def behind(watermark: Watermark | None, ends: Ends, same_topic: bool) -> dict[int, int]:
    """Messages (offsets) of each partition that no published run has read and that are still there."""
    known = watermark.next if watermark is not None and same_topic else {}
    return {p: after - min(after, max(known.get(p, 0), ends.first[p])) for p, after in sorted(ends.after.items())}


def _ranges(start: Offsets, end: Offsets) -> tuple[Range, ...]:
    return tuple(Range(p, start[p], end[p]) for p in sorted(start))


def _limited(ranges: tuple[Range, ...], most: int | None) -> tuple[Range, ...]:
    """At most so many offsets, of each partition as large a share as it has of all."""
    total = sum(r.size for r in ranges)
    if most is None or total <= most:
        return ranges
    shares = [r.size * most // total for r in ranges]
    left = most - sum(shares)
    for i, r in enumerate(ranges):
        extra = min(left, r.size - shares[i])
        shares[i] += extra
        left -= extra
    return tuple(Range(r.partition, r.start, r.start + share) for r, share in zip(ranges, shares, strict=True))
