"""HBase's Thrift server for many asyncio callers: a few connections, and one call for all keys that wait.

A connection of the Thrift server answers one call after the other, and a call costs a millisecond whether it asks for
one row or for fifty. So single lookups that come while all connections are busy wait together, and go out as one call.
Only reads go through here: when a connection breaks, its call is made again on another one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from millrace.connectors.hbase import service
from millrace.connectors.hbase.endpoint import Endpoint, Refusal, lost
from millrace.connectors.hbase.service import Cells, Reply, Scan
from millrace.connectors.wire.thrift import NotThrift
from millrace.errors import MillraceError, TargetError, TransientError

CONNECTIONS = 4
_KEYS_PER_CALL = 200
_SCAN_ROWS = 1000
_DOING = "a lookup"

_Waiting = tuple[bytes, "asyncio.Future[Cells | None]"]


class Client:
    """Connections are made when they are needed, and again when they broke. Used in one event loop.

    Every call raises Refusal for what HBase answers in place of a result, TransientError when the server can't be
    reached or doesn't answer within `timeout_s`.
    """

    def __init__(self, endpoint: Endpoint, timeout_s: float, connections: int = CONNECTIONS) -> None:
        self.endpoint, self._timeout_s = endpoint, timeout_s
        self._free = asyncio.Semaphore(connections)
        self._connections = connections
        self._idle: list[_Connection] = []
        self._waiting: dict[str, deque[_Waiting]] = {}
        self._servers: set[asyncio.Task[None]] = set()
        self._closed = False

    async def row(self, table: str, key: bytes) -> Cells | None:
        """The cells of one row."""
        future: asyncio.Future[Cells | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(table, deque()).append((key, future))
        if len(self._servers) < self._connections:
            server = asyncio.get_running_loop().create_task(self._serve())
            self._servers.add(server)
            server.add_done_callback(self._servers.discard)
        return await future

    async def rows(self, table: str, keys: Sequence[bytes]) -> dict[bytes, Cells]:
        """The cells of those of the rows that there are, by key."""
        parts = [keys[start : start + _KEYS_PER_CALL] for start in range(0, len(keys), _KEYS_PER_CALL)]
        answers = await asyncio.gather(*(self.ask(service.get_rows(table, part)) for part in parts))
        return {key: cells for rows in answers for key, cells in rows}

    async def scan(self, table: str, scan: Scan, limit: int) -> list[tuple[bytes, Cells]]:
        """At most `limit` rows of a scan, in its order."""
        found: list[tuple[bytes, Cells]] = []
        async with self._connection() as connection:
            scanner = await connection.ask(service.open_scanner(table, scan))
            while len(found) < limit:
                wanted = min(limit - len(found), _SCAN_ROWS)
                rows = await connection.ask(service.scanner_rows(scanner, wanted))
                found += rows
                if len(rows) < wanted:
                    break
            await connection.ask(service.close_scanner(scanner))
        return found

    async def ask(self, payload: bytes) -> Any:
        """The result of one call."""
        async with self._connection() as connection:
            return await connection.ask(payload)

    async def close(self) -> None:
        """Hang up; who still waits gets TransientError."""
        self._closed = True
        for server in self._servers:
            server.cancel()
        await asyncio.gather(*self._servers, return_exceptions=True)
        for connection in self._idle:
            connection.abort()
        self._idle.clear()
        self._fail(TransientError(f"{self.endpoint} was closed while a lookup waited"))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[_Asking]:
        async with self._free:
            asking = _Asking(self)
            try:
                async with asyncio.timeout(self._timeout_s):
                    yield asking
            except TimeoutError as error:
                raise lost(TimeoutError(), _DOING, self.endpoint) from error
            finally:
                asking.release()

    async def _serve(self) -> None:
        while self._waiting:
            async with self._free:  # what comes while this waits goes into the same call
                pass
            await self._serve_some()

    async def _serve_some(self) -> None:
        if not self._waiting:
            return
        table, waiting = next(iter(self._waiting.items()))
        batch = [waiting.popleft() for _ in range(min(len(waiting), _KEYS_PER_CALL))]
        if not waiting:
            del self._waiting[table]
        try:
            rows = dict(await self.ask(service.get_rows(table, [key for key, _ in batch])))
        except (MillraceError, Refusal) as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
        except asyncio.CancelledError:
            self._waiting.setdefault(table, deque()).extend(batch)
            raise
        else:
            for key, future in batch:
                if not future.done():
                    future.set_result(rows.get(key))

    def _fail(self, problem: MillraceError) -> None:
        for waiting in self._waiting.values():
            for _, future in waiting:
                if not future.done():
                    future.set_exception(problem)
        self._waiting.clear()

    async def connect(self) -> _Connection:
        try:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(
                lambda: _Connection(self.endpoint), self.endpoint.host, self.endpoint.port
            )
        except OSError as error:
            raise lost(error, _DOING, self.endpoint) from error
        return connection

    def take_idle(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    def give_back(self, connection: _Connection) -> None:
        if connection.usable and not self._closed:
            self._idle.append(connection)
        else:
            connection.abort()


class _Asking:
    """One caller's turn on a connection; the first call of a turn is made again when an idle connection had died."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._connection: _Connection | None = None

    async def ask(self, payload: bytes) -> Any:
        if self._connection is not None:
            return await self._connection.ask(payload)
        while (idle := self._client.take_idle()) is not None:
            self._connection = idle
            try:
                return await idle.ask(payload)
            except _HungUp:
                self._connection = None
        self._connection = await self._client.connect()
        try:
            return await self._connection.ask(payload)
        except _HungUp as error:
            raise lost(
                ConnectionResetError("the server closed the connection"), _DOING, self._client.endpoint
            ) from error

    def release(self) -> None:
        if self._connection is not None:
            self._client.give_back(self._connection)
            self._connection = None


class _HungUp(Exception):
    """The connection ended before the reply was whole."""


class _Connection(asyncio.Protocol):
    """One connection, with one call at a time."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._reply: Reply | None = None
        self._answer: asyncio.Future[Any] | None = None

    @property
    def usable(self) -> bool:
        """Whether another call can be made: it is open, and nothing is awaited."""
        return self._transport is not None and not self._transport.is_closing() and self._answer is None

    def ask(self, payload: bytes) -> asyncio.Future[Any]:
        answer = self._answer = asyncio.get_running_loop().create_future()
        self._reply = Reply(self._endpoint.framed)
        if self._transport is None or self._transport.is_closing():
            self._finish(error=_HungUp())
        else:
            self._transport.write(service.framed(payload) if self._endpoint.framed else payload)
        return answer

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._reply is None:
            self.abort()  # nobody has asked
            return
        try:
            if self._reply.read(self._received):
                self._finish(result=self._reply.result)
        except Refusal as refusal:
            self._finish(error=refusal)
        except NotThrift as error:
            self._finish(
                error=TargetError(f"{_DOING}: {self._endpoint} does not speak HBase's Thrift protocol: {error}")
            )
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._finish(error=_HungUp())

    def _finish(self, result: Any = None, error: Exception | None = None) -> None:
        answer, reply = self._answer, self._reply
        self._answer = self._reply = None
        if reply is not None:
            del self._received[: reply.size]
        if answer is None or answer.done():
            if answer is not None:
                self.abort()  # the caller has gone: its reply may still come
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)
