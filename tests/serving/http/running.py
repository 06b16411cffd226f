"""An HTTP server of a test: the real one, on a free port, on a loop in a thread of this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import uvloop

from millrace.serving.guards.protection import Protection
from millrace.serving.http.endpoints import all_routes
from millrace.serving.http.server import HttpServer, Limits
from millrace.serving.service import Service
from millrace.serving.tls import ServerTls
from millrace.spec.settings import Settings


@dataclass
class Running:
    """A server that answers on `port`; `service` and `server` belong to its loop's thread."""

    port: int
    service: Service
    server: HttpServer
    loop: asyncio.AbstractEventLoop
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def client(self, **options: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, **options)  # type: ignore[arg-type]  # whatever a test wants

    def waiting(self) -> int:
        """How many requests have no answer yet."""
        return sum(connection.waiting for connection in [*self.server.connections])

    def raw(self, data: bytes) -> bytes:
        """What the server sends until it hangs up; it is told that nothing more will come."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
            found = b""
            with contextlib.suppress(ConnectionError):  # it may hang up before it has read everything
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                while part := sock.recv(65536):
                    found += part
        return found


@contextmanager
def serving(
    settings: Settings,
    limits: Limits | None = None,
    protection: Protection | None = None,
    tls: ServerTls | None = None,
) -> Iterator[Running]:
    """Serve these settings' catalog over HTTP until the block ends; then drain."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="http-server")
    thread.start()

    async def start() -> Running:
        service = Service(settings) if protection is None else Service(settings, protection)
        await service.open()
        server = HttpServer(service, all_routes(service), limits, tls)
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        return Running(await server.listen(sock), service, server, loop, "http" if tls is None else "https")

    async def stop(running: Running) -> None:
        await running.server.drain(5)
        await running.service.close()

    try:
        running = asyncio.run_coroutine_threadsafe(start(), loop).result(60)
        try:
            yield running
        finally:
            asyncio.run_coroutine_threadsafe(stop(running), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
