"""The rate budget and the dirty limits, as pure decisions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millrace.jobs.budget import DirtyLimit, RateBudget


@given(
    rate=st.floats(1.0, 1e6),
    batches=st.lists(st.tuples(st.integers(1, 5000), st.floats(0.0, 0.05)), min_size=20, max_size=200),
)
def test_obedient_tasks_never_pass_more_than_the_rate_and_a_burst(
    rate: float, batches: list[tuple[int, float]]
) -> None:
    budget = RateBudget(rate)
    now = 100.0
    passed = 0
    for amount, pause in batches:
        now += pause + budget.book(amount, now + pause)
        passed += amount
        assert passed <= rate * (now - 100.0 + budget.burst_s) + 1e-6 * passed


def test_the_mean_over_a_run_is_the_limit() -> None:
    budget = RateBudget(1000.0)
    now = start = 50.0
    for _ in range(200):
        now += budget.book(100, now)
    assert abs(20_000 / (now - start) - 1000.0) < 1000.0 * 0.02


def test_no_limit_never_waits() -> None:
    assert RateBudget(None).book(10**9, 0.0) == 0.0


def test_idle_time_is_not_saved_up_beyond_the_burst() -> None:
    budget = RateBudget(100.0, burst_s=0.5)
    assert budget.book(50, 1000.0) == 0.0
    assert budget.book(50, 1000.0) == 0.5
    assert budget.book(1, 2000.0) == 0.0


def test_a_count_of_zero_stops_at_the_first_dirty_row() -> None:
    limit = DirtyLimit(0, None)
    assert limit.verdict(0, 100, None, final=False) is None
    assert "allows 0" in (limit.verdict(1, 100, None, final=False) or "")


def test_bad_rows_at_the_start_of_good_data_do_not_stop_a_run() -> None:
    limit = DirtyLimit(None, 0.01)
    assert limit.verdict(50, 60, 10_000, final=False) is None
    assert limit.verdict(101, 150, 10_000, final=False) is not None


def test_the_ratio_counts_what_was_seen_when_the_step_is_over() -> None:
    limit = DirtyLimit(None, 0.1)
    assert limit.verdict(2, 10, 10_000, final=False) is None
    assert "2 dirty records among 10 rows (20.00%)" in (limit.verdict(2, 10, 10_000, final=True) or "")


def test_each_limit_holds_on_its_own() -> None:
    limit = DirtyLimit(5, 0.5)
    assert limit.verdict(6, 1_000_000, None, final=True) is not None
    assert limit.verdict(5, 8, None, final=True) is not None
    assert limit.verdict(5, 1000, None, final=True) is None
