"""Requests that one turn of the loop brings, answered together: one look at what is allowed, one question to the store.

Each still has its own answer, its own place in its connection's order, and its own error. What can't be done for all at
once is done for each by itself: a call that a guard refuses, a key that doesn't fit, a row that is kept but stale.
"""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from time import monotonic
from typing import Any, TypeAlias, TypeVar

from millrace.errors import TransientError
from millrace.serving.call import Call, Context, Operation
from millrace.serving.formats import Format, negotiate
from millrace.serving.guards import Apart, Ended, enter, leave_all
from millrace.serving.http.api_lane import ApiLane, Wishes, whole_answer
from millrace.serving.http.connection import Exchange
from millrace.serving.http.problems import problem_of
from millrace.serving.http.run import Run
from millrace.serving.refusals import status_of
from millrace.serving.views import View

log = logging.getLogger(__name__)

T = TypeVar("T")


class Gathered:
    """The requests of one turn: for each its exchange, and what was asked: a key, or the body of a get of `many`."""

    def __init__(
        self,
        lane: ApiLane,
        wishes: Wishes,
        exchanges: list[Exchange],
        asked: list[bytes],
        started: float,
        *,
        many: bool,
    ) -> None:
        self.lane, self.wishes = lane, wishes
        self.exchanges, self.asked = exchanges, asked
        self.started, self.many = started, many
        self.consumer = "anonymous"
        self.wanted = Format.JSON
        self.view: View | None = None
        self.ended: Sequence[Ended] = ()

    def introduce(self) -> Context:
        """Who asks, and for which format. Raises Unauthenticated, NotAcceptable."""
        context = Context(self.lane.identify(self.wishes.credential))
        self.consumer = context.consumer.name
        self.wanted = negotiate(self.wishes.accept)
        return context

    def enter(self, operation: Operation, context: Context, places: Sequence[int]) -> bool:
        """Whether the guards let these through together; else each of them is answered already."""
        call = Call(operation, self.asked, context, requests=len(places))
        try:
            self.ended = enter(self.lane.guards, call)
        except Apart:
            self.answer_alone(places)
            return False
        except Exception as error:  # of the only one
            self.refuse(places[0], "none", error)
            return False
        self.view = self.lane.api.view(call.view)
        return True

    def answer_alone(self, places: Sequence[int]) -> None:
        """Answer each of these by itself, guards and all."""
        for place in places:
            self.lane.answer_alone(self.exchanges[place], self.wishes, self.asked[place], many=self.many)

    async def asked_for(
        self, places: Sequence[int], ask: Callable[[], Awaitable[T]], instead: Callable[[Exception], None]
    ) -> T | None:
        """What the store has for these; None when they are answered without it.

        `instead` answers them while it is away. Who gives what it has tells the guards that they have `ended`.
        """
        try:
            return await ask()
        except (TransientError, TimeoutError) as error:
            leave_all(self.ended, error)
            instead(error)
        except Exception as error:
            self.part(places, error)
        except BaseException as error:
            leave_all(self.ended, error)
            self.abort(places)
            raise
        return None

    def part(self, places: Sequence[int], error: Exception) -> None:
        """Asking for all of these has failed, and it may be the fault of one: each asks by itself."""
        if len(self.asked) == 1:
            leave_all(self.ended, error)
            self.refuse(places[0], "none", error)
        else:
            leave_all(self.ended, Apart())
            self.answer_alone(places)

    def refuse(self, place: int, origin: str, error: Exception) -> None:
        """Answer one with what is wrong."""
        exchange = self.exchanges[place]
        exchange.finish(whole_answer(problem_of(error, self.lane.name), exchange))
        self.count(origin, status_of(error)[1], 1)

    def count(self, origin: str, code: str, requests: int) -> None:
        """So many have ended in this way."""
        if requests:
            took_s = monotonic() - self.started
            self.lane.count(self.lane.name, self.consumer, origin, code, took_s, requests)

    def abort(self, places: Sequence[int]) -> None:
        """There will be no answer: let each of these clients see it."""
        for place in places:
            self.exchanges[place].connection.abort()


#: Answers what was gathered. Never raises an Exception.
Answerer: TypeAlias = Callable[[Gathered], Coroutine[Any, Any, None]]


class Turn:
    """Gathers requests to one API with the same headers until the loop has read all that came; then `answer`s them.

    `lane_of` gives the API's lane at that time; None when it has none any more, and `otherwise` answers each.
    """

    __slots__ = (
        "_answer",
        "_asked",
        "_exchanges",
        "_lane_of",
        "_loop",
        "_many",
        "_most",
        "_otherwise",
        "_started",
        "_wishes",
    )

    def __init__(
        self,
        loop: AbstractEventLoop,
        wishes: Wishes,
        lane_of: Callable[[], ApiLane | None],
        otherwise: Callable[[Exchange, bytes], None],
        answer: Answerer,
        *,
        most: int,
        many: bool,
    ) -> None:
        self._loop, self._wishes, self._lane_of, self._otherwise = loop, wishes, lane_of, otherwise
        self._answer, self._most, self._many = answer, most, many
        self._exchanges: list[Exchange] = []
        self._asked: list[bytes] = []
        self._started = 0.0

    def add(self, exchange: Exchange, asked: bytes) -> None:
        """Answer soon: a get of this key, as it stands in the address, or an mget with this body."""
        gathered = self._asked
        if not gathered:
            self._started = monotonic()
            self._loop.call_soon(self._begin)
        self._exchanges.append(exchange)
        gathered.append(asked)
        if len(gathered) >= self._most:
            self._begin()

    def _begin(self) -> None:
        exchanges, gathered = self._exchanges, self._asked
        if not gathered:
            return
        self._exchanges, self._asked = [], []
        lane = self._lane_of()
        if lane is None:
            for exchange, asked in zip(exchanges, gathered, strict=True):
                self._otherwise(exchange, asked)
            return
        found = Gathered(lane, self._wishes, exchanges, gathered, self._started, many=self._many)
        Run(self._answered(found)).step()

    async def _answered(self, found: Gathered) -> None:
        try:
            await self._answer(found)
        except Exception:  # clients shall not wait for an answer that never comes
            log.exception("requests that came together could not be answered")
            found.abort(range(len(found.asked)))
