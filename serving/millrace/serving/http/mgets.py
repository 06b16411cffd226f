"""Gets of many keys that came in one turn: their keys are looked up as if one request had brought them all."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from millrace.connectors.readers import Form
from millrace.serving.call import Operation, Origin
from millrace.serving.formats import encode_rows
from millrace.serving.guards import leave_all
from millrace.serving.http.kv import plain_keys_of, with_tuples
from millrace.serving.http.turns import Gathered
from millrace.serving.kv.rows import StoredRows
from millrace.serving.views import narrowed_rows

_LIST = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"keys"[ \t\r\n]*:[ \t\r\n]*\[([^\]]*)\][ \t\r\n]*\}[ \t\r\n]*')


@dataclass(slots=True)
class _Keys:
    """All keys, as they were given and as they are stored; those of request n end at `ends[n]`."""

    given: Sequence[Any]
    stored: list[bytes]
    ends: list[int]

    def of(self, place: int) -> slice:
        return slice(self.ends[place - 1] if place else 0, self.ends[place])


async def answer_mgets(mgets: Gathered) -> None:
    """Answer each with its rows, which one question to the store brings for all."""
    api, everyone = mgets.lane.api, range(len(mgets.asked))
    try:
        context = mgets.introduce()
        form = api.form
        keys = _all_keys(form, mgets.asked, api.most_keys)
        apart = api.has_shared
    except Exception:  # each of them is told by itself what is wrong with it
        apart = True
    if apart:
        mgets.answer_alone(everyone)
        return
    if not mgets.enter(Operation.MULTI_GET, context, everyone):
        return
    found = await mgets.asked_for(
        everyone,
        lambda: api.multi_get_together(form, keys.given, keys.stored),
        lambda error: _give_instead(mgets, form, keys, error),
    )
    if found is None:
        return
    later, rows, missing = found
    all_fetched = len(missing) == len(keys.stored)
    for place in everyone:
        mine = keys.of(place)
        fetched = all_fetched or bisect_left(missing, mine.start) < bisect_left(missing, mine.stop)
        _give(mgets, place, StoredRows(later, rows[mine]), Origin.STORE if fetched else Origin.L1)
    leave_all(mgets.ended, None)


class _Numbers(Sequence[int]):
    """The numbers that these insides of lists hold: made when somebody wants one, which is seldom."""

    def __init__(self, texts: Sequence[bytes], count: int) -> None:
        self._texts, self._count = texts, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Any) -> Any:
        return self._all[place]

    @cached_property
    def _all(self) -> list[int]:
        return [*map(int, b",".join(self._texts).split(b","))]


def _all_keys(form: Form, bodies: Sequence[bytes], most: int) -> _Keys:
    """Raises ValueError when one of the requests can't be answered."""
    found = _number_keys(form, bodies, most)
    if found is not None:
        return found
    given: list[Any] = []
    ends: list[int] = []
    for body in bodies:
        keys = plain_keys_of(body)
        if not keys or len(keys) > most:
            raise ValueError("for a request by itself")
        given += keys
        ends.append(len(given))
    given = with_tuples(given)
    return _Keys(given, form.keys(given), ends)


def _number_keys(form: Form, bodies: Sequence[bytes], most: int) -> _Keys | None:
    """The keys, if all that were given are numbers as JSON writes them: then their text is made into keys."""
    if form.number_keys is None:
        return None
    texts: list[bytes] = []
    stored: list[bytes] = []
    ends: list[int] = []
    for body in bodies:
        inside = _LIST.fullmatch(body)
        if inside is None or inside[1].count(b",") >= most:
            return None
        keys = form.number_keys(inside[1])
        if keys is None:
            return None
        stored += keys
        texts.append(inside[1])
        ends.append(len(stored))
    return _Keys(_Numbers(texts, len(stored)), stored, ends)


def _give(mgets: Gathered, place: int, rows: StoredRows, origin: Origin) -> None:
    lane, exchange = mgets.lane, mgets.exchanges[place]
    try:
        if mgets.view is not None:
            rows = narrowed_rows(rows, mgets.view)
        body = encode_rows(rows, mgets.wanted, origin.mark)
        output = lane.framed(body, rows.form, mgets.wanted, origin, exchange, mgets.wishes, mgets.started)
    except Exception as error:  # of a row of this request
        mgets.refuse(place, origin, error)
        return
    exchange.connection.answer(exchange, output)
    mgets.count(origin, "ok", 1)


def _give_instead(mgets: Gathered, form: Form, keys: _Keys, error: Exception) -> None:
    """Answer while the store is away: with what is kept, or the default of the API's spec."""
    for place in range(len(mgets.asked)):
        found = mgets.lane.api.all_instead(form, keys.stored[keys.of(place)])
        if found is None:
            mgets.refuse(place, "none", error)
        else:
            _give(mgets, place, *found)
