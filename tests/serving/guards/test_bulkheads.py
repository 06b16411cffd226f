"""A compartment that is full refuses its own calls, and leaves room for those that matter more."""

from __future__ import annotations

from millrace.serving.guards.bulkheads import Compartment, Shares, Ship, enter, leave
from millrace.spec.priority import Priority

SHARES = Shares(slots=100)


def fill(compartments: tuple[Compartment, ...]) -> int:
    """Enter until it is refused; how many calls are in."""
    count = 0
    while enter(compartments) is None:
        count += 1
    return count


def test_low_leaves_room_for_medium_and_medium_for_high() -> None:
    ship = Ship(SHARES)
    low, medium, high = (ship.compartments("", p, None) for p in (Priority.LOW, Priority.MEDIUM, Priority.HIGH))
    assert fill(low) == 50
    assert fill(medium) == 30
    assert fill(high) == 20
    assert enter(high) is not None


def test_high_alone_may_have_all_slots_and_then_nobody_else_gets_one() -> None:
    ship = Ship(SHARES)
    assert fill(ship.compartments("", Priority.HIGH, None)) == 100
    refused = enter(ship.compartments("", Priority.LOW, None))
    assert refused is not None
    assert refused.name == "priority high"


def test_one_business_line_can_not_take_what_others_use() -> None:
    ship = Ship(SHARES)
    assert fill(ship.compartments("growth", Priority.HIGH, None)) == 60
    assert fill(ship.compartments("ads", Priority.HIGH, None)) == 40


def test_an_api_has_its_own_limit_and_says_so() -> None:
    own = Compartment("API user_profile", 3)
    compartments = Ship(SHARES).compartments("growth", Priority.LOW, own)
    assert fill(compartments) == 3
    assert enter(compartments) is own


def test_a_refused_call_takes_no_slot_and_those_that_leave_give_all_back() -> None:
    ship = Ship(SHARES)
    compartments = ship.compartments("growth", Priority.MEDIUM, Compartment("API x", 5))
    fill(compartments)
    enter(compartments)
    for _ in range(5):
        leave(compartments)
    assert [c.taken for c in compartments] == [0] * len(compartments)
