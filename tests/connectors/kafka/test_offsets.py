"""Which offsets a run reads: every one once, however they are cut."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from millrace.connectors.kafka.offsets import Ends, Range, Watermark, behind, since, split
from millrace.connectors.kafka.options import FirstOffset

_RANGES = st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**8)), min_size=1, max_size=20).map(
    lambda pairs: [Range(p, start, start + size) for p, (start, size) in enumerate(pairs)]
)


@given(_RANGES, st.integers(1, 32))
def test_splits_cover_every_offset_once(ranges: list[Range], channels: int) -> None:
    parts = split(ranges, channels)
    for whole in ranges:
        mine = [part for part in parts if part.partition == whole.partition]
        assert sum(part.size for part in mine) == whole.size
        assert all(part.size for part in mine)
        if mine:
            assert (mine[0].start, mine[-1].end) == (whole.start, whole.end)
            assert all(one.end == other.start for one, other in pairwise(mine))


@given(_RANGES, st.integers(1, 10**9))
def test_runs_with_a_limit_come_to_the_end_without_a_gap(ranges: list[Range], most: int) -> None:
    ends = Ends({r.partition: r.start for r in ranges}, {r.partition: r.end for r in ranges})
    total = sum(r.size for r in ranges)
    first = since(None, ends, FirstOffset.EARLIEST, most)
    assert first.size == min(most, total)
    watermark = Watermark("t", "id", {r.partition: r.end for r in first.ranges})
    rest = since(watermark, ends, FirstOffset.EARLIEST, None)
    assert first.size + rest.size == total
    assert (rest.lost, rest.beyond, rest.added, rest.gone) == ((), (), (), ())
    assert sum(behind(watermark, ends, same_topic=True).values()) == rest.size


def test_what_has_changed_since_is_told() -> None:
    ends = Ends({0: 50, 1: 0, 2: 0, 4: 70}, {0: 60, 1: 5, 2: 9, 4: 70})
    found = since(Watermark("t", "id", {0: 40, 1: 8, 3: 1, 4: 60}), ends, FirstOffset.EARLIEST, None)
    assert [(lost.partition, lost.start, lost.end) for lost in found.lost] == [(0, 40, 50), (4, 60, 70)]
    assert (found.beyond, found.added, found.gone) == ((1,), (2,), (3,))
    assert found.ranges == (Range(0, 50, 60), Range(1, 0, 5), Range(2, 0, 9), Range(4, 70, 70))


def test_a_watermark_is_kept_as_json() -> None:
    watermark = Watermark("t", "id", {1: 5, 0: 3}, "2026-01-01T00:00:00+00:00", {"b": "int", "a": "string"})
    data = watermark.to_json()
    assert data["schema"] == [["b", "int"], ["a", "string"]]
    assert Watermark.from_json(data) == watermark
    assert Watermark.from_json({"cursor": 7}) is None
