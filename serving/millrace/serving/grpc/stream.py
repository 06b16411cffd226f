"""One call on a connection: what came of it, what goes back, and how much of that the client will take."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

from millrace.serving.grpc import messages
from millrace.serving.grpc.frames import DATA, END_HEADERS, END_STREAM, HEADERS, Code, frame, frame_head, reset
from millrace.serving.grpc.headers import BEGIN, BEGIN_WITH, END_OK, Opening, end_block
from millrace.serving.grpc.statuses import Status

if TYPE_CHECKING:
    from millrace.serving.grpc.connection import Connection

_MOST_UNSENT = 256 * 1024  # bytes of a stream; then its maker waits


class Stream:
    """A call from its headers to its last trailer. `work.cancel()` is called when the client gives up on it."""

    __slots__ = (
        "_ending",
        "_messages",
        "_unsent",
        "_unsent_bytes",
        "_writable",
        "begun",
        "body",
        "connection",
        "half_closed",
        "id",
        "open",
        "opening",
        "owed",
        "receivable",
        "since",
        "window",
        "work",
    )

    def __init__(self, connection: Connection, id_: int, opening: Opening, window: int, receivable: int) -> None:
        self.connection = connection
        self.id = id_
        self.opening = opening
        self.window = window  # bytes that the client takes
        self.receivable = receivable  # bytes that it may still send
        self.owed = 0  # bytes that came, and for which it has no credit yet
        self.body = bytearray()
        self.half_closed = False  # the client has sent all
        self.begun = False  # headers are out
        self.open = True  # neither side has ended it
        self.since = connection.now  # of the last thing that went on
        self.work: Any = None
        self._unsent: deque[memoryview] = deque()
        self._unsent_bytes = 0
        self._ending: bytes | None = None
        self._writable: asyncio.Future[None] | None = None
        self._messages: asyncio.Queue[bytes | None] | None = None

    # what comes

    def requests(self) -> AsyncIterator[bytes]:
        """The client's messages, one by one, for calls that send several. To be called once, before the first comes."""
        self._messages = asyncio.Queue()
        return self._each(self._messages)

    async def _each(self, queue: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
        while (message := await queue.get()) is not None:
            yield message

    def hear(self) -> None:
        """Hand on what whole messages have come, where they are wanted one by one. Raises CallFault."""
        if self._messages is None:
            return
        while (found := messages.split(self.body)) is not None:
            self._messages.put_nowait(messages.opened(*found, self.opening.encoding))
        self.connection.give_credit(self)
        if self.half_closed:
            self._messages.put_nowait(None)

    # what goes back

    def answer(self, message: bytes) -> None:
        """The whole answer to a unary call, not compressed."""
        connection, size, id_ = self.connection, len(message) + 5, self.id
        if not self.open:
            return
        if size > self.window or size > connection.window or size > connection.longest_frame:
            self.send(messages.framed(message))
            self.end(END_OK)
            return
        connection.window -= size
        connection.write(
            b"".join(
                (
                    frame_head(len(BEGIN), HEADERS, END_HEADERS, id_),
                    BEGIN,
                    frame_head(size, DATA, 0, id_),
                    b"\x00",
                    (size - 5).to_bytes(4, "big"),
                    message,
                    frame_head(len(END_OK), HEADERS, END_HEADERS | END_STREAM, id_),
                    END_OK,
                )
            )
        )
        self.close()

    def send(self, framed: bytes) -> None:
        """One message, framed, when the client takes it."""
        if not self.open:
            return
        self._begin()
        if not self._unsent:
            self.since = self.connection.now
        self._unsent.append(memoryview(framed))
        self._unsent_bytes += len(framed)
        self.pump()

    async def writable(self) -> None:
        """Wait until the client has taken most of what was sent, and let others have a turn."""
        if self._unsent_bytes < _MOST_UNSENT and not self.connection.blocked:
            await asyncio.sleep(0)
            return
        self._writable = asyncio.get_running_loop().create_future()
        await self._writable

    def fail(self, status: Status, text: str = "", more: Iterable[tuple[str, str]] = ()) -> None:
        """End the call with a status; what was sent before goes out first."""
        self.end(end_block(status, text, more))

    def end(self, block: bytes) -> None:
        """End the call with these trailers, after what is not out yet."""
        if self._ending is None and self.open:
            self._ending = block
            self.pump()

    def pump(self, most_frames: int = 1 << 30) -> None:
        """Send what the client takes now."""
        connection = self.connection
        while self._unsent and most_frames:
            first = self._unsent[0]
            size = min(len(first), self.window, connection.window, connection.longest_frame)
            if size <= 0:
                connection.wait_for_credit(self)
                return
            connection.write(frame(DATA, 0, self.id, bytes(first[:size])))
            self.window -= size
            connection.window -= size
            self._unsent_bytes -= size
            self.since = connection.now
            most_frames -= 1
            if size == len(first):
                self._unsent.popleft()
            else:
                self._unsent[0] = first[size:]
        if self._unsent:
            connection.wait_for_credit(self)
        self.wake()
        if self._ending is not None and not self._unsent:
            if not self.begun:
                self._ending = BEGIN + self._ending
            connection.write(frame(HEADERS, END_HEADERS | END_STREAM, self.id, self._ending))
            self.close()

    def wake(self) -> None:
        """Let who makes the answer go on, if the client takes more."""
        waiting = self._writable
        if waiting is not None and self._unsent_bytes < _MOST_UNSENT and not self.connection.blocked:
            self._writable = None
            if not waiting.done():
                waiting.set_result(None)

    def drop(self) -> None:
        """What is not out yet never goes out."""
        self._unsent.clear()
        self._unsent_bytes = 0
        self._ending = None

    @property
    def stalled(self) -> bool:
        """Whether there is something that the client doesn't take."""
        return bool(self._unsent)

    # how it ends

    def close(self) -> None:
        """Nothing more goes back."""
        if not self.half_closed:
            self.connection.write(reset(self.id, Code.NO_ERROR))
        self.connection.forget(self)

    def cancel(self) -> None:
        """The client, or the connection, has given up on it: nobody waits for the answer."""
        work, self.work = self.work, None
        if work is not None:
            work.cancel()

    def _begin(self) -> None:
        if not self.begun:
            self.begun = True
            self.connection.write(frame(HEADERS, END_HEADERS, self.id, BEGIN_WITH[self.opening.packing]))
