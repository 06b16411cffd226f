"""The fast lane: `GET /v1/kv/{api}/{key}` and `POST /v1/kv/{api}:mget` without a task, a router or a request object.

A coroutine is driven by hand: it runs until it waits for the store, whose future wakes it again. An answer from the
cache is written before the parser has returned. All that makes an answer is shared with the slow road: the same guards,
the same API, the same encoders.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from time import monotonic
from typing import Any

from millrace.connectors.base import Form
from millrace.serving import tracing
from millrace.serving.call import Call, Context, Operation, Origin
from millrace.serving.formats import Format, encode_row, encode_rows, negotiate
from millrace.serving.guards import enter, leave_all
from millrace.serving.http.compress import SMALLEST, compressed
from millrace.serving.http.connection import Exchange
from millrace.serving.http.kv import keys_of
from millrace.serving.http.messages import Response, decoded, head
from millrace.serving.http.problems import problem, problem_of
from millrace.serving.http.repeats import Headers
from millrace.serving.kv.api import KvApi
from millrace.serving.kv.rows import StoredRow
from millrace.serving.refusals import status_of
from millrace.serving.registry import Served, Snapshot
from millrace.serving.service import Service
from millrace.serving.views import View, narrowed_row, narrowed_rows

PREFIX = b"/v1/kv/"
_MGET = b":mget"
_SLOW = (b"x-timeout-ms", b"cache-control")


class Wishes:
    """What a request's headers say that concerns the lane, as text. `slow`: they say what is not for it."""

    __slots__ = ("accept", "accept_encoding", "credential", "if_none_match", "slow")

    def __init__(self, headers: Mapping[bytes, bytes]) -> None:
        self.credential = headers.get(b"authorization", b"").decode("latin-1")
        self.accept = headers.get(b"accept", b"").decode("latin-1")
        self.accept_encoding = headers.get(b"accept-encoding", b"").decode("latin-1")
        self.if_none_match = headers.get(b"if-none-match")
        self.slow = any(name in headers for name in _SLOW)


class KvLane:
    """Answers gets of one key and of many keys of KV APIs."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._registry = service.registry
        self._snapshot: Snapshot | None = None
        self._lanes: Mapping[bytes, _ApiLane] = {}

    def begin(self, exchange: Exchange, method: bytes, target: bytes, headers: Headers, body: bytes) -> bool:
        """Begin to answer; False for what is not for this lane: other addresses, composite keys, special wishes."""
        if not target.startswith(PREFIX) or tracing.on():
            return False
        name, _, key = target[7:].partition(b"/")
        if method == b"POST":
            if key or not name.endswith(_MGET):
                return False
            name = name[: -len(_MGET)]
        elif not key or b"/" in key or b"?" in key or (method != b"GET" and method != b"HEAD"):
            return False
        if self._snapshot is not self._registry.snapshot:
            self._renew()
        lane = self._lanes.get(name)
        if lane is None:
            return False
        wishes = headers.wishes
        if wishes is None:
            wishes = headers.wishes = Wishes(headers)
        if wishes.slow:
            return False
        run = Run(lane.answer(exchange, wishes, key or None, body), exchange)
        exchange.work = run
        run.step()
        return True

    def _renew(self) -> None:
        """Lanes of the present snapshot. An API that has not changed keeps its own, with what it has prepared."""
        snapshot = self._registry.snapshot
        lanes = {}
        for name, served in snapshot.apis.items():
            if isinstance(served.api, KvApi) and served.api.in_time_by_itself:
                old = self._lanes.get(name.encode())
                kept = old is not None and old.served is served
                lanes[name.encode()] = old if kept and old is not None else _ApiLane(served, self._service)
        self._lanes = lanes
        self._snapshot = snapshot


class Run:
    """Drives one coroutine that gives an answer's bytes, and waits for nothing but futures of this loop."""

    __slots__ = ("_coroutine", "_exchange")

    def __init__(self, coroutine: Coroutine[Any, Any, bytes], exchange: Exchange) -> None:
        self._coroutine: Coroutine[Any, Any, bytes] | None = coroutine
        self._exchange = exchange

    def step(self, _done: asyncio.Future[Any] | None = None) -> None:
        if self._coroutine is None:
            return
        try:
            waited = self._coroutine.send(None)
        except StopIteration as stop:
            self._exchange.finish(stop.value)
        except asyncio.CancelledError:
            self._exchange.connection.abort()
        else:
            if waited is None:
                asyncio.get_running_loop().call_soon(self.step)
            else:
                waited._asyncio_future_blocking = False
                waited.add_done_callback(self.step)

    def cancel(self) -> None:
        """The client has left: nobody waits for the answer. What the store still answers falls on deaf ears."""
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is not None:
            coroutine.close()


