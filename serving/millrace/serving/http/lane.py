"""The fast lane: `GET /v1/kv/{api}/{key}` and `POST /v1/kv/{api}:mget` without a task, a router or a request object.

Gets that come at the same time are answered together (`turns`). All that makes an answer is shared with the slow road:
the same guards, the same API, the same encoders.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import quote_from_bytes

from millrace.serving import tracing
from millrace.serving.http.api_lane import ApiLane, Wishes
from millrace.serving.http.connection import Exchange
from millrace.serving.http.gets import answer_gets
from millrace.serving.http.messages import decoded
from millrace.serving.http.mgets import answer_mgets
from millrace.serving.http.repeats import Headers, is_plain
from millrace.serving.http.turns import Turn
from millrace.serving.kv.api import KvApi
from millrace.serving.refusals import Refused
from millrace.serving.registry import Snapshot
from millrace.serving.service import Service

PREFIX = b"/v1/kv/"
_MGET = b":mget"
_MOST_TURNS = 1024
_MOST_GETS, _MOST_MGETS = 512, 8  # of one turn, that are answered together

#: Begins to answer a request by the router.
SlowRoad: TypeAlias = Callable[[Exchange, bytes, bytes, Headers, Any], None]


class KvLane:
    """Answers gets of one key and of many keys of KV APIs."""

    def __init__(self, service: Service, slow: SlowRoad) -> None:
        self._service = service
        self._slow = slow
        self._registry = service.registry
        self._snapshot: Snapshot | None = None
        self._lanes: Mapping[bytes, ApiLane] = {}
        self._turns: dict[tuple[bytes, tuple[str, ...]], Turn] = {}
        self._loop = asyncio.get_running_loop()

    def begin(self, exchange: Exchange, method: bytes, target: bytes, headers: Headers, body: bytes) -> bool:
        """Begin to answer; False for what is not for this lane: other addresses, composite keys, special wishes."""
        if not target.startswith(PREFIX):
            return False
        name, _, key = target[len(PREFIX) :].partition(b"/")
        if method == b"POST":
            if key or not name.endswith(_MGET):
                return False
            name = name[: -len(_MGET)]
        elif not key or b"/" in key or b"?" in key or (method != b"GET" and method != b"HEAD"):
            return False
        lane, wishes = self._lane_of(name), _wishes_of(headers)
        if lane is None or wishes.slow:
            return False
        plain = _plain(key) if method == b"GET" and exchange.keep_alive and wishes.if_none_match is None else b""
        if plain:
            self._turn_of(name, headers, wishes).add(exchange, plain)
        elif method == b"POST" and exchange.keep_alive:
            self._mgets_of(name, headers, wishes).add(exchange, bytes(body))
        else:
            lane.answer_alone(exchange, wishes, key or body, many=not key)
        return True

    def turn_of(self, target: bytes, headers: Headers) -> tuple[Turn, bytes] | None:
        """Where a get of this address is gathered with others, and its key; None where `begin` does more than that."""
        if not target.startswith(PREFIX):
            return None
        name, _, key = target[len(PREFIX) :].partition(b"/")
        wishes = _wishes_of(headers)
        if not is_plain(key) or wishes.slow or wishes.if_none_match is not None or self._lane_of(name) is None:
            return None
        return self._turn_of(name, headers, wishes), key

    def _turn_of(self, name: bytes, headers: Headers, wishes: Wishes) -> Turn:
        found = self._turns.get((name, wishes.text))
        if found is None:
            self._make_room()

            def otherwise(exchange: Exchange, key: bytes) -> None:
                target = b"%b%b/%b" % (PREFIX, name, quote_from_bytes(key, safe="").encode())
                self._slow(exchange, b"GET", target, headers, b"")

            found = Turn(
                self._loop, wishes, lambda: self._lane_of(name), otherwise, answer_gets, most=_MOST_GETS, many=False
            )
            self._turns[name, wishes.text] = found
        return found

    def _mgets_of(self, name: bytes, headers: Headers, wishes: Wishes) -> Turn:
        found = self._turns.get((name + _MGET, wishes.text))
        if found is None:
            self._make_room()

            def otherwise(exchange: Exchange, body: bytes) -> None:
                self._slow(exchange, b"POST", PREFIX + name + _MGET, headers, body)

            found = Turn(
                self._loop, wishes, lambda: self._lane_of(name), otherwise, answer_mgets, most=_MOST_MGETS, many=True
            )
            self._turns[name + _MGET, wishes.text] = found
        return found

    def _make_room(self) -> None:
        if len(self._turns) >= _MOST_TURNS:  # those that have gathered something are in the loop's hands
            self._turns.clear()

    def _lane_of(self, name: bytes) -> ApiLane | None:
        """The API's lane as the catalog says now; None for what is not for the fast lane."""
        if self._snapshot is not self._registry.snapshot:
            self._renew()
        return None if tracing.on() else self._lanes.get(name)

    def _renew(self) -> None:
        """Lanes of the present snapshot. An API that has not changed keeps its own, with what it has prepared."""
        snapshot = self._registry.snapshot
        lanes = {}
        for name, served in snapshot.apis.items():
            if isinstance(served.api, KvApi) and served.api.in_time_by_itself:
                old = self._lanes.get(name.encode())
                kept = old is not None and old.served is served
                lanes[name.encode()] = old if kept and old is not None else ApiLane(served, self._service)
        self._lanes = lanes
        self._snapshot = snapshot


def _plain(key: bytes) -> bytes:
    """A key of an address as it is meant; b"" for one that can't be read."""
    try:
        return decoded(key).encode() if b"%" in key else key
    except Refused:
        return b""


def _wishes_of(headers: Headers) -> Wishes:
    wishes: Wishes | None = headers.wishes
    if wishes is None:
        wishes = headers.wishes = Wishes(headers)
    return wishes
