"""One synchronous connection to HBase's Thrift server: calls out, replies in, in order."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any

from millrace.connectors.hbase import service
from millrace.connectors.hbase.endpoint import Endpoint, Refusal, lost, store_error
from millrace.connectors.hbase.service import Cells, Reply, RowCount, Scan
from millrace.connectors.wire.thrift import NotThrift
from millrace.errors import TargetError, TransientError

_RECEIVE_BYTES = 1 << 18
_IDLE_S = 20.0  # after a minute without a call the server hangs up (hbase.thrift.server.socket.read.timeout)


class Link:
    """Connects when first used, and again after a failure. One thread.

    A connection that breaks or doesn't answer within the endpoint's timeout raises TransientError.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._socket: socket.socket | None = None
        self._received = bytearray()
        self._unanswered = 0
        self._used_at = 0.0

    def call(self, doing: str, payload: bytes) -> Any:
        """The result of one call; its refusal becomes the error that a run knows. `doing` stands in errors."""
        try:
            return self.ask(doing, payload)
        except Refusal as refusal:
            raise store_error(refusal, doing, self.endpoint) from refusal

    def ask(self, doing: str, payload: bytes) -> Any:
        """The result of one call. Raises Refusal for what the server answers in its place.

        It is made again when a connection that served before has broken: every call may be repeated.
        """
        served = self._socket is not None and not self._unanswered
        try:
            self.send(doing, payload)
            return self.receive(doing)
        except TransientError as error:
            if not served or isinstance(error.__cause__, TimeoutError):
                raise
        self.send(doing, payload)
        return self.receive(doing)

    def send(self, doing: str, payload: bytes | memoryview) -> None:
        """Send a call; its reply is to be received later, in the order of the calls."""
        if not self._unanswered and time.monotonic() - self._used_at > _IDLE_S:
            self.close()
        try:
            link = self._connected()
            self._unanswered += 1
            if self.endpoint.framed:
                link.sendall(len(payload).to_bytes(4, "big"))
            link.sendall(payload)
        except OSError as error:
            self.close()
            raise lost(error, doing, self.endpoint) from error

    def receive(self, doing: str, kind: type[Reply] = Reply) -> Any:
        """The result of the call that was sent first among those that are not yet answered."""
        reply = kind(self.endpoint.framed)
        try:
            while not reply.read(self._received):
                data = self._connected().recv(_RECEIVE_BYTES)
                if not data:
                    raise ConnectionResetError("the server closed the connection")
                self._received += data
        except OSError as error:
            self.close()
            raise lost(error, doing, self.endpoint) from error
        except NotThrift as error:
            self.close()
            raise TargetError(
                f"{doing}: {self.endpoint} does not speak HBase's Thrift protocol: {error}",
                hint="the port must be the one of `hbase thrift start` (not thrift2, and neither compact nor HTTP)",
            ) from error
        except Refusal:
            self._forget(reply)
            raise
        self._forget(reply)
        return reply.result

    def scan(self, doing: str, table: str, scan: Scan) -> Iterator[list[tuple[bytes, Cells]]]:
        """The rows of a scan, some at a time; the scanner is closed at the end or when the caller stops."""
        scanner = self.call(doing, service.open_scanner(table, scan))
        try:
            while rows := self.call(doing, service.scanner_rows(scanner, scan.caching)):
                yield rows
        finally:
            if self._socket is not None:
                self.call(doing, service.close_scanner(scanner))

    def counts(self, doing: str, calls: Iterable[bytes]) -> Iterator[int]:
        """How many rows the reply to each call has; the server works on the next one while a reply is counted.

        When the caller stops before the end, one call is left unanswered.
        """
        try:
            for place, call in enumerate(calls):
                self.send(doing, call)
                if place:
                    yield self.receive(doing, RowCount)
            if self._unanswered:
                yield self.receive(doing, RowCount)
        except Refusal as refusal:
            raise store_error(refusal, doing, self.endpoint) from refusal

    def count_scan(self, doing: str, table: str, scan: Scan) -> int:
        """How many rows a scan gives."""
        scanner = self.call(doing, service.open_scanner(table, scan))
        found = 0
        for rows in self.counts(doing, repeat(service.scanner_rows(scanner, scan.caching))):
            found += rows
            if not rows:
                break
        self.receive(doing)
        self.call(doing, service.close_scanner(scanner))
        return found

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._received.clear()
        self._unanswered = 0

    def _forget(self, reply: Reply) -> None:
        self._unanswered -= 1
        self._used_at = time.monotonic()
        del self._received[: reply.size]

    def _connected(self) -> socket.socket:
        if self._socket is None:
            address = (self.endpoint.host, self.endpoint.port)
            self._socket = socket.create_connection(address, timeout=self.endpoint.timeout_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket
