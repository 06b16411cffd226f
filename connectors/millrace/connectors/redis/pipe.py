"""One server for many asyncio callers: what is asked in one tick of the loop goes out in one write.

The replies of a Redis connection come in the order of its commands, so a queue of futures is all that matches them.
Only reads go through here: when the connection breaks, what was not answered is asked again on the next one.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

from millrace.connectors.redis.endpoint import Address, Endpoint, lost, pack, store_error
from millrace.errors import MillraceError, TransientError

_FIRST_DELAY_S = 0.01
_LONGEST_DELAY_S = 2.0
_TICKS_PER_TIMEOUT = 4

#: Who waits for the answer; the bytes of the question; where it has several replies, their collection and number.
_Question = tuple["asyncio.Future[Any]", bytes, list[Any] | None, int]


class Pipe:
    """A server that is asked by `ask`. It connects by itself, again and again when it must, until it is closed.

    A question waits for its answer, and for the connection, no longer than `timeout_s`; then it raises TransientError.
    A server that refuses the login fails the questions at once, with TargetError. `on_lost` is told of each break.
    """

    def __init__(
        self, endpoint: Endpoint, address: Address, timeout_s: float, on_lost: Callable[[], None] | None = None
    ) -> None:
        self.address = address
        self._endpoint, self._timeout_s, self._on_lost = endpoint, timeout_s, on_lost
        self._tls = endpoint.tls.context() if endpoint.tls is not None else None
        self._loop = asyncio.get_running_loop()
        self._questions: deque[_Question] = deque()
        self._unsent: list[bytes] = []
        self._flushing = False
        self._asked = self._answered = 0
        self._asked_at_ticks: deque[int] = deque(maxlen=_TICKS_PER_TIMEOUT)
        self._transport: asyncio.Transport | None = None
        self._problem: MillraceError = lost(TimeoutError(), "a lookup", endpoint, address)
        self._keeper = self._loop.create_task(self._stay_connected())
        self._watchdog = self._loop.call_later(timeout_s / _TICKS_PER_TIMEOUT, self._tick)

    def ask(self, command: bytes) -> asyncio.Future[Any]:
        """The reply to one command in its wire form; an error reply is a `hiredis.ReplyError` value."""
        future = self._loop.create_future()  # as `_enqueue` does: this is the hot path
        self._questions.append((future, command, None, 1))
        self._asked += 1
        if self._transport is not None:
            self._unsent.append(command)
            if not self._flushing:
                self._flushing = True
                self._loop.call_soon(self._flush)
        return future

    def ask_now(self, command: bytes) -> asyncio.Future[Any]:
        """The same for a long command, which goes out at once, behind what was asked in this tick before it."""
        future = self._loop.create_future()
        self._questions.append((future, command, None, 1))
        self._asked += 1
        if self._transport is not None:
            self._unsent.append(command)
            self._send()
        return future

    def ask_all(self, commands: bytes, count: int) -> asyncio.Future[list[Any]]:
        """The replies to `count` commands, in order."""
        return self._enqueue(commands, [], count)

    def close(self) -> None:
        """Hang up; what still waits gets TransientError."""
        self._keeper.cancel()
        self._watchdog.cancel()
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        self._fail(len(self._questions), TransientError(f"{self._endpoint} was closed while a lookup waited"))

    def _enqueue(self, payload: bytes, collected: list[Any] | None, count: int) -> asyncio.Future[Any]:
        future = self._loop.create_future()
        self._questions.append((future, payload, collected, count))
        self._asked += 1
        if self._transport is not None:
            self._unsent.append(payload)
            if not self._flushing:
                self._flushing = True
                self._loop.call_soon(self._flush)
        return future

    def _flush(self) -> None:
        self._flushing = False
        if self._unsent:
            self._send()

    def _send(self) -> None:
        """Write what is unsent. What a connection that has just broken doesn't take any more waits for the next one."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._unsent[0] if len(self._unsent) == 1 else b"".join(self._unsent))
        self._unsent.clear()

    def _answer(self, reader: hiredis.Reader) -> None:
        questions, gets = self._questions, reader.gets
        while (reply := gets()) is not False:
            question = questions.popleft()
            future, _, collected, count = question
            if collected is not None:
                collected.append(reply)
                if len(collected) < count:
                    questions.appendleft(question)
                    continue
                reply = collected
            self._answered += 1
            if not future.done():
                future.set_result(reply)

    def _fail(self, count: int, problem: MillraceError) -> None:
        for _ in range(count):
            future, *_ = self._questions.popleft()
            self._answered += 1
            if not future.done():
                future.set_exception(problem)

    def _tick(self) -> None:
        """Give up on what has waited for the whole timeout, and on a connection that didn't answer it."""
        marks = self._asked_at_ticks
        overdue = marks[0] - self._answered if len(marks) == _TICKS_PER_TIMEOUT else 0
        if overdue > 0:
            online = self._transport is not None
            problem = lost(TimeoutError(), "a lookup", self._endpoint, self.address) if online else self._problem
            self._fail(overdue, problem)
            if self._transport is not None:
                self._transport.abort()
        marks.append(self._asked)
        self._watchdog = self._loop.call_later(self._timeout_s / _TICKS_PER_TIMEOUT, self._tick)

    async def _stay_connected(self) -> None:
        delay = _FIRST_DELAY_S
        while True:
            try:
                link = await self._connect()
            except MillraceError as problem:
                self._problem = problem
                if not isinstance(problem, TransientError):
                    self._fail(len(self._questions), problem)
            else:
                delay = _FIRST_DELAY_S
                self._begin(link)
                await link.ended
                self._transport = None
                self._problem = lost(ConnectionResetError(), "a lookup", self._endpoint, self.address)
                if self._on_lost is not None:
                    self._on_lost()
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, _LONGEST_DELAY_S)

    async def _connect(self) -> Link:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await open_link(self._endpoint, self.address, self._tls)
        except (OSError, ssl.SSLError, TimeoutError) as error:
            raise lost(error, "a lookup", self._endpoint, self.address) from error

    def _begin(self, link: Link) -> None:
        """Use a new connection; what was asked on the old one, or meanwhile, is asked now."""
        link.on_replies = self._answer
        self._transport = link.transport
        for _, _, collected, _ in self._questions:
            if collected is not None:
                collected.clear()
        self._unsent = [payload for _, payload, _, _ in self._questions]
        self._flush()


