"""One API in the fast lane: its answers to a get or an mget, with heads that are the same for all rows of a version."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any

from millrace.connectors.readers import Form
from millrace.serving.call import Call, Context, Operation, Origin
from millrace.serving.formats import Format, encode_row, encode_rows, negotiate
from millrace.serving.guards import enter, leave_all
from millrace.serving.http.compress import SMALLEST, compressed
from millrace.serving.http.connection import Exchange
from millrace.serving.http.kv import keys_of
from millrace.serving.http.messages import Response, decoded, head
from millrace.serving.http.problems import problem, problem_of
from millrace.serving.http.run import Run
from millrace.serving.kv.api import KvApi
from millrace.serving.kv.rows import StoredRow
from millrace.serving.refusals import status_of
from millrace.serving.registry import Served
from millrace.serving.service import Service
from millrace.serving.views import View, narrowed_row, narrowed_rows

_SLOW = (b"x-timeout-ms", b"cache-control")


class Wishes:
    """What a request's headers say that concerns the lane, as text. `slow`: they say what is not for it."""

    __slots__ = ("accept", "accept_encoding", "credential", "if_none_match", "slow", "text")

    def __init__(self, headers: Mapping[bytes, bytes]) -> None:
        self.credential = headers.get(b"authorization", b"").decode("latin-1")
        self.accept = headers.get(b"accept", b"").decode("latin-1")
        self.accept_encoding = headers.get(b"accept-encoding", b"").decode("latin-1")
        self.if_none_match = headers.get(b"if-none-match")
        self.text = (self.credential, self.accept, self.accept_encoding)
        self.slow = any(name in headers for name in _SLOW)


class ApiLane:
    """One API, with the heads of answers that are the same for all rows of a version."""

    def __init__(self, served: Served, service: Service) -> None:
        assert isinstance(served.api, KvApi)
        self.served = served
        self.api = served.api
        self.name = served.plan.api
        self.guards = served.guards
        self.count = served.metrics.request
        self.identify = service.identify
        self._version = ""
        self._heads: dict[tuple[Format, Origin | None], bytes] = {}
        self._etag = b""
        cache = self.api.plan.cache
        seconds = int(cache.ttl.total_seconds()) if cache is not None else 0
        self.cache_control = b"private, max-age=%d" % seconds if seconds else b"no-cache"

    def answer_alone(self, exchange: Exchange, wishes: Wishes, asked: bytes, *, many: bool) -> None:
        """Begin to answer one request: a get of this key, or of `many` with this body."""
        run = Run(self.answer(exchange, wishes, *((None, asked) if many else (asked, b""))), exchange)
        exchange.work = run
        run.step()

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
                output = self.framed(whole, rows.form, wanted, source, exchange, wishes, started)
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
                row = self.row(found, source, call.view, wanted, exchange, wishes, started)
                code = "not-found" if row is None else "ok"
                output = self.missing(exchange, source) if row is None else row
            leave_all(ended, None)
            return output
        except Exception as error:  # one place answers whatever a request can meet
            leave_all(ended, error)
            response = problem_of(error, self.name)
            code = status_of(error)[1]
            return whole_answer(response, exchange)
        except BaseException as error:  # the client has left
            code = "cancelled"
            leave_all(ended, error)
            raise
        finally:
            self.count(self.name, consumer, origin, code, monotonic() - started)

    def row(
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
        return self.framed(encode_row(found, wanted), found.form, wanted, origin, exchange, wishes, started)

    def framed(
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
        if (wishes.accept_encoding and len(body) >= SMALLEST) or not exchange.keep_alive:
            if form.version != self._version:
                self._begin_version(form)
            response = Response(200, body, wanted.content_type.encode(), self._headers(origin))
            return whole_answer(compressed(response, wishes.accept_encoding), exchange)
        front = b"%b%d%b" % (self.front(form, wanted, origin), len(body), timing_line(started))
        return front if exchange.head_only else front + body

    def front(self, form: Form, wanted: Format, origin: Origin) -> bytes:
        """An answer's head up to its length, where nothing in it is of one row alone; then comes `timing_line`."""
        if form.version != self._version:
            self._begin_version(form)
        front = self._heads.get((wanted, origin))
        if front is None:
            whole = head(Response(200, b"", b"", self._headers(origin)), 0, keep_alive=True)
            prefix, _, rest = whole.partition(b"content-length: 0\r\n")
            rest = rest[:-2]
            front = self._heads[wanted, origin] = (
                prefix + b"content-type: %b\r\n" % wanted.content_type.encode() + rest + b"content-length: "
            )
        return front

    def missing(self, exchange: Exchange, origin: Origin) -> bytes:
        response = problem(404, "not-found", "the current version has no row under this key", api=self.name)
        response.headers = self._headers(origin)
        return whole_answer(response, exchange)

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


def timing_line(started: float) -> bytes:
    """The end of a head that `ApiLane.front` begins: `started` is on the clock of `time.monotonic`."""
    return b"\r\nserver-timing: total;dur=%.3f\r\n\r\n" % ((monotonic() - started) * 1000)


def whole_answer(response: Response, exchange: Exchange) -> bytes:
    """A response with its head, as its exchange wants it."""
    assert isinstance(response.body, bytes)
    front = head(response, len(response.body), keep_alive=exchange.keep_alive)
    return front if exchange.head_only else front + response.body
