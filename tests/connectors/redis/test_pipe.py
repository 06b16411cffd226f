"""A connection that many callers share, where it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from millrace.connectors.redis import pipe
from millrace.connectors.redis.endpoint import Endpoint, endpoint_of, pack
from tests.connectors.redis.stores import connection


class _Server:
    """Answers each command with its name, until `hang_up`."""

    def __init__(self) -> None:
        self._writers: list[asyncio.StreamWriter] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        while line := await reader.readline():
            parts = [await reader.readline() for _ in range(2 * int(line[1:]))]
            name = parts[1].strip()
            writer.write(b"+%s\r\n" % (b"PONG" if name == b"PING" else name))

    def hang_up(self) -> None:
        while self._writers:
            self._writers.pop().close()


def _with_server(use: Callable[[Endpoint, _Server], Awaitable[None]]) -> None:
    async def main() -> None:
        answers = _Server()
        async with await asyncio.start_server(answers, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            await use(endpoint_of(connection(f"redis://{host}:{port}")), answers)
            answers.hang_up()

    uvloop.run(main())


@pytest.mark.parametrize("ask", [pipe.Pipe.ask, pipe.Pipe.ask_now])
def test_what_is_asked_when_a_connection_has_just_gone_is_asked_on_the_next_one(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[pipe.Pipe, bytes], asyncio.Future[object]]
) -> None:
    """The loop has closed the connection, and whoever connects anew has not had its turn yet."""
    asked: list[asyncio.Future[object]] = []

    async def use(endpoint: Endpoint, server: _Server) -> None:
        shared = pipe.Pipe(endpoint, endpoint.addresses[0], timeout_s=30)
        assert await shared.ask(pack(("ECHO",))) == b"ECHO"
        end = pipe.Link.connection_lost

        def lost(link: pipe.Link, error: Exception | None) -> None:
            asyncio.get_running_loop().call_soon(lambda: asked.append(ask(shared, pack(("LATER",)))))
            end(link, error)

        with monkeypatch.context() as patched:
            patched.setattr(pipe.Link, "connection_lost", lost)
            server.hang_up()
            async with asyncio.timeout(30):
                while not asked:
                    await asyncio.sleep(0.01)
        assert await asked[0] == b"LATER"
        shared.close()

    _with_server(use)
