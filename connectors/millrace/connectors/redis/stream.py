"""A pipelined connection to one server: bytes go out while replies come in, and neither side can block the other."""

from __future__ import annotations

import contextlib
import select
import ssl
from collections import deque

from millrace.connectors.redis.endpoint import Address, Endpoint, lost, store_error
from millrace.connectors.redis.link import connect
from millrace.connectors.wire.replies import Failure, ReplyCounter
from millrace.errors import MillraceError

#: Bytes that may wait here for the kernel to take them; the kernel holds some MB more.
BACKLOG_BYTES = 8 << 20
_SEND_BYTES = 1 << 20
_RECEIVE_BYTES = 1 << 18
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Stream:
    """Commands out, replies counted in `replies`. One thread; not picklable: made inside a task.

    A connection that breaks, or on which nothing moves for the endpoint's timeout, raises TransientError.
    """

    def __init__(self, endpoint: Endpoint, address: Address, doing: str) -> None:
        self.replies = ReplyCounter()
        self.expected = 0
        self._endpoint, self._address, self._doing = endpoint, address, doing
        self._outbox: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._socket = connect(endpoint, address, doing)
        self._socket.setblocking(False)

    def send(self, payload: memoryview | bytes, replies: int) -> None:
        """Queue whole commands that bring this many replies; returns when not much of them is left to be sent."""
        if len(payload):
            self.expected += replies
            self._outbox.append(memoryview(payload))
            self._waiting_bytes += len(payload)
        self._move()
        while self._waiting_bytes > BACKLOG_BYTES:
            self._wait()
            self._move()

    def drain(self) -> None:
        """Wait until every command is answered."""
        while self.replies.count < self.expected:
            self._wait()
            self._move()

    def failures_before(self, reply: int) -> list[Failure]:
        """Take the error replies with an index below `reply`; each is given once."""
        found = self.replies.failures
        count = next((n for n, failure in enumerate(found) if failure.index >= reply), len(found))
        taken, found[:count] = found[:count], []
        return taken

    def close(self) -> None:
        self._socket.close()

    def _move(self) -> None:
        """Send and receive whatever can be without waiting."""
        try:
            self._send_some()
            self._receive_some()
        except OSError as error:
            raise self._broken(error) from error

    def _wait(self) -> None:
        poller = select.poll()
        poller.register(self._socket, select.POLLIN | (select.POLLOUT if self._outbox else 0))
        if not poller.poll(self._endpoint.timeout_s * 1000):
            raise lost(TimeoutError(), self._doing, self._endpoint, self._address)

    def _send_some(self) -> None:
        with contextlib.suppress(*_WOULD_BLOCK):
            while self._outbox:
                payload = self._outbox[0]
                sent = self._socket.send(payload[:_SEND_BYTES])
                self._waiting_bytes -= sent
                if sent == len(payload):
                    self._outbox.popleft()
                else:
                    self._outbox[0] = payload[sent:]

    def _receive_some(self) -> None:
        with contextlib.suppress(*_WOULD_BLOCK):
            while True:
                data = self._socket.recv(_RECEIVE_BYTES)
                if not data:
                    raise ConnectionResetError("the server closed the connection")
                self.replies.feed(data)
                if len(data) < _RECEIVE_BYTES and not isinstance(self._socket, ssl.SSLSocket):
                    return

    def _broken(self, error: Exception) -> MillraceError:
        """The store's last words when it hung up because of what it was sent; else that the connection broke."""
        with contextlib.suppress(OSError):
            self._receive_some()
        last = self.replies.failures[-1].text if self.replies.failures else ""
        if last.startswith("ERR "):
            return store_error(last, self._doing, self._endpoint)
        return lost(error, self._doing, self._endpoint, self._address)
