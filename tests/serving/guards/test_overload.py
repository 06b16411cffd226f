"""The overload guard sheds only when the worker is late, only what it can't bear, and low priorities first."""

from __future__ import annotations

from millrace.serving.guards.overload import Overload
from millrace.spec.priority import Priority


def busy(late_s: float, in_flight: int) -> Overload:
    """A worker that ends 1,000 calls a second of 20 ms each, so 20 at once, and whose timer is so late."""
    load, now = Overload(), 100.0
    for _ in range(1000):
        assert load.admit(Priority.HIGH)
        now += 0.001
        load.ended(0.02, now)
    for _ in range(50):
        load.tick(late_s, now)
    for _ in range(in_flight):
        load.in_flight += 1
    return load


def admitted(load: Overload) -> list[Priority]:
    return [p for p in Priority if load.admit(p)]


def test_a_worker_in_time_admits_everything_however_much_is_in_flight() -> None:
    assert admitted(busy(0.001, in_flight=5000)) == list(Priority)


def test_a_late_worker_admits_what_it_can_bear() -> None:
    assert admitted(busy(1.0, in_flight=10)) == list(Priority)


def test_the_later_it_is_the_more_is_shed_low_first() -> None:
    assert admitted(busy(0.03, in_flight=100)) == [Priority.HIGH, Priority.MEDIUM]
    assert admitted(busy(0.1, in_flight=100)) == [Priority.HIGH]
    assert admitted(busy(0.5, in_flight=100)) == []


def test_what_is_shed_is_counted_and_one_hiccup_sheds_nothing() -> None:
    load = busy(0.001, in_flight=100)
    load.tick(0.04, 101.0)
    assert load.admit(Priority.LOW)
    late = busy(0.5, in_flight=100)
    assert not late.admit(Priority.LOW)
    assert late.shed == 1


def test_a_call_that_ends_makes_room() -> None:
    load = busy(1.0, in_flight=20)
    assert not load.admit(Priority.HIGH)
    load.ended(0.02, 101.0)
    assert load.admit(Priority.HIGH)
