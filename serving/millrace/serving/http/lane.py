"""The fast lane: `GET /v1/kv/{api}/{key}` without a task, a router or a request object.

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
from millrace.serving.call import Call, Operation
from millrace.serving.formats import Format, encode_row, negotiate
from millrace.serving.guards import enter, leave_all
from millrace.serving.http.compress import SMALLEST, compressed
from millrace.serving.http.connection import Exchange
from millrace.serving.http.messages import Response, decoded, head
from millrace.serving.http.problems import problem, problem_of
from millrace.serving.kv.api import KvApi
from millrace.serving.refusals import status_of
from millrace.serving.registry import Served, Snapshot
from millrace.serving.service import Service
from millrace.serving.views import narrowed_row

PREFIX = b"/v1/kv/"
_NO_HEADER = b""


class KvLane:
    """Answers single gets of KV APIs."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._registry = service.registry
        self._snapshot: Snapshot | None = None
        self._lanes: Mapping[bytes, _ApiLane] = {}

    def begin(self, exchange: Exchange, method: bytes, target: bytes, headers: Mapping[bytes, bytes]) -> bool:
        """Begin to answer; False for what is not for this lane: other addresses, composite keys, special wishes."""
        if not target.startswith(PREFIX) or tracing.on() or (method != b"GET" and method != b"HEAD"):
            return False
        name, _, key = target[7:].partition(b"/")
        if self._snapshot is not self._registry.snapshot:
            self._renew()
        lane = self._lanes.get(name)
        if (
            lane is None
            or not key
            or b"/" in key
            or b"?" in key
            or b"x-timeout-ms" in headers
            or b"cache-control" in headers
        ):
            return False
        run = Run(lane.answer(exchange, key, headers, self._service), exchange)
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
                lanes[name.encode()] = old if old is not None and old.served is served else _ApiLane(served)
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

    def __init__(self, served: Served) -> None:
        assert isinstance(served.api, KvApi)
        self.served = served
        self.api = served.api
        self.name = served.plan.api
        self.guards = served.guards
        self.observe = served.metrics.request
        self._version = ""
        self._heads: dict[Format, bytes] = {}
        self._etag = b""
        cache = self.api.plan.cache
        seconds = int(cache.ttl.total_seconds()) if cache is not None else 0
        self.cache_control = b"private, max-age=%d" % seconds if seconds else b"no-cache"

    async def answer(self, exchange: Exchange, key: bytes, headers: Mapping[bytes, bytes], service: Service) -> bytes:
        """The whole answer to one get. Never raises: what goes wrong is answered as a problem."""
        started = monotonic()
        code = origin = "none"
        consumer = "anonymous"
        ended: Any = ()
        try:
            get = headers.get
            context = service.context(get(b"authorization", _NO_HEADER).decode("latin-1"))
            consumer = context.consumer.name
            wanted = negotiate(get(b"accept", _NO_HEADER).decode("latin-1"))
            form = self.api.form
            if form.version != self._version:
                self._begin_version(form)
            if b"%" in key:
                key = decoded(key).encode()
            stored_key = form.text_key(key)
            of_consumer = None
            if self.guards:
                call = Call(Operation.GET, key, context)
                ended = enter(self.guards, call)
                of_consumer = call.view
            if get(b"if-none-match") == self._etag:
                code = "not-modified"
                return head(Response(304, headers=self._headers()), 0, keep_alive=exchange.keep_alive)
            hit = self.api.hit(stored_key)
            if hit is not None:
                found, origin = hit, "l1"
            else:
                found, origin = await self.api.get(form, key.decode(), stored_key)
            view = self.api.view(of_consumer)
            if view is not None:
                found = narrowed_row(found, view)
            if found.stored is None:
                code = "not-found"
                output = self._missing(exchange)
            else:
                code = "ok"
                output = self._found(found, wanted, exchange, get(b"accept-encoding", _NO_HEADER), started)
            if ended:
                leave_all(ended, None)
            return output
        except Exception as error:  # one place answers whatever a request can meet
            if ended:
                leave_all(ended, error)
            response = problem_of(error, self.name)
            code = status_of(error)[1]
            return _whole(response, exchange)
        finally:
            self.observe(self.name, consumer, origin, code, monotonic() - started)

    def _found(self, found: Any, wanted: Format, exchange: Exchange, accept_encoding: bytes, started: float) -> bytes:
        body = encode_row(found, wanted)
        if found.form.version != self._version:
            self._begin_version(found.form)
        if (len(body) >= SMALLEST and accept_encoding) or not exchange.keep_alive:
            content_type = wanted.content_type.encode()
            response = Response(200, body, content_type, self._headers())
            return _whole(compressed(response, accept_encoding.decode("latin-1")), exchange)
        front = self._heads.get(wanted)
        if front is None:
            whole = head(Response(200, b"", b"", self._headers()), 0, keep_alive=True)
            prefix, _, rest = whole.partition(b"content-length: 0\r\n")
            rest = rest[:-2]
            front = self._heads[wanted] = (
                prefix + b"content-type: %b\r\n" % wanted.content_type.encode() + rest + b"content-length: "
            )
        timing = (monotonic() - started) * 1000
        front = b"%b%d\r\nserver-timing: total;dur=%.3f\r\n\r\n" % (front, len(body), timing)
        return front if exchange.head_only else front + body

    def _missing(self, exchange: Exchange) -> bytes:
        response = problem(404, "not-found", "the current version has no row under this key", api=self.name)
        response.headers = self._headers()
        return _whole(response, exchange)

    def _headers(self) -> tuple[tuple[bytes, bytes], ...]:
        return (
            (b"etag", self._etag),
            (b"cache-control", self.cache_control),
            (b"vary", b"accept, accept-encoding, authorization"),
        )

    def _begin_version(self, form: Form) -> None:
        self._version = form.version
        self._heads = {}
        self._etag = b'W/"%b"' % form.version.encode()


def _whole(response: Response, exchange: Exchange) -> bytes:
    assert isinstance(response.body, bytes)
    front = head(response, len(response.body), keep_alive=exchange.keep_alive)
    return front if exchange.head_only else front + response.body
