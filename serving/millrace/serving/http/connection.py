"""One client's connection: requests in, answers out in the order of the requests, within limits of size and time.

Requests may be pipelined: each takes its place in the order when it is complete, and its answer waits for its turn. A
client that doesn't read its answers is no longer read from.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, cast

import httptools

from millrace.serving.http.messages import head
from millrace.serving.http.problems import problem
from millrace.serving.http.repeats import Headers, is_plain
from millrace.serving.parting import part

if TYPE_CHECKING:
    from millrace.serving.http.server import HttpServer
    from millrace.serving.http.turns import Turn

_LONGEST_KEY = 256  # of a get that is known by what stands around its key
MOST_WAITING = 256  # answers of one connection; then it is not read from until half of them are out


class Exchange:
    """A request's place in the order of its connection's answers; `finish` gives the answer's bytes, once."""

    __slots__ = ("connection", "finished", "head_only", "http_1_0", "keep_alive", "output", "turn", "work")

    def __init__(self, connection: Connection, *, keep_alive: bool, head_only: bool, http_1_0: bool) -> None:
        self.connection = connection
        self.keep_alive = keep_alive
        self.head_only = head_only
        self.http_1_0 = http_1_0
        self.output = b""
        self.finished = False
        self.work: Any = None  # what is cancelled when the client leaves
        self.turn: asyncio.Future[None] | None = None

    def finish(self, output: bytes) -> None:
        self.output = output
        self.finished = True
        self.work = None
        self.connection.flush()


