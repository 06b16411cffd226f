"""Gets that came in one turn of the loop, answered together: one look at what is allowed, one question to the store.

Each still has its own answer, its own place in its connection's order, and its own error. What can't be done for all at
once is done for each by itself: a call that a guard refuses, a key that doesn't fit, a row that is kept but stale.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, TypeAlias

from millrace.connectors.base import Form
from millrace.errors import TransientError
from millrace.serving.call import Call, Context, Operation, Origin
from millrace.serving.formats import Format, encode_row, negotiate
from millrace.serving.guards import Apart, Ended, enter, leave_all
from millrace.serving.http.api_lane import ApiLane, Wishes, timing_line, whole_answer
from millrace.serving.http.compress import SMALLEST
from millrace.serving.http.connection import Exchange
from millrace.serving.http.problems import problem_of
from millrace.serving.http.run import Run
from millrace.serving.kv.rows import StoredRow
from millrace.serving.refusals import status_of
from millrace.serving.views import narrowed_row

Fallback: TypeAlias = Callable[[Exchange, bytes], None]
_MOST = 512


class Turn:
    """Gathers gets of one API by requests with the same headers until the loop has read all that came; then answers.

    `lane_of` gives the API's lane at that time; None when it has none any more, and `otherwise` answers each.
    """

    __slots__ = ("_exchanges", "_keys", "_lane_of", "_loop", "_otherwise", "_started", "_wishes")

    def __init__(
        self,
        loop: AbstractEventLoop,
        wishes: Wishes,
        lane_of: Callable[[], ApiLane | None],
        otherwise: Fallback,
    ) -> None:
        self._loop, self._wishes, self._lane_of, self._otherwise = loop, wishes, lane_of, otherwise
        self._exchanges: list[Exchange] = []
        self._keys: list[bytes] = []
        self._started = 0.0

    def add(self, exchange: Exchange, key: bytes) -> None:
        """Answer a get of this key, as it stands in the address, soon."""
        keys = self._keys
        if not keys:
            self._started = monotonic()
            self._loop.call_soon(self._begin)
        self._exchanges.append(exchange)
        keys.append(key)
        if len(keys) >= _MOST:
            self._begin()

    def _begin(self) -> None:
        exchanges, keys = self._exchanges, self._keys
        if not keys:
            return
        self._exchanges, self._keys = [], []
        lane = self._lane_of()
        if lane is None:
            for exchange, key in zip(exchanges, keys, strict=True):
                self._otherwise(exchange, key)
            return
        gets = _Gets(lane, self._wishes, exchanges, keys, self._started)
        Run(gets.answer()).step()


class _Gets:
    """The gets of one turn."""

    def __init__(
        self, lane: ApiLane, wishes: Wishes, exchanges: list[Exchange], keys: list[bytes], started: float
    ) -> None:
        self._lane, self._wishes = lane, wishes
        self._exchanges, self._keys = exchanges, keys
        self._started = started
        self._consumer = "anonymous"
        self._ended: Sequence[Ended] = ()

    async def answer(self) -> None:
        """Answer each of them. Never raises an Exception."""
        lane = self._lane
        try:
            context = Context(lane.identify(self._wishes.credential))
            self._consumer = context.consumer.name
            self._wanted: Format = negotiate(self._wishes.accept)
            form = lane.api.form
            stored_keys = form.text_keys(self._keys)
            sorting = lane.api.sorted_by_cache(stored_keys)
        except Exception:  # each of them is told by itself what is wrong with it
            self._answer_alone(range(len(self._keys)))
            return
        self._answer_alone(sorting.alone)
        kept = [place for place, _ in sorting.kept]
        if len(sorting.alone) == len(self._keys) or not self._enter(context, [*kept, *sorting.fetched]):
            return
        if kept:
            self._give(kept, form, [None if row is None else row.stored for _, row in sorting.kept], Origin.L1)
        if sorting.fetched:
            await self._fetch(form, sorting.fetched, stored_keys)
        else:
            leave_all(self._ended, None)

    def _enter(self, context: Context, places: Sequence[int]) -> bool:
        """Whether the guards let them through together; else each is answered by itself."""
        call = Call(Operation.GET, self._keys, context, requests=len(places))
        try:
            self._ended = enter(self._lane.guards, call)
        except Apart:
            self._answer_alone(places)
            return False
        except Exception as error:
            self._refuse(self._exchanges[places[0]], "none", error)
            return False
        self._view = self._lane.api.view(call.view)
        return True

    async def _fetch(self, form: Form, places: Sequence[int], stored_keys: list[bytes]) -> None:
        api, keys = self._lane.api, self._keys
        if len(places) < len(keys):
            stored_keys = [stored_keys[place] for place in places]
        try:
            texts = [keys[place].decode() for place in places]
            later, rows = await api.fetch_together(form, texts, stored_keys)
            self._give(places, later, rows, Origin.STORE)
        except (TransientError, TimeoutError) as error:
            leave_all(self._ended, error)
            self._give_instead(places, form, stored_keys, error)
        except Exception:  # of one of them, perhaps
            leave_all(self._ended, Apart())
            self._answer_alone(places)
        except BaseException as error:
            leave_all(self._ended, error)
            for place in places:
                self._exchanges[place].connection.abort()
            raise
        else:
            leave_all(self._ended, None)

    def _answer_alone(self, places: Sequence[int]) -> None:
        for place in places:
            self._lane.answer_alone(self._exchanges[place], self._wishes, self._keys[place])

    def _give(self, places: Sequence[int], form: Form, rows: Sequence[Any], origin: Origin) -> None:
        """Answer with rows as they are stored, None for those that there are not."""
        lane, exchanges, fronts = self._lane, self._exchanges, dict[int, bytes]()
        plain = self._view is None and form.encoding == self._wanted
        bodies = rows if plain else [self._body(form, row) for row in rows]
        begin, end = lane.front(form, self._wanted, origin), timing_line(self._started)
        small = SMALLEST if self._wishes.accept_encoding else 1 << 62
        missing = refused = 0
        for place, body in zip(places, bodies, strict=True):
            exchange = exchanges[place]
            if body is None:
                missing += 1
                exchange.finish(lane.missing(exchange, origin))
                continue
            if type(body) is not bytes:
                refused += 1
                self._refuse(exchange, origin, body)
                continue
            size = len(body)
            if size >= small:
                exchange.finish(lane.framed(body, form, self._wanted, origin, exchange, self._wishes, self._started))
                continue
            front = fronts.get(size)
            if front is None:
                front = fronts[size] = b"%b%d%b" % (begin, size, end)
            exchange.connection.answer(exchange, front + body)
        took_s = monotonic() - self._started
        for code, count in (("ok", len(bodies) - missing - refused), ("not-found", missing)):
            if count:
                lane.count(lane.name, self._consumer, origin, code, took_s, count)

    def _body(self, form: Form, stored: Any) -> bytes | Exception | None:
        """A row as it was asked for; None when there is none to be seen; or what is wrong with it."""
        try:
            row = StoredRow(form, stored)
            if self._view is not None:
                row = narrowed_row(row, self._view)
            return None if row.stored is None else encode_row(row, self._wanted)
        except Exception as error:  # of this row alone
            return error

    def _give_instead(self, places: Sequence[int], form: Form, stored_keys: Sequence[bytes], error: Exception) -> None:
        """Answer while the store is away: with the default of the API's spec, where it has one."""
        for place, stored_key in zip(places, stored_keys, strict=True):
            exchange, found = self._exchanges[place], None
            if self._lane.api.falls_back:
                found = self._lane.api.instead(form, stored_key)
            if found is None:
                self._refuse(exchange, "none", error)
            else:
                self._give([place], found[0].form, [found[0].stored], found[1])

    def _refuse(self, exchange: Exchange, origin: str, error: Exception) -> None:
        lane = self._lane
        exchange.finish(whole_answer(problem_of(error, lane.name), exchange))
        lane.count(lane.name, self._consumer, origin, status_of(error)[1], monotonic() - self._started)
