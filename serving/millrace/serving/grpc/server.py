"""The gRPC server of one worker, on a port that its siblings listen on too."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from millrace.errors import ConfigError
from millrace.serving import tracing
from millrace.serving.call import Context
from millrace.serving.grpc import messages, runs
from millrace.serving.grpc.connection import Connection
from millrace.serving.grpc.handlers import methods
from millrace.serving.grpc.methods import Conversation, Trailers, Unary
from millrace.serving.grpc.schema import PACKAGE, SERVICES
from millrace.serving.grpc.standard import Health, reflection
from millrace.serving.grpc.statuses import Status, ending
from millrace.serving.grpc.stream import Stream
from millrace.serving.service import Service
from millrace.serving.tls import GRPC, ServerTls

log = logging.getLogger(__name__)

_TICK_S = 0.25
_BACKLOG = 4096


@dataclass(frozen=True)
class Limits:
    """What one client may use. Times are seconds, checked four times a second."""

    header_s: float = 10.0  # from a frame's first byte to its last, and to the end of a header block
    body_s: float = 60.0  # from a call's headers to the end of its request
    send_s: float = 60.0  # that a client may leave an answer unread
    patience_per_tick: int = 250  # frames that only make work
    connections: int = 10_000  # of all clients of one worker


class GrpcServer:
    """Serves one `Service` over gRPC. Made and used in one event loop."""

    def __init__(self, service: Service, limits: Limits | None = None, tls: ServerTls | None = None) -> None:
        self._service = service
        self._tls = tls
        self.limits = limits or Limits()
        self.connections: set[Connection] = set()
        self.now = 0.0
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.TimerHandle | None = None
        names = [f"{PACKAGE}.{name}" for name in SERVICES]
        self._health = Health(names)
        standard = {**self._health.methods, **reflection(names)}
        self._open = {path.encode() for path in standard}
        self._methods = {path.encode(): method for path, method in {**methods(service), **standard}.items()}

    async def listen(self, host: str, port: int) -> int:
        """Accept calls; the port. Raises ConfigError when it can't be had."""
        options = self._tls.options(GRPC) if self._tls is not None else {}
        try:
            self._server = await self._loop.create_server(
                lambda: Connection(self), host, port, reuse_port=True, backlog=_BACKLOG, **options
            )
        except OSError as error:
            raise ConfigError(f"port {port} of {host} can't be served: {error}", hint="choose another one") from error
        self._tick()
        self._service.metrics.gauge("grpc_connections", lambda: float(len(self.connections)))
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def drain(self, timeout_s: float) -> None:
        """Take no new calls; wait for those that run, then cut them off."""
        self._health.leave()
        if self._server is not None:
            self._server.close()
        deadline = self._loop.time() + timeout_s
        while self.connections and self._loop.time() < deadline:
            for connection in list(self.connections):
                connection.leave()
            await asyncio.sleep(0.01)
        if self.connections:
            log.warning("%d connections were cut off after %.0f s", len(self.connections), timeout_s)
        for connection in list(self.connections):
            connection.abort()
        if self._ticker is not None:
            self._ticker.cancel()

    def begin(self, stream: Stream) -> None:
        """A call's headers are here: end it if there is no such method, begin it if it sends several messages."""
        method = self._methods.get(stream.opening.path)
        if method is None:
            path = stream.opening.path.decode("latin-1")
            stream.fail(Status.UNIMPLEMENTED, f"there is no method {path}")
        elif isinstance(method, Conversation):
            self._stream(stream, method.begin(stream.requests()), [])

    def complete(self, stream: Stream) -> None:
        """A call's request is whole: answer it. Conversations go on by themselves."""
        method = self._methods[stream.opening.path]
        try:
            if isinstance(method, Conversation):
                return
            data = messages.whole(stream.body, stream.opening.encoding)
            context = self._context(stream)
            if isinstance(method, Unary):
                answering, by_hand = method.begin(data, context)
                if by_hand and not stream.opening.packing:
                    runs.Call(stream, answering)
                else:
                    stream.work = self._loop.create_task(runs.unary(stream, answering))
            else:
                trailers: Trailers = []
                self._stream(stream, method.begin(data, context, trailers), trailers)
        except Exception as error:  # whatever it is, the caller gets a status, and the others are served on
            stream.fail(*ending(error))

    def check(self, stream: Stream, now: float) -> None:
        """End a call whose request never comes to its end, or whose answer is not taken."""
        waited = now - stream.since
        if stream.stalled:
            if waited > self.limits.send_s:
                self._give_up(stream, "the answer was not taken in time")
        elif not stream.half_closed and not stream.work and waited > self.limits.body_s:
            self._give_up(stream, "the request did not arrive in time")

    def _give_up(self, stream: Stream, why: str) -> None:
        stream.cancel()
        stream.drop()
        stream.fail(Status.DEADLINE_EXCEEDED, why)

    def _stream(self, stream: Stream, replies: AsyncGenerator[bytes, None], trailers: Trailers) -> None:
        stream.work = self._loop.create_task(runs.streamed(stream, replies, trailers))
        if stream.opening.timeout_s is not None:
            self._loop.call_later(stream.opening.timeout_s, self._expire, stream)

    def _expire(self, stream: Stream) -> None:
        if stream.open:
            self._give_up(stream, "the call's deadline has passed")

    def _context(self, stream: Stream) -> Context:
        """Who calls and until when. Health is for all: load balancers have no token."""
        opening = stream.opening
        if opening.path in self._open:
            return Context()
        context = self._service.context(opening.authorization)
        if opening.timeout_s is not None:
            context.deadline = time.monotonic() + opening.timeout_s
        if tracing.on():
            context.trace = tracing.parent_of(dict(opening.trace))
        return context

    def _tick(self) -> None:
        self.now = self._loop.time()
        for connection in list(self.connections):
            connection.check(self.now)
        self._ticker = self._loop.call_later(_TICK_S, self._tick)
