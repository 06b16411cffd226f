"""Rate limits let through what they say, and no more, also when a server's workers share one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.serving.guards.rates import Bucket, SharedRate, Slots


def passed(limit: Bucket | SharedRate, moments: list[float]) -> int:
    return sum(limit.take(moment) == 0.0 for moment in moments)


def evenly(per_second: int, start_s: float, seconds: float) -> list[float]:
    return [start_s + i / per_second for i in range(int(per_second * seconds))]


def test_what_stays_below_the_rate_always_passes() -> None:
    assert passed(Bucket(100), evenly(99, 5.0, 20)) == 99 * 20


def test_what_is_above_it_is_cut_to_the_rate() -> None:
    assert passed(Bucket(100), evenly(1000, 5.0, 20)) == pytest.approx(100 * 21, abs=1)  # one second's burst besides


def test_a_burst_of_one_second_passes_at_once_and_the_next_request_is_told_when() -> None:
    bucket = Bucket(10)
    assert [bucket.take(7.0) for _ in range(10)] == [0.0] * 10
    assert bucket.take(7.0) == pytest.approx(0.1)
    assert bucket.take(7.05) == pytest.approx(0.05)
    assert bucket.take(7.1) == 0.0


def test_a_rate_of_less_than_one_a_second_lets_one_through() -> None:
    bucket = Bucket(0.1)
    assert bucket.take(3.0) == 0.0
    assert bucket.take(12.0) == pytest.approx(1.0)
    assert bucket.take(13.0) == 0.0


@given(st.integers(1, 500), st.lists(st.floats(0.0, 0.2), min_size=1, max_size=300))
def test_no_stretch_of_time_has_more_than_its_budget(rate: int, gaps: list[float]) -> None:
    now, bucket = 100.0, Bucket(rate)
    let_through = []
    for gap in gaps:
        now += gap
        if bucket.take(now) == 0.0:
            let_through.append(now)
    for first in range(len(let_through)):
        for last in range(first, len(let_through)):
            span = let_through[last] - let_through[first]
            assert last - first + 1 <= rate * (span + 1.0) + 1 + 1e-6


def two_workers(folder: Path, limit: float) -> tuple[SharedRate, SharedRate]:
    first, second = (SharedRate(limit, Slots(folder, "an api", worker, 2)) for worker in range(2))
    return first, second


def in_step(first: SharedRate, second: SharedRate, per_second: tuple[int, int], seconds: int) -> tuple[int, int]:
    """Ask both workers evenly for so long; what passed in the second half, when shares have settled."""
    moments = sorted(
        [(t, 0) for t in evenly(per_second[0], 10, seconds)] + [(t, 1) for t in evenly(per_second[1], 10, seconds)]
    )
    counts = [0, 0]
    for moment, worker in moments:
        let = (first, second)[worker].take(moment) == 0.0
        if let and moment >= 10 + seconds / 2:
            counts[worker] += 1
    return counts[0], counts[1]


def test_two_workers_together_keep_the_limit(tmp_path: Path) -> None:
    both = sum(in_step(*two_workers(tmp_path, 200), (400, 400), 20))
    assert both == pytest.approx(200 * 10, rel=0.1)


def test_a_worker_that_gets_all_the_traffic_gets_all_the_budget(tmp_path: Path) -> None:
    busy, idle = in_step(*two_workers(tmp_path, 200), (190, 1), 20)
    assert busy == pytest.approx(190 * 10, rel=0.05)
    assert idle == 10


def test_a_worker_that_has_gone_leaves_its_share(tmp_path: Path) -> None:
    first, second = two_workers(tmp_path, 100)
    in_step(first, second, (300, 300), 4)
    assert passed(first, evenly(300, 20, 10)) == pytest.approx(100 * 11, rel=0.05)
