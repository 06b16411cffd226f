"""What stands before an API: cheap checks, in a fixed order, that let a call through or refuse it.

A guard is made once for each API and process (`GuardMaker`), when the API's plan is compiled; a request only calls it.
It must not wait: it decides from memory. What it returns, if not None, is called once when the call has ended, with
the exception that ended it, or None: to free a slot, or to tell a circuit breaker.

A call of several requests (`Call.requests`) is let through as that many, or refused as a whole: then each of them asks
by itself, and guards that had let it through are told `Apart`, so that none of it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from millrace.serving.call import Call, Plan

Ended: TypeAlias = Callable[[BaseException | None], None]
Guard: TypeAlias = Callable[[Call], Ended | None]
GuardMaker: TypeAlias = Callable[[Plan], Guard | None]


class Apart(Exception):
    """What a call of several requests ends with when a guard has refused it: it is as if it had never been."""


def chain(makers: Sequence[GuardMaker], plan: Plan) -> tuple[Guard, ...]:
    """The guards of one API, in the makers' order; a maker gives None for an API that it has nothing to say to."""
    return tuple(guard for make in makers if (guard := make(plan)) is not None)


def enter(guards: Sequence[Guard], call: Call) -> list[Ended]:
    """Pass all guards. When one refuses, those before it are told, and its error goes on; of several: `Apart`."""
    ended: list[Ended] = []
    try:
        for guard in guards:
            leave = guard(call)
            if leave is not None:
                ended.append(leave)
    except BaseException as error:
        if call.requests > 1 and isinstance(error, Exception):
            leave_all(ended, apart := Apart())
            raise apart from error
        leave_all(ended, error)
        raise
    return ended


def leave_all(ended: Sequence[Ended], error: BaseException | None) -> None:
    """Tell those who asked for it that the call has ended, the last one first."""
    for leave in reversed(ended):
        leave(error)
