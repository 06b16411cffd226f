"""Gets of single keys that came in one turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from millrace.connectors.readers import Form
from millrace.serving.call import Operation, Origin
from millrace.serving.formats import encode_row
from millrace.serving.guards import leave_all
from millrace.serving.http.api_lane import timing_line
from millrace.serving.http.compress import SMALLEST
from millrace.serving.http.turns import Gathered
from millrace.serving.kv.rows import StoredRow
from millrace.serving.views import narrowed_row


async def answer_gets(gets: Gathered) -> None:
    """Answer each: at once where the row is kept, all others with what one question to the store brings."""
    api, keys = gets.lane.api, gets.asked
    try:
        context = gets.introduce()
        form = api.form
        stored_keys = form.text_keys(keys)
        sorting = api.sorted_by_cache(stored_keys)
    except Exception:  # each of them is told by itself what is wrong with it
        gets.answer_alone(range(len(keys)))
        return
    gets.answer_alone(sorting.alone)
    kept = [place for place, _ in sorting.kept]
    if len(sorting.alone) == len(keys) or not gets.enter(Operation.GET, context, [*kept, *sorting.fetched]):
        return
    if kept:
        _give(gets, kept, form, [None if row is None else row.stored for _, row in sorting.kept], Origin.L1)
    if sorting.fetched:
        await _fetch(gets, form, sorting.fetched, stored_keys)
    else:
        leave_all(gets.ended, None)


async def _fetch(gets: Gathered, form: Form, places: Sequence[int], stored_keys: list[bytes]) -> None:
    keys = gets.asked
    if len(places) < len(keys):
        stored_keys = [stored_keys[place] for place in places]
    found = await gets.asked_for(
        places,
        lambda: gets.lane.api.fetch_together(form, [keys[place].decode() for place in places], stored_keys),
        lambda error: _give_instead(gets, places, form, stored_keys, error),
    )
    if found is not None:
        _give(gets, places, *found, Origin.STORE)
        leave_all(gets.ended, None)


def _give(gets: Gathered, places: Sequence[int], form: Form, rows: Sequence[Any], origin: Origin) -> None:
    """Answer with rows as they are stored, None for those that there are not."""
    lane, exchanges, fronts = gets.lane, gets.exchanges, dict[int, bytes]()
    plain = gets.view is None and form.encoding == gets.wanted
    bodies = rows if plain else [_body(gets, form, row) for row in rows]
    begin, end = lane.front(form, gets.wanted, origin), timing_line(gets.started)
    small = SMALLEST if gets.wishes.accept_encoding else 1 << 62
    missing = refused = 0
    for place, body in zip(places, bodies, strict=True):
        exchange = exchanges[place]
        if body is None:
            missing += 1
            exchange.finish(lane.missing(exchange, origin))
            continue
        if type(body) is not bytes:
            refused += 1
            gets.refuse(place, origin, body)
            continue
        size = len(body)
        if size >= small:  # to be compressed
            exchange.finish(lane.framed(body, form, gets.wanted, origin, exchange, gets.wishes, gets.started))
            continue
        front = fronts.get(size)
        if front is None:
            front = fronts[size] = b"%b%d%b" % (begin, size, end)
        exchange.connection.answer(exchange, front + body)
    gets.count(origin, "ok", len(bodies) - missing - refused)
    gets.count(origin, "not-found", missing)


def _body(gets: Gathered, form: Form, stored: Any) -> bytes | Exception | None:
    """A row as it was asked for; None when there is none to be seen; or what is wrong with it."""
    try:
        row = StoredRow(form, stored)
        if gets.view is not None:
            row = narrowed_row(row, gets.view)
        return None if row.stored is None else encode_row(row, gets.wanted)
    except Exception as error:  # of this row alone
        return error


def _give_instead(
    gets: Gathered, places: Sequence[int], form: Form, stored_keys: Sequence[bytes], error: Exception
) -> None:
    """Answer while the store is away: with the default of the API's spec, where it has one."""
    api = gets.lane.api
    for place, stored_key in zip(places, stored_keys, strict=True):
        found = api.instead(form, stored_key) if api.falls_back else None
        if found is None:
            gets.refuse(place, "none", error)
        else:
            _give(gets, [place], found[0].form, [found[0].stored], found[1])
