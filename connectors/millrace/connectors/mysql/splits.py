"""Where a table is cut: pure decisions over a few questions that the server answers from its index.

A segment is a range of keys that exist, first and last included. The fullest one is cut at its middle, again and again;
every cut is a key that the server found, in the server's own order, so that ranges between cuts hold every row once
whatever the collation. Then neighbours are put together to splits of about the same size (the idea of SeaTunnel's
DynamicChunkSplitter, which samples the table instead).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from millrace.connectors.mysql.key import SplitKey, Value, probes_between

SPLITS_PER_CHANNEL = 4
_LEAST_ROWS = 25_000
_MOST_ROWS = 2_000_000
_MOST_SPLITS = 512
_SEGMENTS_PER_SPLIT = 4
_MOST_SEGMENTS = 500
_LOPSIDED = 0.05


class Keys(Protocol):
    """What the server is asked about a table's keys; each answer takes O(log n) by the index."""

    def rows_between(self, first: Value, last: Value) -> int:
        """An estimate of the rows from one key to another, both included."""

    def first_from(self, probe: Value, first: Value, last: Value) -> Value | None:
        """The first key that is `probe` or comes after it, of those after `first` and up to `last`."""

    def last_before(self, key: Value, first: Value) -> Value:
        """The last key before this one; at least `first`."""


@dataclass(frozen=True)
class Segment:
    first: Value
    last: Value
    rows: int


def wanted_splits(rows: int, channels: int) -> int:
    """How many splits are worth their statements: several for each channel, and none of too many rows."""
    worth = max(SPLITS_PER_CHANNEL * channels, -(-rows // _MOST_ROWS))
    return max(1, min(worth, rows // _LEAST_ROWS, _MOST_SPLITS))


def is_dense(rows: int, first: Value, last: Value) -> bool:
    """Whether a counted key has few gaps, so that even ranges hold about as many rows each."""
    return int(last) - int(first) < 2 * rows


def even_cuts(first: Value, last: Value, count: int) -> list[Value]:
    """The cuts of `count` ranges of the same length between two counted keys."""
    low, span = int(first), int(last) - int(first) + 1
    return sorted({low + span * i // count for i in range(1, count)} - {low})


def cuts_by_index(key: SplitKey, keys: Keys, first: Value, last: Value, count: int) -> list[Value]:
    """The cuts that make `count` ranges of about the same number of rows, found in the index."""
    segments = _segments(key, keys, first, last, min(_SEGMENTS_PER_SPLIT * count, count + _MOST_SEGMENTS))
    left = sum(segment.rows for segment in segments)
    cuts: list[Value] = []
    group = 0
    for segment, following in pairwise(segments):
        group += segment.rows
        if group * (count - len(cuts)) >= left and len(cuts) < count - 1:
            cuts.append(following.first)
            left, group = left - group, 0
    return cuts


def quantile_cuts(sample: Sequence[Value], count: int) -> list[Value]:
    """The cuts at the quantiles of a sample that the server has put in order, each key once."""
    places = sorted({len(sample) * i // count for i in range(1, count)} - {0})
    return [sample[place] for place in places if place < len(sample)]


def make_splits(cuts: Sequence[Value], last: Value | None, *, nullable: bool) -> tuple[Mapping[str, Any], ...]:
    """The ranges between the cuts: the first open below, the others from a cut, the last one up to `last` included.

    Rows whose key comes after `last` were not there when the plan was made, and are not read. NULL has its own split.
    """
    bounds = [None, *cuts, last]
    ranges: list[Mapping[str, Any]] = []
    for i in range(len(bounds) - 1):
        final = i == len(bounds) - 2
        ranges.append({"from": bounds[i], "to": bounds[i + 1], "closed": final})
    return (*ranges, {"null": True}) if nullable else tuple(ranges)


def _segments(key: SplitKey, keys: Keys, first: Value, last: Value, most: int) -> list[Segment]:
    """Segments in the server's order, none of which could be cut and holds more than its share."""
    found = [Segment(first, last, keys.rows_between(first, last))]
    whole: set[Value] = set()  # the first keys of segments that can't be cut
    while len(found) < most:
        fullest = max((s for s in found if s.first not in whole), key=lambda s: s.rows, default=None)
        if fullest is None or fullest.rows * most <= sum(s.rows for s in found):
            break
        parts = _halves(key, keys, fullest)
        if parts is None:
            whole.add(fullest.first)
        else:
            place = found.index(fullest)
            found[place : place + 1] = parts
    return found


def _halves(key: SplitKey, keys: Keys, segment: Segment) -> tuple[Segment, Segment] | None:
    """The segment cut at the best of a few guesses; None when no key lies between its ends."""
    best: tuple[Segment, Segment] | None = None
    best_share = -1.0
    for probe in probes_between(key, segment.first, segment.last):
        cut = keys.first_from(probe, segment.first, segment.last)
        if cut is None:
            continue
        before = keys.last_before(cut, segment.first)
        left = Segment(segment.first, before, keys.rows_between(segment.first, before))
        right = Segment(cut, segment.last, keys.rows_between(cut, segment.last))
        share = min(left.rows, right.rows) / max(left.rows + right.rows, 1)
        if share > best_share:
            best, best_share = (left, right), share
        if share >= _LOPSIDED:
            break
    return best
