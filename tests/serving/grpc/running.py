"""A gRPC server of a test: the real one, on a free port, on a loop in a thread of this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvloop

from millrace.serving.grpc.server import GrpcServer, Limits
from millrace.serving.service import Service
from millrace.serving.tls import ServerTls
from millrace.spec.settings import Settings


@dataclass
class Running:
    """A server that answers on `port`; `service` and `server` belong to its loop's thread."""

    port: int
    service: Service
    server: GrpcServer
    loop: asyncio.AbstractEventLoop

    def in_flight(self) -> float:
        """Calls that hold a slot."""
        gauges = {name: value for name, _, value in self.service.metrics.dump()["gauges"]}
        return float(gauges["calls_in_flight"])


@contextmanager
def running(settings: Settings, limits: Limits | None = None, tls: ServerTls | None = None) -> Iterator[Running]:
    """Serve these settings' catalog over gRPC until the block ends; then drain."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="grpc-server")
    thread.start()

    async def start() -> Running:
        service = Service(settings)
        await service.open()
        server = GrpcServer(service, limits, tls)
        return Running(await server.listen("127.0.0.1", 0), service, server, loop)

    async def stop(found: Running) -> None:
        await found.server.drain(5)
        await found.service.close()

    try:
        found = asyncio.run_coroutine_threadsafe(start(), loop).result(60)
        try:
            yield found
        finally:
            asyncio.run_coroutine_threadsafe(stop(found), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
