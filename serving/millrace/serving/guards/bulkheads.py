"""Bulkheads: how many calls may be in flight at once, by API, and by business line and priority.

What waits for a slow store holds its slot; when its compartment is full, only that compartment is refused. The shares
leave room above: `low` never fills what `medium` and `high` may use, and no business line fills what others may use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from millrace.spec.priority import Priority

DEFAULT_SLOTS = 1024


@dataclass
class Compartment:
    """A number of slots, and how many are taken."""

    name: str
    slots: int
    taken: int = 0


@dataclass(frozen=True)
class Shares:
    """Which part of a worker's slots each priority, and any one business line, may have at the same time."""

    slots: int = DEFAULT_SLOTS
    by_priority: Mapping[Priority, float] = field(
        default_factory=lambda: {Priority.HIGH: 1.0, Priority.MEDIUM: 0.8, Priority.LOW: 0.5}
    )
    business_line: float = 0.6


class Ship:
    """All compartments of a worker. A call takes a slot in each that concerns it, or in none.

    A priority's compartment counts the calls of that priority and of those below it.
    """

    def __init__(self, shares: Shares | None = None) -> None:
        self._shares = shares or Shares()
        slots = self._shares.slots
        self._by_priority = {
            p: Compartment(f"priority {p}", int(slots * self._shares.by_priority[p])) for p in Priority
        }
        self._by_line: dict[tuple[str, Priority], Compartment] = {}

    def compartments(self, business_line: str, priority: Priority, api: Compartment | None) -> tuple[Compartment, ...]:
        """Where calls of an API take their slots: its own limit first, then its business line's, then its priority's.

        A call of `low` takes one of `medium`'s and `high`'s slots too, so that all together never exceed the worker's.
        """
        found = [] if api is None else [api]
        if business_line:
            found.append(self._line(business_line, priority))
        order = (Priority.LOW, Priority.MEDIUM, Priority.HIGH)
        found += [self._by_priority[p] for p in order[order.index(priority) :]]
        return tuple(found)

    def _line(self, name: str, priority: Priority) -> Compartment:
        shares = self._shares
        slots = int(shares.slots * shares.business_line * shares.by_priority[priority])
        made = Compartment(f"business line {name}, priority {priority}", slots)
        return self._by_line.setdefault((name, priority), made)


def enter(compartments: tuple[Compartment, ...], slots: int = 1) -> Compartment | None:
    """Take so many slots in each; or take none, and give the one that has not as many left."""
    for compartment in compartments:
        if compartment.taken + slots > compartment.slots:
            return compartment
    for compartment in compartments:
        compartment.taken += slots
    return None


def leave(compartments: tuple[Compartment, ...], slots: int = 1) -> None:
    """Give the slots back."""
    for compartment in compartments:
        compartment.taken -= slots