class Link(asyncio.Protocol):
    """One connection's life. `ended` is done when it is over; `on_replies` is called when its reader has some."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None
        self.on_replies: Callable[[hiredis.Reader], None] = lambda _reader: None
        self._reader = hiredis.Reader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            self.on_replies(self._reader)
        except hiredis.ProtocolError:
            assert self.transport is not None
            self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


async def open_link(endpoint: Endpoint, address: Address, tls: ssl.SSLContext | None) -> Link:
    """A connection that is logged in to a server that is ready.

    Raises TransientError when it still loads its data, TargetError when it refuses the login, OSError when it is away.
    """
    loop = asyncio.get_running_loop()
    name = address[0] if tls is not None else None
    _, link = await loop.create_connection(Link, *address, ssl=tls, server_hostname=name)
    assert link.transport is not None
    commands = [*endpoint.handshake(), ("PING",)]
    replies: list[Any] = []
    complete: asyncio.Future[None] = loop.create_future()

    def collect(reader: hiredis.Reader) -> None:
        while (reply := reader.gets()) is not False:
            replies.append(reply)
        if len(replies) == len(commands) and not complete.done():
            complete.set_result(None)

    link.on_replies = collect
    link.transport.write(b"".join(pack(command) for command in commands))
    try:
        await asyncio.wait((complete, link.ended), return_when=asyncio.FIRST_COMPLETED)
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise store_error(str(reply), "logging in", endpoint)
        if not complete.done():
            raise ConnectionResetError("the server closed the connection at once")
    except BaseException:
        link.transport.abort()
        raise
    return link