class _ApiLane:
    """One API, with the heads of answers that are the same for all rows of a version."""

    def __init__(self, served: Served, service: Service) -> None:
        assert isinstance(served.api, KvApi)
        self.served = served
        self.api = served.api
        self.name = served.plan.api
        self.guards = served.guards
        self.observe = served.metrics.request
        self.identify = service.identify
        self._version = ""
        self._heads: dict[tuple[Format, Origin | None], bytes] = {}
        self._etag = b""
        cache = self.api.plan.cache
        seconds = int(cache.ttl.total_seconds()) if cache is not None else 0
        self.cache_control = b"private, max-age=%d" % seconds if seconds else b"no-cache"

    async def answer(self, exchange: Exchange, wishes: Wishes, key: bytes | None, body: bytes) -> bytes:
        """The whole answer to a get, or without `key` to an mget. Never raises: what goes wrong becomes a problem."""
        started = monotonic()
        code = origin = "none"
        consumer = "anonymous"
        ended: Any = ()
        try:
            context = Context(self.identify(wishes.credential))
            consumer = context.consumer.name
            wanted = negotiate(wishes.accept)
            form = self.api.form
            if form.version != self._version:
                self._begin_version(form)
            if key is None:
                call = Call(Operation.MULTI_GET, keys_of(body), context)
            else:
                if b"%" in key:
                    key = decoded(key).encode()
                stored_key = form.text_key(key)
                call = Call(Operation.GET, key, context)
            ended = enter(self.guards, call)
            if key is None:
                code = "ok"
                rows, source = await self.api.multi_get(call.arguments)
                origin = source
                view = self.api.view(call.view)
                if view is not None:
                    rows = narrowed_rows(rows, view)
                whole = encode_rows(rows, wanted, source.mark)
                output = self._framed(whole, rows.form, wanted, source, exchange, wishes, started)
            elif wishes.if_none_match == self._etag:
                code = "not-modified"
                output = head(Response(304, headers=self._headers()), 0, keep_alive=exchange.keep_alive)
            else:
                hit = self.api.hit(stored_key)
                if hit is not None:
                    found, source = hit, Origin.L1
                else:
                    found, source = await self.api.get(form, key.decode(), stored_key)
                origin = source
                row = self._row(found, source, call.view, wanted, exchange, wishes, started)
                code = "not-found" if row is None else "ok"
                output = self._missing(exchange, source) if row is None else row
            leave_all(ended, None)
            return output
        except Exception as error:  # one place answers whatever a request can meet
            leave_all(ended, error)
            response = problem_of(error, self.name)
            code = status_of(error)[1]
            return _whole(response, exchange)
        except BaseException as error:  # the client has left
            code = "cancelled"
            leave_all(ended, error)
            raise
        finally:
            self.observe(self.name, consumer, origin, code, monotonic() - started)

    def _row(
        self,
        found: StoredRow,
        origin: Origin,
        of_consumer: View | None,
        wanted: Format,
        exchange: Exchange,
        wishes: Wishes,
        started: float,
    ) -> bytes | None:
        """The answer with a row; None when there is none that the consumer may see."""
        view = self.api.view(of_consumer)
        if view is not None:
            found = narrowed_row(found, view)
        if found.stored is None:
            return None
        return self._framed(encode_row(found, wanted), found.form, wanted, origin, exchange, wishes, started)

    def _framed(
        self,
        body: bytes,
        form: Form,
        wanted: Format,
        origin: Origin,
        exchange: Exchange,
        wishes: Wishes,
        started: float,
    ) -> bytes:
        """A body behind its head."""
        if form.version != self._version:
            self._begin_version(form)
        if (wishes.accept_encoding and len(body) >= SMALLEST) or not exchange.keep_alive:
            response = Response(200, body, wanted.content_type.encode(), self._headers(origin))
            return _whole(compressed(response, wishes.accept_encoding), exchange)
        front = self._heads.get((wanted, origin))
        if front is None:
            whole = head(Response(200, b"", b"", self._headers(origin)), 0, keep_alive=True)
            prefix, _, rest = whole.partition(b"content-length: 0\r\n")
            rest = rest[:-2]
            front = self._heads[wanted, origin] = (
                prefix + b"content-type: %b\r\n" % wanted.content_type.encode() + rest + b"content-length: "
            )
        timing = (monotonic() - started) * 1000
        front = b"%b%d\r\nserver-timing: total;dur=%.3f\r\n\r\n" % (front, len(body), timing)
        return front if exchange.head_only else front + body

    def _missing(self, exchange: Exchange, origin: Origin) -> bytes:
        response = problem(404, "not-found", "the current version has no row under this key", api=self.name)
        response.headers = self._headers(origin)
        return _whole(response, exchange)

    def _headers(self, origin: Origin | None = None) -> tuple[tuple[bytes, bytes], ...]:
        headers = (
            (b"etag", self._etag),
            (b"cache-control", self.cache_control),
            (b"vary", b"accept, accept-encoding, authorization"),
        )
        return headers if origin is None else (*headers, (b"x-millrace-origin", origin.encode()))

    def _begin_version(self, form: Form) -> None:
        self._version = form.version
        self._heads = {}
        self._etag = b'W/"%b"' % form.version.encode()


def _whole(response: Response, exchange: Exchange) -> bytes:
    assert isinstance(response.body, bytes)
    front = head(response, len(response.body), keep_alive=exchange.keep_alive)
    return front if exchange.head_only else front + response.body
