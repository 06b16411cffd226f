"""Gets of many keys that came in one turn: their keys are looked up as if one request had brought them all."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from millrace.connectors.base import Form
from millrace.errors import TransientError
from millrace.serving.call import Operation, Origin
from millrace.serving.formats import encode_rows
from millrace.serving.guards import leave_all
from millrace.serving.http.kv import plain_keys_of, with_tuples
from millrace.serving.http.turns import Gathered
from millrace.serving.kv.rows import StoredRows
from millrace.serving.views import narrowed_rows

_SPACE = b" \t\r\n"
_DIGITS_AND_COMMA = b"0123456789,"
_MOST_NUMBER = 10**9


@dataclass(slots=True)
class _Keys:
    """All keys, as they were given and as they are stored; those of request n end at `ends[n]`."""

    given: list[Any]
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
    try:
        later, rows, missing = await api.multi_get_together(form, keys.given, keys.stored)
    except (TransientError, TimeoutError) as error:
        leave_all(mgets.ended, error)
        _give_instead(mgets, form, keys, error)
    except Exception as error:
        mgets.part(everyone, error)
    except BaseException as error:
        leave_all(mgets.ended, error)
        mgets.abort(everyone)
        raise
    else:
        for place in everyone:
            mine = keys.of(place)
            fetched = bisect_left(missing, mine.start) < bisect_left(missing, mine.stop)
            _give(mgets, place, StoredRows(later, rows[mine]), Origin.STORE if fetched else Origin.L1)
        leave_all(mgets.ended, None)


def _all_keys(form: Form, bodies: Sequence[bytes], most: int) -> _Keys:
    """Raises ValueError when one of the requests can't be answered."""
    given: list[Any] = []
    ends: list[int] = []
    for body in bodies:
        keys = plain_keys_of(body)
        if not keys or len(keys) > most:
            raise ValueError("for a request by itself")
        given += keys
        ends.append(len(given))
    stored = _number_keys(form, bodies, given)
    if stored is None:
        given = with_tuples(given)
        stored = form.keys(given)
    return _Keys(given, stored, ends)


def _number_keys(form: Form, bodies: Sequence[bytes], given: Sequence[Any]) -> list[bytes] | None:
    """The stored keys, if all that were given are numbers as JSON writes them: then their text is made into keys."""
    if form.number_keys is None or {*map(type, given)} != {int} or max(given) >= _MOST_NUMBER:
        return None
    numbers = b",".join([body[body.index(b"[") + 1 : body.rindex(b"]")].translate(None, _SPACE) for body in bodies])
    if numbers.translate(None, _DIGITS_AND_COMMA):  # a number below 0, or more than a list: a member that comes twice
        return None
    return form.number_keys(numbers)


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
