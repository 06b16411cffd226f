"""The server of one worker: its listening sockets, its clock for slow clients, its way out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from millrace.serving.http.api_lane import whole_answer
from millrace.serving.http.compress import compressed
from millrace.serving.http.connection import Connection, Exchange
from millrace.serving.http.lane import KvLane
from millrace.serving.http.messages import Request, Response, chunk, head, last_chunk
from millrace.serving.http.problems import problem_of
from millrace.serving.http.repeats import Headers, Repeats
from millrace.serving.http.routes import Route, Router
from millrace.serving.service import Service
from millrace.serving.tls import HTTP, ServerTls

log = logging.getLogger(__name__)

_TICK_S = 0.25
_BACKLOG = 4096


@dataclass(frozen=True)
class Limits:
    """What one client may use. Times are seconds, checked four times a second."""

    target_bytes: int = 16_384
    header_bytes: int = 32_768
    body_bytes: int = 8 << 20
    header_s: float = 10.0  # from a request's first byte to the end of its headers
    body_s: float = 60.0  # to its end
    idle_s: float = 75.0  # without any request
    send_s: float = 60.0  # that a client may leave an answer unread
    connections: int = 10_000  # of all clients of one worker


class HttpServer:
    """Serves one `Service` over HTTP/1.1. Made and used in one event loop."""

    def __init__(
        self,
        service: Service,
        routes: Sequence[Route],
        limits: Limits | None = None,
        tls: ServerTls | None = None,
    ) -> None:
        self.service = service
        self._tls = tls
        self.limits = limits or Limits()
        self.connections: set[Connection] = set()
        self.repeats = Repeats(self.limits.target_bytes)
        self.now = 0.0
        self.draining = False
        self._router = Router(routes)
        self._lane = KvLane(service, self._begin_slow)
        self.turn_of = self._lane.turn_of
        self._servers: list[asyncio.Server] = []
        self._ticker: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    async def listen(self, sock: socket.socket) -> int:
        """Accept connections on a bound socket; its port."""
        self.now = self._loop.time()
        options = self._tls.options(HTTP) if self._tls is not None else {}
        self._servers.append(await self._loop.create_server(self._connection, sock=sock, backlog=_BACKLOG, **options))
        if self._ticker is None:
            self._tick()
        self.service.metrics.gauge("http_connections", lambda: float(len(self.connections)))
        port: int = sock.getsockname()[1]
        return port

    async def drain(self, timeout_s: float) -> None:
        """Take no new connections and no new requests; wait for the answers that are due, then cut off the rest."""
        self.draining = self.service.draining = True
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.drain()
        deadline = self._loop.time() + timeout_s
        while self.connections and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
            for connection in list(self.connections):
                connection.drain()
        if self.connections:
            log.warning("%d connections were cut off after %.0f s", len(self.connections), timeout_s)
        for connection in list(self.connections):
            connection.abort()
        if self._ticker is not None:
            self._ticker.cancel()

    def begin(self, exchange: Exchange, method: bytes, target: bytes, headers: Headers, body: Any) -> None:
        """A request is complete: answer it, in the fast lane if it can be."""
        if not self._lane.begin(exchange, method, target, headers, body):
            self._begin_slow(exchange, method, target, headers, body)

    def _begin_slow(self, exchange: Exchange, method: bytes, target: bytes, headers: Headers, body: Any) -> None:
        request = Request(method.decode("latin-1"), target, headers, bytes(body), exchange.connection.peer)
        exchange.work = self._loop.create_task(self._answer(exchange, request))

    async def _answer(self, exchange: Exchange, request: Request) -> None:
        try:
            response = await self._router.answer(request)
        except Exception as error:  # whatever it is, this client gets an answer, and the others are served on
            response = problem_of(error)
        if isinstance(response.body, bytes):
            response = compressed(response, request.header(b"accept-encoding"))
            exchange.finish(whole_answer(response, exchange))
        else:
            await self._stream(exchange, response, response.body)

    async def _stream(self, exchange: Exchange, response: Response, body: AsyncIterator[bytes]) -> None:
        """Send a body as it comes, in chunks; on a connection that ends with it, as it is."""
        connection = exchange.connection
        chunked = exchange.keep_alive = exchange.keep_alive and not exchange.http_1_0
        async with contextlib.AsyncExitStack() as stack:
            close: Callable[[], Any] | None = getattr(body, "aclose", None)
            if close is not None:
                stack.push_async_callback(close)
            await connection.my_turn(exchange)
            try:
                await connection.send(head(response, None, keep_alive=chunked))
                if not exchange.head_only:
                    async for data in body:
                        if data:
                            await connection.send(chunk(data) if chunked else data)
            except ConnectionResetError:
                return
            except Exception:
                log.exception("an answer broke off in its middle")
                connection.abort()
                return
        trailers = response.trailers() if response.trailers is not None else ()
        exchange.finish(last_chunk(trailers) if chunked and not exchange.head_only else b"")

    def _connection(self) -> asyncio.Protocol:
        return Connection(self)

    def _tick(self) -> None:
        self.now = self._loop.time()
        for connection in list(self.connections):
            connection.check(self.now)
        self._ticker = self._loop.call_later(_TICK_S, self._tick)
