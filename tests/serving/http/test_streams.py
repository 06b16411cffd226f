"""Long streams: no faster than their reader, in little memory, with an end that tells whether all of it came."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest
import uvloop

from millrace.errors import TransientError
from millrace.serving import connect
from millrace.serving.call import Answer, Stream
from millrace.serving.formats import Format
from millrace.serving.http.messages import Request, Response
from millrace.serving.http.routes import Route
from millrace.serving.http.server import HttpServer
from millrace.serving.http.sql import streamed
from millrace.serving.service import Service
from millrace.spec.settings import Settings
from millrace.spec.types import column
from tests.serving.waiting import until

BATCHES, ROWS = 400, 10_000
BATCH = pa.RecordBatch.from_pydict(
    {"id": pa.array(range(ROWS), pa.int64()), "name": pa.array(["a name of some length"] * ROWS)}
)
COLUMNS = (column("id", "bigint"), column("name", "string"))


@dataclass
class Source:
    """Streams of 120 MB; `made` counts batches, of all streams. One that is `damaged` has another byte on the way."""

    port: int = 0
    made: int = 0
    closed: int = 0
    damaged: bool = False
    broken: bool = False
    formats: dict[bytes, Format] = field(default_factory=lambda: {f.content_type.encode(): f for f in Format})

    async def batches(self) -> AsyncIterator[Any]:
        try:
            for number in range(BATCHES):
                if self.broken and number == 3:
                    raise ConnectionError("the store is gone")
                self.made += 1
                yield BATCH
        finally:
            self.closed += 1

    async def answer(self, request: Request) -> Response:
        answer = Answer(Stream(COLUMNS, self.batches()), "v1")
        response = streamed(answer, self.formats.get(request.headers[b"accept"], Format.ARROW), ())
        if self.damaged and not isinstance(response.body, bytes):
            response.body = damage(response.body)
        return response


async def damage(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A byte of a value is another one than it was."""
    number = 0
    async for piece in pieces:
        number += 1
        yield piece.replace(b"a name of some length", b"a name of same length", 1) if number == 3 else piece


@pytest.fixture
def source(settings: Settings) -> Iterator[Source]:
    loop, found = uvloop.new_event_loop(), Source()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> HttpServer:
        server = HttpServer(Service(settings), [Route(("POST",), "/v1/sql/", found.answer)])
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        found.port = await server.listen(sock)
        return server

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(60)
    yield found
    asyncio.run_coroutine_threadsafe(server.drain(0), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def asked(source: Source, accept: str) -> http.client.HTTPConnection:
    """A connection that has asked for a stream."""
    found = http.client.HTTPConnection("127.0.0.1", source.port, timeout=60)
    found.request("POST", "/v1/sql/users:stream", b"{}", {"accept": accept})
    return found


@pytest.mark.parametrize("accept", ["text/csv", "application/x-ndjson", "application/vnd.apache.arrow.stream"])
def test_a_reader_that_stops_stops_the_store(source: Source, accept: str) -> None:
    connection = asked(source, accept)
    answer = connection.getresponse()
    answer.read(100_000)
    seen = [-1]

    def stands_still() -> bool:
        seen.append(source.made)
        return seen[-1] == seen[-2] > 0

    until(stands_still)
    assert source.made < BATCHES / 2, "what nobody reads was made, and is held somewhere"
    rest = 0
    while part := answer.read(1 << 20):
        rest += len(part)
    assert source.made == BATCHES
    assert rest > 50_000_000
    connection.close()


def test_a_reader_that_leaves_ends_the_stream(source: Source) -> None:
    connection = asked(source, "text/csv")
    connection.getresponse().read(100_000)
    connection.close()
    until(lambda: source.closed == 1)
    assert source.made < BATCHES


def test_the_library_takes_no_damaged_stream_for_a_whole_one(source: Source) -> None:
    with connect(f"http://127.0.0.1:{source.port}") as client:
        query = client.sql("users").all
        assert sum(batch.num_rows for batch in query.batches()) == BATCHES * ROWS
        source.damaged = True
        with pytest.raises(TransientError, match="damaged"):
            for _ in query.batches():
                pass
        source.damaged, source.broken = False, True
        with pytest.raises(TransientError, match="cut off"):
            for _ in query.batches():
                pass
    with connect("http://127.0.0.1:1") as client, pytest.raises(TransientError, match="can't be reached"):
        next(client.sql("users").all.batches())