class Connection(asyncio.Protocol):
    """Parses one client's bytes. The server decides what happens with each request."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._limits = server.limits
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._exchanges: deque[Exchange] = deque()
        self._target = b""
        self._headers = Headers()
        self._header_bytes = 0
        self._body = bytearray()
        self._in_headers = False
        self._in_request = False
        self._taken = 0  # requests, of the bytes that came last
        self._no_more = False  # requests: the last one is in, or the connection is being closed
        self._blocked = False
        self._writable: asyncio.Future[None] | None = None
        self._turn: Turn | None = None  # of gets that begin with `_front` and end with `_back`
        self._front = self._back = b""
        self._again = Exchange(self, keep_alive=True, head_only=False, http_1_0=False)  # of those: one at a time
        self._since = server.now  # of the state it is in: idle, receiving a request, blocked

    # what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        if len(self._server.connections) < self._limits.connections:
            self._server.connections.add(self)
        else:
            self.refuse(503, "overloaded", "this worker has as many connections as it takes", retry_after=True)

    def data_received(self, data: bytes) -> None:
        if self._no_more:
            return
        between = not self._in_request
        if between:
            turn = self._turn
            if turn is not None and data.startswith(self._front) and data.endswith(self._back):
                key = data[len(self._front) : -len(self._back)]
                if is_plain(key) and len(key) <= _LONGEST_KEY and not self._exchanges:
                    exchange = self._again
                    exchange.finished = False
                    self._since = self._server.now
                    self._exchanges.append(exchange)
                    turn.add(exchange, key)
                    return
            if (known := self._server.repeats.find(data)) is not None:
                self._take(*known, keep_alive=not self._server.draining)
                self._learn(data, *known[:3])
                return
        self._taken = 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.refuse(501, "bad-request", "this server speaks HTTP/1.1 and no other protocol")
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _RequestRefused):
                raise
            self.refuse(*error.__context__.answer)
        except httptools.HttpParserError as error:
            self.refuse(400, "bad-request", f"this is no HTTP/1.1 request: {error}")
        if between and self._taken == 1 and not self._in_request and not self._no_more:
            self._server.repeats.learn(data, self._headers)

    def _learn(self, data: bytes, method: bytes, target: bytes, headers: Headers) -> None:
        """A client's next get is mostly its last one with another key: remember what stands around the key."""
        found = self._server.turn_of(target, headers) if method == b"GET" and not self._no_more else None
        self._turn = None
        if found is not None:
            self._turn, key = found
            end = data.index(b" ", len(b"GET "))
            self._front, self._back = data[: end - len(key)], data[end:]

    def eof_received(self) -> bool:
        """The client sends no more; it may still read its answers, unless TLS ends for both sides at once."""
        self._no_more = True
        over_tls = self._transport is not None and self._transport.get_extra_info("sslcontext") is not None
        return bool(self._exchanges) and not over_tls

    def connection_lost(self, error: Exception | None) -> None:
        self._server.connections.discard(self)
        self._no_more = True
        self._transport = None
        for exchange in self._exchanges:
            if exchange.work is not None:
                exchange.work.cancel()
            if exchange.turn is not None:
                exchange.turn.cancel()
        self._exchanges.clear()
        if self._writable is not None and not self._writable.done():
            self._writable.cancel()

    def pause_writing(self) -> None:
        assert self._transport is not None
        self._blocked = True
        self._since = self._server.now
        self._transport.pause_reading()
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        self._blocked = False
        self._since = self._server.now
        if self._transport is not None:
            self._transport.resume_reading()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # what the parser calls

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers = Headers()
        self._body = bytearray()
        self._header_bytes = 0
        self._in_request = self._in_headers = True
        self._since = self._server.now

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > self._limits.target_bytes:
            raise _RequestRefused(414, "too-large", f"an address of more than {self._limits.target_bytes} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > self._limits.header_bytes:
            raise _RequestRefused(431, "too-large", f"headers of more than {self._limits.header_bytes} bytes")
        before = self._headers.get(name)
        self._headers[name] = value if before is None else before + b", " + value

    def on_headers_complete(self) -> None:
        self._in_headers = False
        length = self._headers.get(b"content-length")
        if length is not None and int(length) > self._limits.body_bytes:
            raise _RequestRefused(413, "too-large", f"a body of more than {self._limits.body_bytes} bytes")
        if b"expect" in self._headers and self._transport is not None and not self._exchanges:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > self._limits.body_bytes:
            raise _RequestRefused(413, "too-large", f"a body of more than {self._limits.body_bytes} bytes")

    def on_message_complete(self) -> None:
        if self._no_more:
            return
        parser = self._parser
        keep_alive = parser.should_keep_alive() and not self._server.draining
        http_1_0 = parser.get_http_version() == "1.0"
        self._take(
            parser.get_method(), self._target, self._headers, self._body, keep_alive=keep_alive, http_1_0=http_1_0
        )

    def _take(
        self,
        method: bytes,
        target: bytes,
        headers: Headers,
        body: bytes | bytearray,
        *,
        keep_alive: bool,
        http_1_0: bool = False,
    ) -> None:
        """A request is complete: give it its place, and let it be answered."""
        exchange = Exchange(self, keep_alive=keep_alive, head_only=method == b"HEAD", http_1_0=http_1_0)
        self._in_request = False
        self._taken += 1
        self._since = self._server.now
        self._no_more = not keep_alive
        self._exchanges.append(exchange)
        if len(self._exchanges) == MOST_WAITING and self._transport is not None:
            self._transport.pause_reading()
        self._server.begin(exchange, method, target, headers, body)

    # what the server calls

    @property
    def waiting(self) -> int:
        """How many requests have no answer yet."""
        return len(self._exchanges)

    @property
    def peer(self) -> str:
        """The client's address, for logs."""
        name = self._transport.get_extra_info("peername") if self._transport is not None else None
        return str(name[0]) if isinstance(name, tuple) else ""

    def answer(self, exchange: Exchange, output: bytes) -> None:
        """Finish an exchange; quicker where it is the only one."""
        if len(self._exchanges) == 1 and self._transport is not None and not self._no_more and exchange.keep_alive:
            self._exchanges.pop()
            self._transport.write(output)
        else:
            exchange.finish(output)

    def flush(self) -> None:
        """Send the answers whose turn it is."""
        transport, exchanges = self._transport, self._exchanges
        if transport is None:
            return
        ready: list[bytes] = []
        last: Exchange | None = None
        waiting = len(exchanges)
        while exchanges and exchanges[0].finished:
            last = exchanges.popleft()
            ready.append(last.output)
        if ready:
            transport.write(ready[0] if len(ready) == 1 else b"".join(ready))
        if waiting >= MOST_WAITING // 2 > len(exchanges) and not self._blocked:
            transport.resume_reading()
        if exchanges:
            turn = exchanges[0].turn
            if turn is not None and not turn.done():
                turn.set_result(None)
        elif last is not None and (not last.keep_alive or self._no_more):
            transport.close()

    async def my_turn(self, exchange: Exchange) -> None:
        """Wait until the answers before this one are out."""
        if self._exchanges[0] is not exchange:
            exchange.turn = asyncio.get_running_loop().create_future()
            await exchange.turn

    async def send(self, data: bytes) -> None:
        """Send a part of the answer whose turn it is, no faster than the client reads, and let others have a turn."""
        if self._transport is None:
            raise ConnectionResetError("the client has left")
        self._transport.write(data)
        await (asyncio.sleep(0) if self._writable is None else asyncio.shield(self._writable))

    def abort(self) -> None:
        """Cut the connection off, so that a half-sent answer can't be taken for a whole one."""
        if self._transport is not None:
            self._transport.abort()

    def refuse(self, status: int, slug: str, detail: str, *, retry_after: bool = False) -> None:
        """Answer what can't be a request, after the answers that are due, and hang up."""
        self._no_more = True
        self._in_request = False
        exchange = Exchange(self, keep_alive=False, head_only=False, http_1_0=False)
        self._exchanges.append(exchange)
        response = problem(status, slug, detail, headers=((b"retry-after", b"1"),) if retry_after else ())
        assert isinstance(response.body, bytes)
        exchange.finish(head(response, len(response.body), keep_alive=False) + response.body)

    def drain(self) -> None:
        """Take no more requests; hang up when the last answer is out."""
        self._turn = None
        if not self._exchanges and not self._in_request and self._transport is not None:
            self._no_more = True
            self._transport.close()
            part(self._transport)

    def check(self, now: float) -> None:
        """Hang up on a client that is too slow, or that has not asked anything for long."""
        waited, limits = now - self._since, self._limits
        if self._blocked:
            if waited > limits.send_s:
                self.abort()
        elif self._in_request:
            if waited > (limits.header_s if self._in_headers else limits.body_s):
                self.refuse(408, "deadline-exceeded", "the request did not arrive in time")
        elif not self._exchanges and self._transport is not None and waited > limits.idle_s:
            self._transport.close()
            part(self._transport)


class _RequestRefused(Exception):
    """A request over a limit, found while it is still coming."""

    def __init__(self, status: int, slug: str, detail: str) -> None:
        super().__init__(detail)
        self.answer = (status, slug, detail)
