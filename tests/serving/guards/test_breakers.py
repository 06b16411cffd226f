"""A breaker opens when a store fails, asks again after a pause, and closes only when the probes have passed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.serving.guards.breakers import Breaker, BreakerRules, BreakerState


def call(breaker: Breaker, failed: bool, now: float) -> bool:
    """One whole call; whether the store was asked."""
    if breaker.admit(now):
        return False
    breaker.tell(failed, now)
    return True


def opened(now: float = 100.0) -> Breaker:
    breaker = Breaker("redis_online")
    while breaker.state is BreakerState.CLOSED:
        call(breaker, True, now)
    return breaker


def test_a_store_that_answers_is_asked_for_ever() -> None:
    breaker = Breaker("redis_online")
    assert all(call(breaker, False, 100 + i / 100) for i in range(10_000))


def test_it_opens_after_five_failures_in_a_row_however_far_apart() -> None:
    breaker = Breaker("redis_online")
    assert all(call(breaker, True, 100 + 30 * i) for i in range(5))
    assert breaker.admit(220.5) == pytest.approx(0.5)


def test_it_opens_when_half_of_at_least_twenty_calls_have_failed() -> None:
    breaker = Breaker("redis_online")
    assert all(call(breaker, i % 2 == 1, 100 + i / 100) for i in range(20))
    assert not call(breaker, False, 100.6)
    assert breaker.admit(100.6) == pytest.approx(0.59)


def test_failures_of_long_ago_do_not_count() -> None:
    breaker = Breaker("redis_online")
    for i in range(19):
        call(breaker, i % 2 == 1, 100 + i / 100)
    call(breaker, True, 111)
    assert breaker.state is BreakerState.CLOSED


def test_few_failures_among_many_calls_do_not_open_it() -> None:
    breaker = Breaker("redis_online")
    for i in range(1000):
        call(breaker, i % 3 == 0, 100 + i / 1000)
    assert breaker.state is BreakerState.CLOSED


def test_after_the_pause_a_few_probes_go_through_and_close_it() -> None:
    breaker = opened()
    assert [breaker.admit(101.1) == 0.0 for _ in range(5)] == [True, True, True, False, False]
    for _ in range(3):
        breaker.tell(False, 101.2)
    assert breaker.state is BreakerState.CLOSED


def test_a_failed_probe_opens_it_again_for_twice_as_long_up_to_a_ceiling() -> None:
    breaker, now, pauses = opened(), 100.0, []
    for _ in range(8):
        pauses.append(breaker.admit(now))
        now += pauses[-1] + 0.001
        assert call(breaker, True, now)
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 30, 30, 30], abs=0.01)


def test_a_cancelled_probe_makes_room_for_another() -> None:
    breaker = opened()
    for _ in range(10):
        assert breaker.admit(101.1) == 0.0
        breaker.forget()


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 3.0)), max_size=300))
def test_whatever_happens_a_store_that_is_well_again_is_trusted_again(history: list[tuple[bool, float]]) -> None:
    breaker, now = Breaker("s", BreakerRules(min_calls=3)), 50.0
    for failed, gap in history:
        now += gap
        call(breaker, failed, now)
    for _ in range(10):
        now += breaker.rules.longest_pause_s
        call(breaker, False, now)
    assert breaker.state is BreakerState.CLOSED
